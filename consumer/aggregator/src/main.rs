//! The aggregator's process.

use std::process::ExitCode;

use rollcall_aggregator::cli::AggregatorArgs;
use rollcall_aggregator::{AggregatorError, exit};
use rollcall_shared::arguments;
use rollcall_shared::lifecycle::{self, Shutdown};
use tokio::runtime::Builder;

// A single thread: counting is one task that never computes for long, and further threads would only use memory.
fn main() -> ExitCode {
    lifecycle::run(Builder::new_current_thread(), async { exit(start(arguments::parse()).await) })
}

async fn start(args: AggregatorArgs) -> Result<(), AggregatorError> {
    args.logs.start().map_err(|error| AggregatorError::Usage(error.to_string()))?;
    let shutdown = Shutdown::by_signal().map_err(AggregatorError::Signals)?;
    rollcall_aggregator::run(args, shutdown).await
}
