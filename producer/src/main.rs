//! The producer's process.

use std::process::ExitCode;

use clap::Parser;
use rollcall_producer::cli::ProducerArgs;
use rollcall_producer::run::{Failure, run};
use rollcall_shared::lifecycle::{Exit, Shutdown};

#[tokio::main]
async fn main() -> ExitCode {
    match start(ProducerArgs::parse()).await {
        Ok(()) => Exit::Success.into(),
        Err(failure) => {
            eprintln!("error: {failure}");
            failure.exit().into()
        }
    }
}

async fn start(args: ProducerArgs) -> Result<(), Failure> {
    args.logs.start().map_err(Failure::Usage)?;
    let shutdown = Shutdown::by_signal().map_err(|error| Failure::Other(error.to_string()))?;
    run(args, shutdown).await
}
