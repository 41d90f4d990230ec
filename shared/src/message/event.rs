//! Job events: what happens to a job as a whole.
//!
//! Other programs may publish them too. Their times are for people and decide nothing, so one that is not valid is read as `None`, and the
//! event counts. Only the deadline in a job's settings decides something: an opening with an invalid one is malformed.

use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use super::indices::Indices;
use super::names::{Job, Model};
use super::opening::Opening;
use super::settings::Settings;
use super::timestamp::{Timestamp, if_valid};

/// The state of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, strum::Display)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum State {
    /// Its total is not yet known: its producer has not sealed it.
    Unsealed,
    /// Its total is known, and some companies have no outcome yet.
    Running,
    /// Its companies are set aside until it is resumed.
    Paused,
    /// Every company has an outcome, and no more failed than the job tolerates.
    Succeeded,
    /// More companies failed than the job tolerates.
    Failed,
    /// It was cancelled; the companies without an outcome get none.
    Cancelled,
    /// Its deadline passed before every company had an outcome.
    Expired,
}

impl State {
    /// Whether the job has ended.
    pub fn is_final(self) -> bool {
        !matches!(self, State::Unsealed | State::Running | State::Paused)
    }
}

/// A job has begun: its companies may be on their way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Opened {
    /// The job's name.
    pub job: Job,
    /// Distinguishes this opening from another under the same name; `None` if the producer does not say. The first in the ledger counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opening: Option<Opening>,
    /// The model that scores it.
    pub model: Model,
    /// The file its companies come from, as its owner named it.
    pub source: String,
    /// When it was opened, by the producer's clock.
    #[serde(deserialize_with = "if_valid")]
    pub opened_at: Option<Timestamp>,
    /// Its settings.
    #[serde(flatten)]
    pub settings: Settings,
}

/// How far the job's producer has come, so that another can continue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enqueued {
    /// The job's name.
    pub job: Job,
    /// The broker has stored every company before this index.
    pub position: u64,
    /// The opening of the job by this producer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opening: Option<Opening>,
}

/// Every company of the job has been enqueued.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// The job's name.
    pub job: Job,
    /// How many companies it has.
    pub total: u64,
    /// The opening of the job by this producer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opening: Option<Opening>,
}

/// The counts of a job that makes progress. Published about once a second, and not recorded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// The job's name.
    pub job: Job,
    /// The model that scores it.
    pub model: Option<Model>,
    /// Unsealed or running.
    pub state: State,
    /// How many companies it has, once that is known.
    pub total: Option<u64>,
    /// Companies with a prediction so far.
    pub succeeded: u64,
    /// Companies that failed so far.
    pub failed: u64,
    /// Outcomes a second since the last progress event.
    pub companies_per_second: f64,
}

/// The job was cancelled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancelled {
    /// The job's name.
    pub job: Job,
    /// Why, for people.
    pub reason: String,
    /// Companies enqueued up to then, if the sender knows.
    pub total: Option<u64>,
    /// How often the job had been redriven.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub redrives: u32,
    /// The opening of the job if its producer cancels it; `None` if it is cancelled otherwise, such as by a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opening: Option<Opening>,
}

/// The job's deadline passed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expired {
    /// The job's name.
    pub job: Job,
    /// The deadline; of a job with a span, by the clock of its producer.
    #[serde(deserialize_with = "if_valid")]
    pub deadline_at: Option<Timestamp>,
}

/// Companies of the job are lost: they have no outcome, and none of them waits, is held or is due. Published when that is noticed, and not
/// recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stalled {
    /// The job's name.
    pub job: Job,
    /// The model that scores it.
    pub model: Option<Model>,
    /// Since when the job has had no new outcome.
    #[serde(deserialize_with = "if_valid")]
    pub since: Option<Timestamp>,
    /// How many companies are lost.
    pub companies: u64,
}

/// The job is paused, or resumed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// The job's name.
    pub job: Job,
    /// When.
    #[serde(deserialize_with = "if_valid")]
    pub at: Option<Timestamp>,
}

/// The results of the job are where its `results_to` says. Published by a gateway, and not recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exported {
    /// The job's name.
    pub job: Job,
    /// Where they are: a path or a URL.
    pub to: String,
    /// How many companies they are of.
    pub rows: u64,
    /// How often the job had been redriven.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub redrives: u32,
}

