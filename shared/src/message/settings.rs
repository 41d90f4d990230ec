//! What a job's owner asks for, beyond the model and the file.

use serde::{Deserialize, Serialize};

use super::{RetryPolicy, Tolerance};

/// Which of a model's two queues a job's companies wait in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// In turn.
    #[default]
    Normal,
    /// Ahead of the normal ones.
    High,
}

/// What holds for one job.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Which of the model's queues its companies wait in.
    #[serde(default)]
    pub priority: Priority,
    /// How often a company is tried; nothing where consumers decide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryPolicy>,
    /// Failures with which the job still succeeds.
    #[serde(default)]
    pub tolerate_failures: Tolerance,
    /// Whether the job ends as soon as it has more failures than that.
    #[serde(default)]
    pub fail_fast: bool,
    /// When the job expires, as RFC 3339 in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_at: Option<String>,
    /// What its file's bytes hash to; nothing where it came by standard input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_hash: Option<String>,
}
