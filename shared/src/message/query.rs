//! Questions to the aggregator and its answers, over AMQP's direct reply-to.

use serde::{Deserialize, Serialize};

use super::event::is_zero;
use super::{CauseCount, Done, Indices, Job, Model, Opening, Settings, State};

/// What the aggregator can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "query", rename_all = "lowercase")]
pub enum Query {
    /// How every job that it knows stands, the newest last.
    Jobs,
    /// How one job stands.
    Job {
        /// Which.
        job: Job,
    },
    /// Which companies of a job have come to this.
    Companies {
        /// The job.
        job: Job,
        /// To what.
        which: Which,
    },
}

/// What a company has come to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Which {
    /// An outcome.
    Counted,
    /// A failure, whatever the cause.
    Failed,
    /// A failure for this cause.
    Cause(String),
    /// To be enqueued once more, by the latest redrive; none where there was none.
    Redriven,
}

/// Companies that are lost: they have no outcome, and nothing of their job waits, is held or is due.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stall {
    /// Since when none of the job's companies has come to an outcome, as RFC 3339 in UTC.
    pub since: String,
    /// How many are lost.
    pub companies: u64,
}

/// How a job stands. The keys it shares with the done event mean the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobStatus {
    /// The job.
    pub job: Job,
    /// Which opening of that name it is, where its producer told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opening: Option<Opening>,
    /// The model that scores it.
    pub model: Option<Model>,
    /// Where it stands.
    pub state: State,
    /// How many companies it has, once that is known; of one that ended before that, how many at least.
    pub total: Option<u64>,
    /// How many its file has, once its producer came to the end of it, or it was redriven from the whole file.
    pub sealed: Option<u64>,
    /// Companies with a prediction.
    pub succeeded: u64,
    /// Companies with a cause instead.
    pub failed: u64,
    /// Companies that got no outcome since the job was given up.
    pub cancelled: u64,
    /// Outcomes that came again for a company already counted.
    pub duplicates: u64,
    /// Attempts beyond each company's first.
    pub retries: u64,
    /// When its producer opened it, as RFC 3339 in UTC.
    pub opened_at: Option<String>,
    /// When it ended, as RFC 3339 in UTC.
    pub done_at: Option<String>,
    /// From opened to done, or to now, in seconds; `None` where that is not known.
    pub duration_seconds: Option<f64>,
    /// Outcomes over that time.
    pub companies_per_second: Option<f64>,
    /// Failures by cause, the most frequent first.
    pub causes: Vec<CauseCount>,
    /// Why it was given up, where it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The file its companies came from, as its owner named it.
    pub source: Option<String>,
    /// What holds for it.
    #[serde(flatten)]
    pub settings: Settings,
    /// Its producer said that the broker has stored every company before this index.
    pub enqueued: u64,
    /// How often it has been redriven.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub redrives: u32,
    /// Who redrove it last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redriven_by: Option<String>,
    /// What is lost of it, where that has been noticed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stalled: Option<Stall>,
    /// The ledger offset of its first record: where a replay of it begins.
    pub first_offset: u64,
    /// The ledger offset that the aggregator will read next: where a replay of what is counted ends.
    pub next_offset: u64,
}

impl JobStatus {
    /// What its done event said; nothing where the ledger has none yet.
    pub fn into_done(self) -> Option<Done> {
        let done_at = self.done_at.clone()?;
        Some(self.ended(done_at))
    }

    /// What its done event says, where it ends at `done_at`, RFC 3339 in UTC.
    pub fn ended(self, done_at: String) -> Done {
        Done {
            done_at,
            job: self.job,
            model: self.model,
            state: self.state,
            total: self.total.unwrap_or_default(),
            succeeded: self.succeeded,
            failed: self.failed,
            cancelled: self.cancelled,
            duplicates: self.duplicates,
            retries: self.retries,
            opened_at: self.opened_at,
            duration_seconds: self.duration_seconds,
            companies_per_second: self.companies_per_second,
            causes: self.causes,
            reason: self.reason,
            redrives: self.redrives,
        }
    }
}

/// The aggregator's answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reply {
    /// To [`Query::Jobs`].
    Jobs(Vec<JobStatus>),
    /// To [`Query::Job`]; nothing where the ledger has no such job.
    Job(Option<Box<JobStatus>>),
    /// To [`Query::Companies`]; nothing where the job is not known, or ended too long ago for the aggregator to know them.
    Companies(Option<Indices>),
    /// The question was not understood, and why.
    Refused(String),
}
