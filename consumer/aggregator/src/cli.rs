//! The aggregator's flags.

use rollcall_shared::broker::BrokerArgs;
use rollcall_shared::telemetry::{LogArgs, MetricsArgs};

/// Count the results of every job, and announce when each is done. Run two or more: one is the leader and counts, the others stand by.
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "aggregator", version)]
pub struct AggregatorArgs {
    /// The broker.
    #[command(flatten)]
    pub broker: BrokerArgs,
    /// Metrics and health.
    #[command(flatten)]
    pub metrics: MetricsArgs,
    /// Logs.
    #[command(flatten)]
    pub logs: LogArgs,
}
