//! How far this process has enqueued a job, for the code that follows the job at the same time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rollcall_shared::message::Opening;

use crate::companies::Progress;

/// How far this process has enqueued the job that it follows.
#[derive(Debug)]
pub struct EnqueueProgress {
    /// The id under which this process opened the job.
    pub opening: Option<Opening>,
    /// Companies that the broker has stored.
    pub companies: Arc<AtomicU64>,
    /// How far the file has been read.
    pub file: Arc<Progress>,
}

impl EnqueueProgress {
    /// Companies that the broker has stored so far.
    pub(crate) fn enqueued(&self) -> u64 {
        self.companies.load(Ordering::Relaxed)
    }
}
