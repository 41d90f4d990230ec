//! The messages of a job's way through the broker: work, result, job events, and the queries about them. Each knows how it
//! is written to AMQP properties and a body, and how it is read back and checked.

mod cloud_event;
mod consumer_status;
mod control;
mod event;
mod headers;
mod indices;
mod json;
mod names;
mod query;
mod result;
mod retry;
mod settings;
mod tolerance;
mod work;

pub use cloud_event::{Event, MalformedEvent, timestamp};
pub use consumer_status::ConsumerStatus;
pub use control::{Control, Order};
pub use event::{Cancelled, CauseCount, Done, Enqueued, Expired, JobEvent, Opened, Pause, Progress, Redriven, Sealed, State};
pub use headers::{Malformed, Message, offset, persistent};
pub use indices::Indices;
pub use json::read_json;
pub use names::{BadName, Index, Job, MAX_NAME_BYTES, Model, prefix};
pub use query::{JobStatus, Query, Reply, Which};
pub use result::{Counted, LONGEST_CAUSE, Outcome, ScoredCompany, ScoredResult};
pub use retry::{BadRetryPolicy, RetryPolicy, delay_word};
pub use settings::{Delimiter, Format, Priority, Reading, Settings};
pub use tolerance::{Percentage, Tolerance};
pub use work::{Work, earlier_deliveries};

/// The `type` property of a work message.
pub const WORK_TYPE: &str = "rollcall.company.v1";
/// The `type` property of a result message.
pub const RESULT_TYPE: &str = "rollcall.result.v1";
/// The `type` property of an aggregator's marker in the ledger.
pub const MARKER_TYPE: &str = "rollcall.marker.v1";
/// The `type` property of an order to consumers.
pub const CONTROL_TYPE: &str = "rollcall.control.v1";
