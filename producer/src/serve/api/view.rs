//! A job as the API shows it.

use rollcall_shared::message::{CauseCount, JobStatus, Model, Stall, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

/// A job. The keys that it shares with `producer status --output json` and with the done event mean the same.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct JobView {
    /// Its name.
    pub(crate) job: String,
    /// The model that scores it.
    pub(crate) model: Option<String>,
    /// `unsealed` (it is being enqueued), `running`, `paused`, `succeeded`, `failed`, `cancelled` or `expired`.
    #[schema(pattern = "^(unsealed|running|paused|succeeded|failed|cancelled|expired)$")]
    pub(crate) state: String,
    /// How many companies it has, once that is known.
    pub(crate) total: Option<u64>,
    /// Companies with a prediction.
    pub(crate) succeeded: u64,
    /// Companies that failed.
    pub(crate) failed: u64,
    /// Companies without an outcome, since the job was cancelled or expired.
    pub(crate) cancelled: u64,
    /// Repeated outcomes of companies that were already counted.
    pub(crate) duplicates: u64,
    /// Attempts beyond each company's first.
    pub(crate) retries: u64,
    /// Companies that the broker has stored, by the producer's last word.
    pub(crate) enqueued: u64,
    /// When it was opened, RFC 3339.
    #[schema(format = DateTime)]
    pub(crate) opened_at: Option<String>,
    /// When it ended, RFC 3339.
    #[schema(format = DateTime)]
    pub(crate) done_at: Option<String>,
    /// From opened to done, or to now, in seconds.
    pub(crate) duration_seconds: Option<f64>,
    /// Outcomes over that time.
    pub(crate) companies_per_second: Option<f64>,
    /// Failures by cause, the most frequent first.
    pub(crate) causes: Vec<CauseTotal>,
    /// Why it was cancelled or expired, if it was.
    pub(crate) reason: Option<String>,
    /// Where its companies came from.
    pub(crate) source: Option<String>,
    /// Where its results are written once it has ended.
    pub(crate) results_to: Option<String>,
    /// How often it has been redriven.
    pub(crate) redrives: u32,
    /// Companies of it that are lost, if that has been noticed.
    pub(crate) stalled: Option<StallView>,
}

/// Companies that failed for one cause.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct CauseTotal {
    pub(crate) cause: String,
    pub(crate) count: u64,
}

/// Companies that are lost on the broker.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct StallView {
    /// Since when the job has had no new outcome, RFC 3339.
    #[schema(format = DateTime)]
    pub(crate) since: String,
    pub(crate) companies: u64,
}

impl From<JobStatus> for JobView {
    fn from(status: JobStatus) -> JobView {
        let text = |time: Option<Timestamp>| time.map(|time| time.to_string());
        let cause = |CauseCount { cause, count }| CauseTotal { cause, count };
        let stall = |Stall { since, companies }| StallView { since: since.to_string(), companies };
        JobView {
            job: status.job.to_string(),
            model: status.model.as_ref().map(Model::to_string),
            state: status.state.to_string(),
            total: status.total,
            succeeded: status.succeeded,
            failed: status.failed,
            cancelled: status.cancelled,
            duplicates: status.duplicates,
            retries: status.retries,
            enqueued: status.enqueued,
            opened_at: text(status.opened_at),
            done_at: text(status.done_at),
            duration_seconds: status.duration_seconds,
            companies_per_second: status.companies_per_second,
            causes: status.causes.into_iter().map(cause).collect(),
            reason: status.reason,
            source: status.source,
            results_to: status.settings.results_to,
            redrives: status.redrives,
            stalled: status.stalled.map(stall),
        }
    }
}
