//! Logs on standard error, metrics and health over HTTP.

mod healthcheck;
mod logs;
mod metrics;
mod serve;

pub use healthcheck::{HealthcheckArgs, Unhealthy, healthcheck};
pub use logs::{BadLogFilter, LogArgs, LogFormat};
pub use metrics::{AggregatorMetrics, ConsumerMetrics, FleetMetrics, GatewayMetrics};
pub use serve::{CannotListen, MetricsArgs, Readiness, serve};
