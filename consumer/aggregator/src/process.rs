//! The aggregator's process.

use std::process::ExitCode;

use rollcall_shared::arguments;
use rollcall_shared::lifecycle::{self, Shutdown};
use tokio::runtime::Builder;

use crate::cli::AggregatorArgs;
use crate::error::{AggregatorError, exit};
use crate::run::run;

/// The whole process: parses the arguments, runs, prints the error if there is one, and returns the exit code.
pub fn main() -> ExitCode {
    // One thread: counting is one task that never computes for long, and further threads would only use memory.
    lifecycle::run(Builder::new_current_thread(), async { exit(start(arguments::parse()).await) })
}

async fn start(args: AggregatorArgs) -> Result<(), AggregatorError> {
    args.logs.start().map_err(|error| AggregatorError::Usage(error.to_string()))?;
    let shutdown = Shutdown::by_signal().map_err(AggregatorError::Signals)?;
    run(args, shutdown).await
}
