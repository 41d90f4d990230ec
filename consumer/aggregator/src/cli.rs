//! The aggregator's flags.

use rollcall_shared::broker::BrokerArgs;
use rollcall_shared::lifecycle::LifetimeArgs;
use rollcall_shared::telemetry::{HealthcheckArgs, LogArgs, MetricsArgs};

/// Count the results of every job, and announce when each is done; start two or more: one is the leader and counts, the others stand by
#[derive(Debug, Clone, clap::Parser)]
#[command(
    name = "aggregator",
    version,
    args_conflicts_with_subcommands = true,
    after_help = "Examples:
  aggregator
  aggregator --metrics-addr 0.0.0.0:9464 --log-format json"
)]
pub struct AggregatorArgs {
    /// What to do instead of counting.
    #[command(subcommand)]
    pub command: Option<AggregatorCommand>,
    /// The broker.
    #[command(flatten, next_help_heading = "Broker")]
    pub broker: BrokerArgs,
    /// Metrics and health.
    #[command(flatten, next_help_heading = "Metrics and logs")]
    pub metrics: MetricsArgs,
    /// What it ends with.
    #[command(flatten)]
    pub lifetime: LifetimeArgs,
    /// Logs.
    #[command(flatten, next_help_heading = "Metrics and logs")]
    pub logs: LogArgs,
}

/// A command, with its arguments.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum AggregatorCommand {
    /// Ask the aggregator that serves on --metrics-addr whether it is ready; the exit code says so
    #[command(after_help = "Example:
  aggregator healthcheck --metrics-addr 0.0.0.0:9464")]
    Healthcheck(HealthcheckArgs),
}
