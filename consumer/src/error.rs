//! Why a consumer ends, and with which exit code.

use std::process::ExitCode;

use rollcall_shared::broker::BrokerError;
use rollcall_shared::lifecycle::Exit;
use rollcall_shared::message::BadRetryPolicy;
use rollcall_shared::telemetry::Unhealthy;
use rollcall_shared::terminal::{flush_stderr, to_stderr};

use crate::cli::HeldTooLong;

/// Why a consumer ended, other than by a request to stop.
#[derive(Debug, thiserror::Error)]
pub enum ConsumerError {
    /// A setting cannot be used: the filter of the logs, the metrics address, the launcher's arguments.
    #[error("{0}")]
    Usage(String),
    /// The delays or the number of attempts cannot be used.
    #[error("--retry-delays: {0}")]
    RetryPolicy(#[from] BadRetryPolicy),
    /// The broker may take companies back while they are scored.
    #[error(transparent)]
    HeldTooLong(#[from] HeldTooLong),
    /// The scorer does not load or start.
    #[error("{0}")]
    StartScorer(String),
    /// The scorer has failed on all companies so far.
    #[error("{0}")]
    BrokenScorer(String),
    /// A consumer of a fleet has ended with an error that the next one would end with too.
    #[error(
        "expected a consumer to work, found that one has ended with the error above, as the next one would: correct it, and start the fleet again"
    )]
    FleetGivenUp,
    /// The broker cannot be reached or refuses.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The process that was asked is not ready.
    #[error(transparent)]
    Unhealthy(#[from] Unhealthy),
    /// The process cannot register its metrics or its signal handlers.
    #[error("{0}")]
    Process(String),
}

/// Prints the error, if there is one, and returns the exit code.
pub fn exit(ended: Result<(), ConsumerError>) -> ExitCode {
    if let Err(error) = &ended {
        to_stderr(format_args!("error: {error}"));
    }
    flush_stderr();
    match ended {
        Ok(()) => Exit::Success,
        Err(ConsumerError::Broker(error)) => error.exit(),
        Err(ConsumerError::Unhealthy(Unhealthy::NoAddress)) => Exit::BadInput,
        Err(ConsumerError::Process(_) | ConsumerError::Unhealthy(_)) => Exit::Failure,
        Err(_) => Exit::BadInput,
    }
    .into()
}
