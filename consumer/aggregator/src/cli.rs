//! The aggregator's flags.

use rollcall_shared::broker::BrokerArgs;
use rollcall_shared::telemetry::{LogArgs, MetricsArgs};

/// Count the results of every job, and say when each is done. Run two or more: one counts, the others stand by.
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
