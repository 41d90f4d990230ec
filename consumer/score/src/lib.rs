//! Turns companies into predictions. A scorer knows nothing of the broker: it is handed records and hands back outcomes.

pub mod bayes;
pub mod command;

/// A company as a scorer sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Company {
    /// The company's record: a JSON object, as the producer sent it.
    pub record: Vec<u8>,
}

/// What a scorer says of a company.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prediction {
    /// Any JSON value, as text.
    pub json: String,
    /// What to say where no field of the record is a feature of the model: nothing of the company went into the prediction.
    pub no_features: Option<String>,
}

impl From<String> for Prediction {
    fn from(json: String) -> Prediction {
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
    /// Whether another attempt may go better.
    pub retryable: bool,
}

/// The outcome of each company of a batch, or, where the call failed as a whole, why. The companies are then scored again,
/// each alone, so that one cannot take its neighbours down.
pub type Scores = Result<Vec<Result<Prediction, ScoreError>>, CallError>;

/// Why a call of a scorer has failed as a whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct CallError {
    /// What to say of a company that failed so by itself.
    pub error: ScoreError,
    /// Against whom it speaks.
    pub blame: Blame,
}

/// Against whom a failed call speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// The companies: the scorer works, and could not score these.
    Companies,
    /// The companies or the scorer: it was given them, and died, hung or answered nonsense.
    Either,
    /// The scorer: it failed before it had read what it was given.
    Scorer,
    /// Nobody: the consumer is stopping.
    Nobody,
}

impl From<ScoreError> for CallError {
    fn from(error: ScoreError) -> CallError {
        CallError { error, blame: Blame::Companies }
    }
}

/// Scores companies, many at a time, on a thread of its own.
pub trait Scorer: Send {
    /// One outcome per company, in the order of `companies`.
    ///
    /// # Errors
    /// Where the scorer failed on the batch as a whole: it crashed, hung, or made no sense.
    fn score(&mut self, companies: &[Company]) -> Scores;
}
