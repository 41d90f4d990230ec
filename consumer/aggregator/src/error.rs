//! Why an aggregator ends, and its exit codes.

use std::error::Error;
use std::io;
use std::process::ExitCode;

use rollcall_shared::broker::BrokerError;
use rollcall_shared::lifecycle::Exit;
use rollcall_shared::telemetry::Unhealthy;
use rollcall_shared::terminal::{flush_stderr, to_stderr};

/// Why an aggregator ended without being asked to.
#[derive(Debug, thiserror::Error)]
pub enum AggregatorError {
    /// An argument that cannot work.
    #[error("{0}")]
    Usage(String),
    /// The broker cannot be reached, or refuses.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The metrics cannot be registered: two share a name.
    #[error("cannot register the metrics: {0}; please report this defect")]
    Metrics(Box<dyn Error + Send + Sync>),
    /// The process that was asked is not ready.
    #[error(transparent)]
    Unhealthy(#[from] Unhealthy),
    /// The operating system refuses to deliver signals.
    #[error("cannot install signal handlers: {0}")]
    Signals(#[source] io::Error),
}

/// Prints the error, if there is one, and returns the exit code.
pub fn exit(ended: Result<(), AggregatorError>) -> ExitCode {
    if let Err(error) = &ended {
        to_stderr(format_args!("error: {error}"));
    }
    flush_stderr();
    match ended {
        Ok(()) => Exit::Success,
        Err(AggregatorError::Usage(_) | AggregatorError::Unhealthy(Unhealthy::NoAddress)) => Exit::BadInput,
        Err(AggregatorError::Broker(error)) => error.exit(),
        Err(AggregatorError::Metrics(_) | AggregatorError::Signals(_) | AggregatorError::Unhealthy(_)) => Exit::Failure,
    }
    .into()
}
