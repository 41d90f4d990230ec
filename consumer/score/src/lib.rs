//! Turns companies into predictions. A scorer knows nothing of the broker: it takes records and returns outcomes.

mod error;
mod scorer;

pub mod bayes;
pub mod command;

pub use self::error::{Error, ParseError};
pub use self::scorer::{Blame, CallError, Company, Prediction, ScoreError, Scorer, Scores};
