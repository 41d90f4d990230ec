//! The producer's process.

use std::process::ExitCode;

use rollcall_shared::arguments;
use rollcall_shared::lifecycle::{Exit, Shutdown, run as run_process};
use rollcall_shared::terminal::flush_stderr;
use tokio::runtime::Builder;

use crate::cli::ProducerArgs;
use crate::error::ProducerError;
use crate::output::print_error;
use crate::removed_variables::refuse_removed_variables;
use crate::run::run;

/// The whole process: parses the arguments, runs, prints the error if there is one, and returns the exit code.
pub fn main() -> ExitCode {
    run_process(Builder::new_multi_thread(), produce())
}

async fn produce() -> ExitCode {
    let args: ProducerArgs = arguments::parse();
    let output = args.output;
    let ended = start(args).await;
    if let Err(error) = &ended {
        print_error(output, error);
    }
    flush_stderr();
    ended.map_or_else(|error| error.exit(), |()| Exit::Success).into()
}

async fn start(args: ProducerArgs) -> Result<(), ProducerError> {
    refuse_removed_variables(&args, |variable| std::env::var_os(variable).is_some_and(|value| !value.is_empty()))?;
    args.logs.start().map_err(|error| ProducerError::Usage(error.to_string()))?;
    let shutdown = if args.may_be_killed() {
        Shutdown::never()
    } else {
        Shutdown::by_signal().map_err(|error| ProducerError::System(error.to_string()))?
    };
    run(args, shutdown).await
}
