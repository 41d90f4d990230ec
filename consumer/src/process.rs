//! The consumer's process.

use std::process::ExitCode;

use rollcall_score::command::run_launcher_or_guard;
use rollcall_shared::arguments;
use rollcall_shared::broker::wait_for_broker;
use rollcall_shared::lifecycle;
use rollcall_shared::telemetry::healthcheck;
use tokio::runtime::Builder;

use crate::commands::ConsumerCommand;
use crate::error::{ConsumerError, exit};
use crate::fleet::args::FleetArgs;
use crate::{fleet, run};

/// The whole process: a launcher or guard of scorer processes if the arguments say so, else a consumer or a fleet. Returns the exit code.
pub fn main() -> ExitCode {
    // `ps` and `top` would call a process `exe` that was started by the path /proc/self/exe. There is no such file elsewhere than on Linux.
    std::fs::write("/proc/self/comm", "consumer").ok();
    match run_launcher_or_guard(std::env::args_os().skip(1)) {
        Err(error) => exit(Err(ConsumerError::Usage(error.to_string()))),
        Ok(()) => lifecycle::run(Builder::new_multi_thread(), consume()),
    }
}

async fn consume() -> ExitCode {
    exit(start(arguments::parse()).await)
}

async fn start(command: ConsumerCommand) -> Result<(), ConsumerError> {
    let args = match &command {
        ConsumerCommand::Consume(args) | ConsumerCommand::Fleet(FleetArgs { consumer: args, .. }) => args,
        ConsumerCommand::Healthcheck(args) => return Ok(healthcheck(args)?),
    };
    args.logs.start_numbered(args.fleet_number).map_err(|error| ConsumerError::Usage(error.to_string()))?;
    let shutdown = args.lifetime.shutdown().map_err(|error| ConsumerError::Process(error.to_string()))?;
    if let ConsumerCommand::Fleet(fleet) = &command {
        fleet::check(fleet)?;
        if fleet.check_only {
            return Ok(());
        }
    }
    wait_for_broker(&args.broker, &shutdown).await?;
    if shutdown.is_requested() {
        return Ok(());
    }
    match command {
        ConsumerCommand::Consume(args) => run::run(args, shutdown).await,
        ConsumerCommand::Fleet(args) => fleet::run(args, shutdown).await,
        ConsumerCommand::Healthcheck(_) => Ok(()),
    }
}
