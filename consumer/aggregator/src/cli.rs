//! The aggregator's flags.

use rollcall_shared::broker::BrokerArgs;
use rollcall_shared::telemetry::{LogArgs, MetricsArgs};

/// Count the results of every job, and announce when each is done; start two or more: one is the leader and counts, the others stand by
#[derive(Debug, Clone, clap::Parser)]
#[command(
    name = "aggregator",
    version,
    after_help = "Examples:
  aggregator
  aggregator --metrics-addr 0.0.0.0:9464 --log-format json"
)]
pub struct AggregatorArgs {
    /// The broker.
    #[command(flatten, next_help_heading = "Broker")]
    pub broker: BrokerArgs,
    /// Metrics and health.
    #[command(flatten, next_help_heading = "Metrics and logs")]
    pub metrics: MetricsArgs,
    /// Logs.
    #[command(flatten, next_help_heading = "Metrics and logs")]
    pub logs: LogArgs,
}
