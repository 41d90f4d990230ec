//! Scores companies: takes them from the broker, hands them to a scorer, and publishes the results.

pub mod cli;
pub mod run;

mod acks;
mod admit;
mod answer;
mod batch;
mod desks;
mod features;
mod health;
mod hold;
mod in_hand;
mod intake;
mod interruptions;
mod orders;
mod session;
mod settle;
mod status;
mod waiting;

use std::process::ExitCode;

use rollcall_shared::broker::BrokerError;
use rollcall_shared::lifecycle::Exit;
use rollcall_shared::terminal::{flush_stderr, to_stderr};

/// Why a consumer ended other than by being asked to.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// It was started in a way that cannot work.
    #[error("{0}")]
    Usage(String),
    /// Its scorer works for nobody.
    #[error("{0}")]
    Scorer(String),
    /// The broker cannot be reached or refuses.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

/// Says what went wrong, if anything did, and turns it into an exit code.
pub fn exit(ended: Result<(), Failure>) -> ExitCode {
    if let Err(failure) = &ended {
        to_stderr(format_args!("error: {failure}"));
    }
    flush_stderr();
    match ended {
        Ok(()) => Exit::Success,
        Err(Failure::Usage(_) | Failure::Scorer(_)) => Exit::BadInput,
        Err(Failure::Broker(error)) => error.exit(),
        Err(Failure::Other(_)) => Exit::Failure,
    }
    .into()
}
