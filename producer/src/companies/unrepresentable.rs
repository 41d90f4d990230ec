//! What an encoder of Parquet's values comes upon and can't tell.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use super::bad_input::Reason;

/// The value that an encoder came upon and can't tell, since the trait lets it return no error.
#[derive(Debug, Default)]
pub(super) struct Unrepresentable {
    is_found: AtomicBool,
    reason: Mutex<Option<Reason>>,
}

impl Unrepresentable {
    /// Notes it, for [`Self::take`].
    pub fn found(&self, reason: Reason) {
        *self.reason.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
        self.is_found.store(true, Ordering::Relaxed);
    }

    /// What was found since the last call.
    pub fn take(&self) -> Option<Reason> {
        if !self.is_found.swap(false, Ordering::Relaxed) {
            return None;
        }
        self.reason.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
