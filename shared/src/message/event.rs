//! Job events: what is said of a job as a whole.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Indices, Job, Model, Opening, Settings};

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Its producer has not yet said how many companies it has.
    Unsealed,
    /// Its total is known and some companies have no outcome yet.
    Running,
    /// Its companies are set aside until it is resumed.
    Paused,
    /// Every company has an outcome, and no more failed than it tolerates.
    Succeeded,
    /// More companies failed than it tolerates.
    Failed,
    /// It was given up; the companies without an outcome get none.
    Cancelled,
    /// Its deadline passed.
    Expired,
}

impl State {
    /// Whether the job has come to its end.
    pub fn is_final(self) -> bool {
        !matches!(self, State::Unsealed | State::Running | State::Paused)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            State::Unsealed => "unsealed",
            State::Running => "running",
            State::Paused => "paused",
            State::Succeeded => "succeeded",
            State::Failed => "failed",
            State::Cancelled => "cancelled",
            State::Expired => "expired",
        })
    }
}

/// A job has begun: its companies may be on their way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Opened {
    /// The job.
    pub job: Job,
    /// Tells this opening from another under the same name; nothing where the producer does not tell. The first in the ledger counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opening: Option<Opening>,
    /// The model that scores it.
    pub model: Model,
    /// The file its companies come from, as its owner named it.
    pub source: String,
    /// When, as RFC 3339 in UTC, by the producer's clock.
    pub opened_at: String,
    /// What holds for it.
    #[serde(flatten)]
    pub settings: Settings,
}

/// How far the job's producer has come, so that another can go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enqueued {
    /// The job.
    pub job: Job,
    /// The broker has stored every company before this index.
    pub position: u64,
    /// The opening of the job by the producer that says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opening: Option<Opening>,
}

/// Every company of the job has been enqueued.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// The job.
    pub job: Job,
    /// How many companies it has.
    pub total: u64,
    /// The opening of the job by the producer that says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opening: Option<Opening>,
}

/// How a job that moves stands now. Said about once a second, and not kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// The job.
    pub job: Job,
    /// The model that scores it.
    pub model: Option<Model>,
    /// Unsealed or running.
    pub state: State,
    /// How many companies it has, once that is known.
    pub total: Option<u64>,
    /// Companies with a prediction so far.
    pub succeeded: u64,
    /// Companies with a cause instead so far.
    pub failed: u64,
    /// Companies counted since the last progress event, over the time since then.
    pub companies_per_second: f64,
}

/// The job was given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancelled {
    /// The job.
    pub job: Job,
    /// Why, in words for people.
    pub reason: String,
    /// Companies enqueued up to then, where the one who cancels knows it.
    pub total: Option<u64>,
    /// How often the job had been redriven.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub redrives: u32,
    /// The opening of the job by the producer that gives it up; nothing where somebody else does, such as a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opening: Option<Opening>,
}

/// The job's deadline passed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expired {
    /// The job.
    pub job: Job,
    /// When it was to be done, as RFC 3339 in UTC; of a job with a span, by the clock of its producer.
    pub deadline_at: String,
}

/// Companies of the job have no outcome, and nothing of it waits, is held or is due. Said when that is noticed, and not kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stalled {
    /// The job.
    pub job: Job,
    /// The model that scores it.
    pub model: Option<Model>,
    /// Since when none of its companies has come to an outcome, as RFC 3339 in UTC.
    pub since: String,
    /// How many companies are lost.
    pub companies: u64,
}

/// The job's companies are to be set aside, or no longer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// The job.
    pub job: Job,
    /// When, as RFC 3339 in UTC.
    pub at: String,
}

/// Some companies of a job that had ended are enqueued again; their earlier outcomes no longer count.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Redriven {
    /// The job.
    pub job: Job,
    /// How often the job has been redriven, this time included.
    pub round: u32,
    /// Who redrives: of two at the same time, the first in the ledger does.
    pub by: String,
    /// Which companies: `0-99,105`.
    pub indices: Indices,
    /// How many they are.
    pub companies: u64,
    /// How many companies the job has, where that is known: by its seal, or by the file that it is redriven from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// When, as RFC 3339 in UTC.
    pub redriven_at: String,
    /// The opening that it is about; nothing where whoever says it does not know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opening: Option<Opening>,
}

/// How many companies failed for one cause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CauseCount {
    /// The cause.
    pub cause: String,
    /// Companies that failed for it.
    pub count: u64,
}

/// The job has ended; said once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Done {
    /// The job.
    pub job: Job,
    /// The model that scored it.
    pub model: Option<Model>,
    /// How it ended.
    pub state: State,
    /// How many companies it has.
    pub total: u64,
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
    /// When its last outcome was counted, as RFC 3339 in UTC.
    pub done_at: String,
    /// From opened to done, in seconds; `None` where that is not known, as nobody counted for a part of the time.
    pub duration_seconds: Option<f64>,
    /// Outcomes over that time.
    pub companies_per_second: Option<f64>,
    /// Failures by cause, the most frequent first.
    pub causes: Vec<CauseCount>,
    /// Why it was given up, where it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How often it had been redriven.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub redrives: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
pub(super) fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// What is said of a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobEvent {
    /// It has begun.
    Opened(Opened),
    /// Its total is known.
    Sealed(Sealed),
    /// It moves.
    Progress(Progress),
    /// Its producer has come so far.
    Enqueued(Enqueued),
    /// It was given up.
    Cancelled(Cancelled),
    /// Its deadline passed.
    Expired(Expired),
    /// It is set aside.
    Paused(Pause),
    /// It goes on.
    Resumed(Pause),
    /// Some of it is done again.
    Redriven(Redriven),
    /// Companies of it are lost.
    Stalled(Stalled),
    /// It has ended.
    Done(Done),
}

impl JobEvent {
    /// The words that [`JobEvent::name`] gives for events that the ledger records: all but progress and stalled.
    pub const RECORDED: [&str; 9] =
        ["opened", "enqueued", "sealed", "cancelled", "expired", "paused", "resumed", "redriven", "done"];

    /// The event's name: the last word of its type and of its routing key.
    pub fn name(&self) -> &'static str {
        match self {
            JobEvent::Opened(_) => "opened",
            JobEvent::Sealed(_) => "sealed",
            JobEvent::Progress(_) => "progress",
            JobEvent::Enqueued(_) => "enqueued",
            JobEvent::Cancelled(_) => "cancelled",
            JobEvent::Expired(_) => "expired",
            JobEvent::Paused(_) => "paused",
            JobEvent::Resumed(_) => "resumed",
            JobEvent::Redriven(_) => "redriven",
            JobEvent::Stalled(_) => "stalled",
            JobEvent::Done(_) => "done",
        }
    }

    /// The job it is about.
    pub fn job(&self) -> &Job {
        match self {
            JobEvent::Opened(opened) => &opened.job,
            JobEvent::Sealed(sealed) => &sealed.job,
            JobEvent::Progress(progress) => &progress.job,
            JobEvent::Enqueued(enqueued) => &enqueued.job,
            JobEvent::Cancelled(cancelled) => &cancelled.job,
            JobEvent::Expired(expired) => &expired.job,
            JobEvent::Paused(pause) | JobEvent::Resumed(pause) => &pause.job,
            JobEvent::Redriven(redriven) => &redriven.job,
            JobEvent::Stalled(stalled) => &stalled.job,
            JobEvent::Done(done) => &done.job,
        }
    }
}
