//! Why a request has no answer, and what that means for the companies in it.

use std::io;
use std::time::Duration;

use super::answer::AnswerError;
use crate::scorer::{Blame, CallError, ScoreError};

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum RequestError {
    #[error("the scorer cannot be started: {0}")]
    NotStarted(io::Error),
    #[error("the scorer died: {how}")]
    Died {
        how: String,
        /// Whether it had read all of its input.
        had_read: bool,
    },
    #[error("the scorer did not answer within {}{hint}", humantime::format_duration(*.timeout))]
    TimedOut { timeout: Duration, hint: String },
    #[error("the scorer's answer is longer than {} MiB", .most >> 20)]
    AnswerTooLong {
        /// Bytes.
        most: u64,
    },
    #[error("the consumer is stopping")]
    Stopping,
    #[error(transparent)]
    InvalidAnswer(#[from] AnswerError),
    /// The child answered that it cannot score the batch.
    #[error("{0}")]
    Refused(String),
}

impl From<RequestError> for CallError {
    fn from(error: RequestError) -> CallError {
        let (cause, blame) = match &error {
            RequestError::NotStarted(_) | RequestError::Died { had_read: false, .. } => ("scorer_crashed", Blame::Scorer),
            RequestError::Died { had_read: true, .. } => ("scorer_crashed", Blame::Either),
            RequestError::Stopping => ("scorer_crashed", Blame::None),
            RequestError::TimedOut { .. } => ("timeout", Blame::Either),
            RequestError::AnswerTooLong { .. } | RequestError::InvalidAnswer(AnswerError::Invalid(_)) => {
                ("invalid_answer", Blame::Either)
            }
            // The child printed it before it had read this request.
            RequestError::InvalidAnswer(AnswerError::Repeated { .. }) => ("invalid_answer", Blame::Scorer),
            RequestError::Refused(_) => ("scorer_error", Blame::Companies),
        };
        let error = ScoreError { cause: cause.to_owned(), message: error.to_string(), retryable: true };
        CallError { error, blame }
    }
}
