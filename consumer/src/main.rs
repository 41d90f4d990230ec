//! The consumer's process.

use std::process::ExitCode;

use rollcall_consumer::cli::ConsumerArgs;
use rollcall_consumer::error::{ConsumerError, exit};
use rollcall_consumer::run;
use rollcall_score::command::run_launcher_or_guard;
use rollcall_shared::arguments;
use rollcall_shared::lifecycle::{self, Shutdown};
use tokio::runtime::Builder;

fn main() -> ExitCode {
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
