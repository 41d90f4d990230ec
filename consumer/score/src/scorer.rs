//! The [`Scorer`] trait, what a scorer is given, and what it returns.

use rollcall_shared::json::Json;

/// Scores companies, many at a time, on a thread of its own.
pub trait Scorer: Send {
    /// One outcome per company, in the order of `companies`.
    ///
    /// # Errors
    /// [`CallError`] if the call failed as a whole.
    fn score(&mut self, companies: &[Company]) -> Scores;
}

/// A company as a scorer sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Company {
    /// The company's record: a JSON object, as the producer sent it.
    pub record: Vec<u8>,
}

/// What a scorer predicts for a company.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prediction {
    /// Any JSON value.
    pub json: Json,
    /// `None` if a field of the record is a feature of the model. Otherwise the prediction says nothing of this company, and this is
    /// the message for its owner.
    pub no_features: Option<String>,
}

impl From<Json> for Prediction {
    fn from(json: Json) -> Prediction {
        Prediction { json, no_features: None }
    }
}

/// Why a company could not be scored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{cause}: {message}")]
pub struct ScoreError {
    /// A short, stable word or phrase to count failures by, such as `invalid_evidence`.
    pub cause: String,
    /// One line for people: what was expected, what was found, what to do.
    pub message: String,
    /// Whether another attempt may succeed.
    pub retryable: bool,
}

/// The outcome of each company of a batch, or an error if the call failed as a whole. What then becomes of its companies depends
/// on the [`Blame`].
pub type Scores = Result<Vec<Result<Prediction, ScoreError>>, CallError>;

/// Why a call of a scorer failed as a whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct CallError {
    /// The error of a company that was the only one of the call.
    pub error: ScoreError,
    /// What the failure is evidence against.
    pub blame: Blame,
}

/// What a failed call is evidence against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// The companies: the scorer works, and could not score these. Each is scored again in a call of its own, so that only the
    /// one that caused the failure fails; one that was the only one of its call has the error as its outcome.
    Companies,
    /// The companies or the scorer: it had read them when it died, hung or gave an invalid answer. The same follows, but before
    /// the only company of a call gets the error, the scorer is tried with others.
    Either,
    /// The scorer: it failed before it had read its input. The batch is scored again as it is, and costs no attempt unless the
    /// scorer still scores other companies.
    Scorer,
    /// Neither: the consumer is stopping. The companies go back to their queue and are charged no attempt.
    None,
}

impl From<ScoreError> for CallError {
    fn from(error: ScoreError) -> CallError {
        CallError { error, blame: Blame::Companies }
    }
}
