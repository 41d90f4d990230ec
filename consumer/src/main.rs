//! The consumer's process.

use std::process::ExitCode;

use rollcall_consumer::cli::ConsumerArgs;
use rollcall_consumer::error::{ConsumerError, exit};
use rollcall_consumer::run;
use rollcall_score::command::launch;
use rollcall_shared::arguments;
use rollcall_shared::lifecycle::{self, Shutdown};
use tokio::runtime::Builder;

fn main() -> ExitCode {
    match launch(std::env::args_os().skip(1)) {
        Some(error) => exit(Err(ConsumerError::Usage(error.to_string()))),
        None => lifecycle::run(Builder::new_multi_thread(), consume()),
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
