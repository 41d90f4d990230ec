//! How fast a model's companies are scored, as their results say.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The mean is over the latest one to two thousand companies: a new version of a scorer shows soon, and single companies hardly.
const WINDOW: u64 = 1_000;

/// The mean duration of scoring a company, over the latest ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Speed {
    /// A full window, or an empty one.
    previous: Window,
    current: Window,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Window {
    companies: u64,
    microseconds: u64,
}

impl Speed {
    /// Notes how long a company was scored.
    pub(super) fn note(&mut self, duration: Duration) {
        if self.current.companies >= WINDOW {
            self.previous = std::mem::take(&mut self.current);
        }
        let microseconds = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.current.companies += 1;
        self.current.microseconds = self.current.microseconds.saturating_add(microseconds);
    }

    /// Seconds of one scoring thread for a company; `None` before the first.
    pub(super) fn seconds_per_company(&self) -> Option<f64> {
        let companies = self.previous.companies.saturating_add(self.current.companies);
        let microseconds = self.previous.microseconds as f64 + self.current.microseconds as f64;
        (companies > 0).then(|| microseconds / 1e6 / companies as f64)
    }
}
