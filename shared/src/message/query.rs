//! Queries to the aggregator and its replies, over AMQP's direct reply-to.

use serde::{Deserialize, Serialize};

use super::event::{CauseCount, Done, State, is_zero};
use super::indices::Indices;
use super::names::{Job, Model};
use super::opening::Opening;
use super::scale::ScaleSignal;
use super::settings::Settings;
use super::timestamp::{Timestamp, field, if_valid};

/// A query to the aggregator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "query", rename_all = "lowercase")]
pub enum Query {
    /// The status of every job that it knows, the newest last.
    Jobs,
    /// The status of one job.
    Job {
        /// The job's name.
        job: Job,
    },
    /// The indices of some companies of a job.
    Companies {
        /// The job's name.
        job: Job,
        /// Which companies.
        which: CompanySet,
    },
    /// The status of some jobs, the newest first.
    Page(JobsPage),
    /// The work that is left of every model.
    Scale,
}

/// Which jobs, of all that the aggregator knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobsPage {
    /// Those in this state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
    /// Those of this model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<Model>,
    /// Those whose names begin with this text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name_prefix: String,
    /// Those whose first record has a smaller ledger offset: `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
    /// At most so many.
    pub limit: u32,
}

/// Some companies of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CompanySet {
    /// Those with an outcome.
    Counted,
    /// Those that failed.
    Failed,
    /// Those that failed for this cause.
    Cause(String),
    /// Those that the latest redrive enqueued again.
    Redriven,
}

/// Companies that are lost: they have no outcome, and none of them waits, is held or is due.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stall {
    /// Since when the job has had no new outcome.
    #[serde(deserialize_with = "field::since")]
    pub since: Timestamp,
    /// How many are lost.
    pub companies: u64,
}

/// The status of a job. The keys that it shares with the done event mean the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobStatus {
    /// The job's name.
    pub job: Job,
    /// Which opening of that name it is; `None` if its producer did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opening: Option<Opening>,
    /// The model that scores it.
    pub model: Option<Model>,
    /// Its state.
    pub state: State,
    /// How many companies it has, once that is known; if it ended before, how many at least.
    pub total: Option<u64>,
    /// How many companies its file has, once its producer reached the end of it, or it was redriven from the whole file.
    pub sealed: Option<u64>,
    /// Companies with a prediction.
    pub succeeded: u64,
    /// Companies that failed.
    pub failed: u64,
    /// Companies without an outcome, since the job was cancelled or expired.
    pub cancelled: u64,
    /// Repeated outcomes of companies that were already counted.
    pub duplicates: u64,
    /// Attempts beyond each company's first.
    pub retries: u64,
    /// When its producer opened it; `None` if the opening has no valid time.
    #[serde(default, deserialize_with = "if_valid")]
    pub opened_at: Option<Timestamp>,
    /// When it ended.
    #[serde(default, deserialize_with = "field::done_at")]
    pub done_at: Option<Timestamp>,
    /// From opened to done, or to now, in seconds; `None` if that is not known.
    pub duration_seconds: Option<f64>,
    /// Outcomes over that time.
    pub companies_per_second: Option<f64>,
    /// Failures by cause, the most frequent first.
    pub causes: Vec<CauseCount>,
    /// Why it was cancelled or expired, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The file its companies came from, as its owner named it.
    pub source: Option<String>,
    /// Its settings.
    #[serde(flatten)]
    pub settings: Settings,
    /// The broker has stored every company before this index, by its producer's last event.
    pub enqueued: u64,
    /// How often it has been redriven.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub redrives: u32,
    /// Who redrove it last: `by` of the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redriven_by: Option<String>,
    /// Companies of it that are lost, if that has been noticed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stalled: Option<Stall>,
    /// The ledger offset of its first record: where a replay of it begins.
    pub first_offset: u64,
    /// The ledger offset that the aggregator will read next: where a replay of what is counted ends.
    pub next_offset: u64,
}

impl JobStatus {
    /// Its done event; `None` if the ledger has none yet.
    pub fn into_done(self) -> Option<Done> {
        self.done_at.map(|done_at| self.ended(done_at))
    }

    /// Its done event if it ends at `done_at`.
    pub fn ended(self, done_at: Timestamp) -> Done {
        Done {
            done_at: Some(done_at),
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
            results_to: self.settings.results_to.map(String::into_boxed_str),
        }
    }
}

/// The aggregator's reply.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reply {
    /// To [`Query::Jobs`].
    Jobs(Vec<JobStatus>),
    /// To [`Query::Job`]; `None` if the ledger has no such job.
    Job(Option<Box<JobStatus>>),
    /// To [`Query::Companies`]; `None` if the job is not known, or ended too long ago for the aggregator to know its companies.
    Companies(Option<Indices>),
    /// To [`Query::Page`].
    Page {
        /// The jobs.
        jobs: Vec<JobStatus>,
        /// `before` of the next page; `None` if there are no more.
        next: Option<u64>,
    },
    /// To [`Query::Scale`]: one for each model that has a job, sorted by model.
    Scale(Vec<ScaleSignal>),
    /// Why there is no answer, for people.
    Refused(String),
}
