//! The status of a consumer, which it sends in reply to a query, over AMQP's direct reply-to.

use serde::{Deserialize, Serialize};

use super::retry::RetryPolicy;

/// The status of one consumer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConsumerStatus {
    /// Scoring threads.
    pub threads: u64,
    /// Companies that it holds: taken from the broker, and their result not yet confirmed.
    pub held: u64,
    /// Companies that it aims to hold at the measured speed.
    pub hold_target: u64,
    /// Results that a subscriber's queue refused recently.
    #[serde(default)]
    pub results_refused: u64,
    /// Measured seconds that a thread needs for a company; `None` before the first.
    pub seconds_per_company: Option<f64>,
    /// Why it cannot score, for people; `None` if it can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// Companies taken from the broker since the consumer started: two equal values show that it makes no progress.
    #[serde(default)]
    pub taken: u64,
    /// Its retry policy for companies whose job has none: its delays name queues.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryPolicy>,
}

impl ConsumerStatus {
    /// Companies a second with all threads busy; `None` before one has been scored.
    pub fn companies_per_second(&self) -> Option<f64> {
        self.seconds_per_company.filter(|&seconds| seconds > 0.0).map(|seconds| self.threads as f64 / seconds)
    }
}
