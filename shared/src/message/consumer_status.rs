//! What a consumer says of itself to whoever asks, over AMQP's direct reply-to.

use serde::{Deserialize, Serialize};

use super::RetryPolicy;

/// How one consumer stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConsumerStatus {
    /// Threads that score.
    pub threads: u64,
    /// Companies that it holds: taken from the broker, and their result not yet confirmed.
    pub held: u64,
    /// Companies that it is to hold at the measured speed.
    pub hold_target: u64,
    /// Results that a subscriber's queue refused, if it did so lately.
    #[serde(default)]
    pub results_refused: u64,
    /// Seconds that a thread needs for a company, measured; `None` before the first.
    pub seconds_per_company: Option<f64>,
    /// Why it scores nothing, in words; `None` where it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// Companies that it has taken from the broker since it was started: it stands still between two equal ones.
    #[serde(default)]
    pub taken: u64,
    /// When it tries companies again whose job leaves that to consumers: its delays name queues.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryPolicy>,
}

impl ConsumerStatus {
    /// Companies a second, with all of its threads at work; `None` before one has been scored.
    pub fn companies_per_second(&self) -> Option<f64> {
        self.seconds_per_company.filter(|&seconds| seconds > 0.0).map(|seconds| self.threads as f64 / seconds)
    }
}
