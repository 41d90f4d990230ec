//! Why the aggregator ends, and with which exit code.

use std::process::ExitCode;

use rollcall_shared::broker::BrokerError;
use rollcall_shared::lifecycle::Exit;
use rollcall_shared::terminal::{flush_stderr, to_stderr};

/// Why an aggregator ended other than by being asked to.
#[derive(Debug, thiserror::Error)]
pub enum AggregatorError {
    /// It was started in a way that cannot work.
    #[error("{0}")]
    Usage(String),
    /// The broker cannot be reached or refuses.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

/// Prints the error, if there is one, and returns the exit code.
pub fn exit(ended: Result<(), AggregatorError>) -> ExitCode {
    if let Err(error) = &ended {
        to_stderr(format_args!("error: {error}"));
    }
    flush_stderr();
    match ended {
        Ok(()) => Exit::Success,
        Err(AggregatorError::Usage(_)) => Exit::BadInput,
        Err(AggregatorError::Broker(error)) => error.exit(),
        Err(AggregatorError::Other(_)) => Exit::Failure,
    }
    .into()
}
