//! The consumer's process.

use std::process::ExitCode;

use rollcall_score::command::run_launcher_or_guard;
use rollcall_shared::arguments;
use rollcall_shared::lifecycle::{self, Shutdown};
use tokio::runtime::Builder;

use crate::cli::ConsumerArgs;
use crate::error::{ConsumerError, exit};
use crate::run;

/// The whole process: a launcher or guard of scorer processes if the arguments say so, else a consumer. Returns the exit code.
pub fn main() -> ExitCode {
    match run_launcher_or_guard(std::env::args_os().skip(1)) {
        Err(error) => exit(Err(ConsumerError::Usage(error.to_string()))),
        Ok(()) => lifecycle::run(Builder::new_multi_thread(), consume()),
    }
}

async fn consume() -> ExitCode {
    exit(start(arguments::parse::<ConsumerArgs>()).await)
}

async fn start(args: ConsumerArgs) -> Result<(), ConsumerError> {
    args.logs.start().map_err(|error| ConsumerError::Usage(error.to_string()))?;
    let shutdown = Shutdown::by_signal().map_err(|error| ConsumerError::Process(error.to_string()))?;
    run::run(args, shutdown).await
}
