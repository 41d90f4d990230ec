//! Reads a child's answer, which may be anything.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::fault;
use crate::score::{Prediction, ScoreError};

/// The cause where the child reports that a batch as a whole failed.
pub(super) const BATCH_ERROR: &str = "scorer_error";

#[derive(Deserialize)]
struct Answer<'a> {
    id: String,
    #[serde(borrow)]
    predictions: Option<Vec<&'a RawValue>>,
    error: Option<String>,
}

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct EntryError {
    cause: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    retryable: bool,
}

/// The outcomes in a child's answer to request `id` with `expected` instances, in their order.
///
/// # Errors
/// Where it is no such answer, or says that the batch as a whole failed.
pub fn read(line: &str, id: &str, expected: usize) -> Result<Vec<Result<Prediction, ScoreError>>, ScoreError> {
    let answer: Answer = serde_json::from_str(line).map_err(|error| {
        nonsense(&format!("expected one line of JSON with id and predictions, found {:?}: {error}", start(line)))
    })?;
    if answer.id != id {
        return Err(nonsense(&format!("expected an answer to id {id:?}, found id {:?}", start(&answer.id))));
    }
    if let Some(error) = answer.error {
        return Err(fault(BATCH_ERROR, &error));
    }
    let predictions = answer.predictions.ok_or_else(|| nonsense("expected predictions or an error, found neither"))?;
    if predictions.len() != expected {
        return Err(nonsense(&format!("expected {expected} predictions, one per instance, found {}", predictions.len())));
    }
    Ok(predictions.into_iter().map(entry).collect())
}

fn entry(entry: &RawValue) -> Result<Prediction, ScoreError> {
    // What is no object is a prediction.
    let Some(error) = serde_json::from_str(entry.get()).ok().and_then(|Entry { error }| error) else {
        return Ok(entry.get().to_owned().into());
    };
    Err(match serde_json::from_str(error.get()) {
        Ok(EntryError { cause, message, retryable }) => ScoreError { cause, message, retryable },
        Err(bad) => ScoreError {
            cause: "invalid_answer".to_owned(),
            message: format!(
                r#"expected an error as {{"cause": "…", "message": "…", "retryable": false}}, found {}: {bad}"#,
                start(error.get())
            ),
            retryable: false,
        },
    })
}

fn nonsense(message: &str) -> ScoreError {
    fault("invalid_answer", message)
}

fn start(text: &str) -> String {
    text.chars().take(80).collect()
}
