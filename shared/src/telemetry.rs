//! Logs on standard error, metrics and health over HTTP.

mod logs;
mod metrics;
mod serve;

pub use logs::{BadLogFilter, LogArgs, LogFormat};
pub use metrics::{AggregatorMetrics, ConsumerMetrics};
pub use serve::{CannotListen, MetricsArgs, Readiness, serve};
