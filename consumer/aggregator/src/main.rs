//! The aggregator's process.

use std::process::ExitCode;

use rollcall_aggregator::cli::AggregatorArgs;
use rollcall_aggregator::{AggregatorError, exit};
use rollcall_shared::arguments;
use rollcall_shared::lifecycle::{self, Shutdown};
use tokio::runtime::Builder;

// One worker: counting is one task, and never computes for long; more workers would only keep memory of their own.
fn main() -> ExitCode {
    lifecycle::run(Builder::new_current_thread(), async { exit(start(arguments::parse()).await) })
}

async fn start(args: AggregatorArgs) -> Result<(), AggregatorError> {
    args.logs.start().map_err(|error| AggregatorError::Usage(error.to_string()))?;
    let shutdown = Shutdown::by_signal().map_err(|error| AggregatorError::Other(error.to_string()))?;
    rollcall_aggregator::run(args, shutdown).await
}
