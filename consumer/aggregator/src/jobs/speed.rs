//! How fast a model's companies are scored, as their results say.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The mean is over the last one to two thousand companies: a new version of a scorer shows soon, and single companies hardly.
const WINDOW: u64 = 1_000;

/// The mean duration of scoring a company, over the latest ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Speed {
    companies: u64,
    microseconds: u64,
}

impl Speed {
    /// Notes how long a company was scored.
    pub(super) fn note(&mut self, duration: Duration) {
        if self.companies >= 2 * WINDOW {
            self.companies /= 2;
            self.microseconds /= 2;
        }
        self.companies += 1;
        self.microseconds = self.microseconds.saturating_add(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
    }

    /// Seconds of one scoring thread for a company; `None` before the first.
    pub(super) fn seconds_per_company(&self) -> Option<f64> {
        (self.companies > 0).then(|| self.microseconds as f64 / 1e6 / self.companies as f64)
    }
}