/// The results of the job could not be written to where its `results_to` says. Published by a gateway, and not recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportFailed {
    /// The job's name.
    pub job: Job,
    /// Where they were to be: a path or a URL.
    pub to: String,
    /// Why, for people.
    pub reason: String,
    /// When the gateway tries again, in seconds; `None` if it has given up.
    pub retry_in_seconds: Option<u64>,
}

/// Some companies of a job that had ended are enqueued again; their earlier outcomes no longer count.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Redriven {
    /// The job's name.
    pub job: Job,
    /// How often the job has been redriven, this time included.
    pub round: u32,
    /// A unique name of the sender: of two that redrive at the same time, the first in the ledger does.
    pub by: String,
    /// The companies: `0-99,105`.
    pub indices: Indices,
    /// How many they are.
    pub companies: u64,
    /// How many companies the job has, if that is known: from its seal, or from the file that it is redriven from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// When.
    #[serde(deserialize_with = "if_valid")]
    pub redriven_at: Option<Timestamp>,
    /// The opening that it is about; `None` if the sender does not know.
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

/// The job has ended; published once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Done {
    /// The job's name.
    pub job: Job,
    /// The model that scored it.
    pub model: Option<Model>,
    /// How it ended.
    pub state: State,
    /// How many companies it has.
    pub total: u64,
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
    /// When its last outcome was counted.
    #[serde(deserialize_with = "if_valid")]
    pub done_at: Option<Timestamp>,
    /// From opened to done, in seconds; `None` if no aggregator counted for a part of that time.
    pub duration_seconds: Option<f64>,
    /// Outcomes over that time.
    pub companies_per_second: Option<f64>,
    /// Failures by cause, the most frequent first.
    pub causes: Vec<CauseCount>,
    /// Why it was cancelled or expired, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How often it had been redriven.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub redrives: u32,
    /// Where a gateway writes its results.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub results_to: Option<Box<str>>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
pub(super) fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// Defines [`JobEvent`] and what follows from the list of its variants. An event's name is the last word of its type and of its routing
/// key.
macro_rules! job_events {
    ($($(#[$doc:meta])* $name:literal => $variant:ident($data:ty),)*) => {
        /// What has happened to a job.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        pub enum JobEvent {
            $($(#[$doc])* #[serde(rename = $name)] $variant($data),)*
        }

        impl JobEvent {
            const NAMES: &[&str] = &[$($name),*];

            /// The event's name.
            pub fn name(&self) -> &'static str {
                match self { $(JobEvent::$variant(_) => $name,)* }
            }

            /// The job that it is about.
            pub fn job(&self) -> &Job {
                match self { $(JobEvent::$variant(data) => &data.job,)* }
            }

            /// Reads the data of the event of that name; `None` if there is no such event.
            pub(super) fn read(name: &str, data: Value) -> Option<serde_json::Result<JobEvent>> {
                match name {
                    $($name => Some(serde_json::from_value(data).map(JobEvent::$variant)),)*
                    _ => None,
                }
            }

            /// Writes the data alone.
            pub(super) fn serialize_data<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self { $(JobEvent::$variant(data) => data.serialize(serializer),)* }
            }
        }
    };
}

job_events! {
    /// It has begun.
    "opened" => Opened(Opened),
    /// Its producer has come so far.
    "enqueued" => Enqueued(Enqueued),
    /// Its total is known.
    "sealed" => Sealed(Sealed),
    /// Its counts have changed.
    "progress" => Progress(Progress),
    /// It was cancelled.
    "cancelled" => Cancelled(Cancelled),
    /// Its deadline passed.
    "expired" => Expired(Expired),
    /// It is paused.
    "paused" => Paused(Pause),
    /// It is resumed.
    "resumed" => Resumed(Pause),
    /// Some of its companies are enqueued again.
    "redriven" => Redriven(Redriven),
    /// Companies of it are lost.
    "stalled" => Stalled(Stalled),
    /// It has ended.
    "done" => Done(Done),
    /// Its results are written.
    "exported" => Exported(Exported),
    /// Its results cannot be written.
    "export_failed" => ExportFailed(ExportFailed),
}

impl JobEvent {
    /// The names of the events that the ledger records: all but those that only describe the present, and those of gateways, which do not
    /// concern the count.
    pub fn recorded() -> impl Iterator<Item = &'static str> {
        let unrecorded = ["progress", "stalled", "exported", "export_failed"];
        JobEvent::NAMES.iter().copied().filter(move |name| !unrecorded.contains(name))
    }
}
