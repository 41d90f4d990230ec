//! The producer's process.

use std::process::ExitCode;

use rollcall_producer::cli::{Command, EnqueueArgs, ProducerArgs};
use rollcall_producer::run::{Failure, run};
use rollcall_shared::arguments;
use rollcall_shared::lifecycle::{Exit, Shutdown, run as run_process};
use rollcall_shared::terminal::{flush_stderr, to_stderr};
use tokio::runtime::Builder;

fn main() -> ExitCode {
    run_process(Builder::new_multi_thread(), produce())
}

async fn produce() -> ExitCode {
    let ended = start(arguments::parse()).await;
    if let Err(failure) = &ended {
        to_stderr(format_args!("error: {failure}"));
    }
    flush_stderr();
    ended.map_or_else(|failure| failure.exit(), |()| Exit::Success).into()
}

async fn start(args: ProducerArgs) -> Result<(), Failure> {
    args.logs.start().map_err(|error| Failure::Usage(error.to_string()))?;
    // A command that leaves nothing behind may as well be ended by the signal itself.
    let shutdown = match args.command {
        Command::Enqueue(EnqueueArgs { dry_run: false, .. })
        | Command::Watch { .. }
        | Command::Results(_)
        | Command::Failures { .. }
        | Command::Redrive(_)
        | Command::Generate(_) => Shutdown::by_signal(),
        Command::Enqueue(_)
        | Command::Status { .. }
        | Command::Cancel { .. }
        | Command::Pause { .. }
        | Command::Resume { .. } => Ok(Shutdown::never()),
    };
    run(args, shutdown.map_err(|error| Failure::Other(error.to_string()))?).await
}
