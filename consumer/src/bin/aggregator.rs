//! The aggregator's process.

use std::process::ExitCode;

use rollcall_consumer::{Failure, aggregator};
use rollcall_shared::arguments;
use rollcall_shared::lifecycle::{self, Shutdown};
use tokio::runtime::Builder;

// One worker: counting is one task, and never computes for long; more workers would only keep memory of their own.
fn main() -> ExitCode {
    lifecycle::run(Builder::new_current_thread(), async { rollcall_consumer::exit(start(arguments::parse()).await) })
}

async fn start(args: aggregator::cli::AggregatorArgs) -> Result<(), Failure> {
    args.logs.start().map_err(Failure::Usage)?;
    let shutdown = Shutdown::by_signal().map_err(|error| Failure::Other(error.to_string()))?;
    aggregator::run(args, shutdown).await
}
