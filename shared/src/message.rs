//! The messages: work, results, job events, control messages and queries. Each is written to AMQP properties and a body here, and read
//! back and checked here.

mod cloud_event;
mod consumer_status;
mod control;
mod dead_letter;
mod event;
mod headers;
mod indices;
mod json;
mod marker;
mod names;
mod opening;
mod query;
mod result;
mod retry;
mod scale;
mod settings;
mod span;
mod timestamp;
mod tolerance;
mod work;

pub use cloud_event::{Event, MalformedEvent};
pub use consumer_status::ConsumerStatus;
pub use control::{ControlMessage, Directive, Interrupted};
pub use dead_letter::{Death, DeathReason, deaths, read_dead_letter};
pub use event::{
    Cancelled, CauseCount, Done, Enqueued, Expired, ExportFailed, Exported, JobEvent, Opened, Pause, Progress, Redriven, Sealed,
    Stalled, State,
};
pub use headers::{Malformed, Message, bounded_headers, offset, persistent, to_ledger_alone};
pub use indices::{BadIndices, Indices};
pub use json::{BadJson, read_json};
pub use marker::{is_marker, marker, marker_id, new_marker_id};
pub use names::{BadName, Index, Job, MAX_NAME_BYTES, Model, parse_prefix};
pub use opening::{BadOpening, Opening};
pub use query::{CompanySet, JobStatus, JobsPage, Query, Reply, Stall};
pub use result::{LONGEST_CAUSE, Outcome, RESULT_TYPE, ResultBody, ResultError, ResultHeaders, ResultMessage, ScoredCompany};
pub use retry::{BadRetryPolicy, RetryPolicy, delay_word};
pub use scale::{DEFAULT_TARGET, ScaleSignal, UNMEASURED_SECONDS};
pub use settings::{BadDelimiter, Delimiter, Format, Priority, Reading, Settings};
pub use span::{BadSpan, Span};
pub use timestamp::{BadTimestamp, Timestamp};
pub use tolerance::{BadTolerance, Percentage, Tolerance};
pub use work::{LONGEST_COMPANY_ID, WORK_TYPE, Work, earlier_deliveries};
