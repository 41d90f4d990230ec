//! The messages of a job's way through the broker: work, result, job events, and the queries about them. Each knows how it
//! is written to AMQP properties and a body, and how it is read back and checked.

mod event;
mod headers;
mod names;
mod query;
mod result;
mod work;

pub use event::{Cancelled, CauseCount, Done, Event, JobEvent, MalformedEvent, Opened, Progress, Sealed, State, timestamp};
pub use headers::{Malformed, Message, offset, persistent};
pub use names::{BadName, Index, Job, MAX_NAME_BYTES, Model, prefix};
pub use query::{JobStatus, Query, Reply};
pub use result::{Counted, Outcome, ScoredCompany, ScoredResult};
pub use work::Work;

/// The `type` property of a work message.
pub const WORK_TYPE: &str = "rollcall.company.v1";
/// The `type` property of a result message.
pub const RESULT_TYPE: &str = "rollcall.result.v1";
/// The `type` property of an aggregator's marker in the ledger.
pub const MARKER_TYPE: &str = "rollcall.marker.v1";
