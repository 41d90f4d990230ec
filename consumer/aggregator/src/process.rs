//! The aggregator's process.

use std::process::ExitCode;

use rollcall_shared::arguments;
use rollcall_shared::broker::wait_for_broker;
use rollcall_shared::lifecycle;
use rollcall_shared::telemetry::healthcheck;
use tokio::runtime::Builder;

use crate::cli::{AggregatorArgs, AggregatorCommand};
use crate::error::{AggregatorError, exit};
use crate::run::run;

/// The whole process: parses the arguments, runs, prints the error if there is one, and returns the exit code.
pub fn main() -> ExitCode {
    // One thread: counting is one task that never computes for long, and further threads would only use memory.
    lifecycle::run(Builder::new_current_thread(), async { exit(start(arguments::parse()).await) })
}

async fn start(args: AggregatorArgs) -> Result<(), AggregatorError> {
    if let Some(AggregatorCommand::Healthcheck(args)) = &args.command {
        return Ok(healthcheck(args)?);
    }
    args.logs.start().map_err(|error| AggregatorError::Usage(error.to_string()))?;
    let shutdown = args.lifetime.shutdown().map_err(AggregatorError::Signals)?;
    wait_for_broker(&args.broker, &shutdown).await?;
    run(args, shutdown).await
}
