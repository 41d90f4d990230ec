//! The messages of a job's way through the broker: work, result, job events, and the queries about them. Each knows how it
//! is written to AMQP properties and a body, and how it is read back and checked.

mod cloud_event;
mod consumer_status;
mod control;
mod dead_letter;
mod deadline;
mod event;
mod headers;
mod indices;
mod json;
mod names;
mod opening;
mod query;
mod result;
mod retry;
mod settings;
mod tolerance;
mod work;

pub use cloud_event::{Event, MalformedEvent, timestamp};
pub use consumer_status::ConsumerStatus;
pub use control::{Control, Interrupted, Order};
pub use dead_letter::{Death, DeathReason, deaths, read_dead_letter};
pub use deadline::{BadSpan, BadTimestamp, Span, Timestamp};
pub use event::{
    Cancelled, CauseCount, Done, Enqueued, Expired, JobEvent, Opened, Pause, Progress, Redriven, Sealed, Stalled, State,
};
pub use headers::{Malformed, Message, bounded_headers, offset, persistent, republished};
pub use indices::Indices;
pub use json::read_json;
pub use names::{BadName, Index, Job, MAX_NAME_BYTES, Model, prefix};
pub use opening::{BadOpening, Opening};
pub use query::{JobStatus, Query, Reply, Stall, Which};
pub use result::{Counted, LONGEST_CAUSE, Outcome, ScoredCompany, ScoredResult};
pub use retry::{BadRetryPolicy, RetryPolicy, delay_word};
pub use settings::{Delimiter, Format, Priority, Reading, Settings};
pub use tolerance::{Percentage, Tolerance};
pub use work::{LONGEST_COMPANY_ID, Work, earlier_deliveries};

/// The `type` property of a work message.
pub const WORK_TYPE: &str = "rollcall.company.v1";
/// The `type` property of a result message.
pub const RESULT_TYPE: &str = "rollcall.result.v1";
/// The `type` property of an aggregator's marker in the ledger.
pub const MARKER_TYPE: &str = "rollcall.marker.v1";
/// The `type` property of an order to consumers.
pub const CONTROL_TYPE: &str = "rollcall.control.v1";
