//! What a process tells of itself: logs on stderr, metrics and health over HTTP.

mod logs;
mod metrics;
mod serve;

pub use logs::{LogArgs, LogFormat};
pub use metrics::{AggregatorMetrics, ConsumerMetrics};
pub use serve::{MetricsArgs, Readiness, serve};
