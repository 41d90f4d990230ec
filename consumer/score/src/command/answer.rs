//! Reads a line of a child's standard output, which is an answer or log output.

mod salvage;

use std::borrow::Cow;

use rollcall_shared::json::Json;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::scorer::{Prediction, ScoreError};

/// The outcome of each company of a batch.
pub type Outcomes = Vec<Result<Prediction, ScoreError>>;

/// What a line is.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// The answer to the request.
    Answer(Outcomes),
    /// The answer to the request: the batch as a whole failed, with this message.
    Failed(String),
    /// Log output.
    Log,
}

/// Why a line that is meant as an answer cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// It is not of the form that an answer has, or does not match the request.
    #[error("{0}")]
    Invalid(String),
    /// It answers an earlier request.
    #[error(
        "expected the answer to id {expected:?}, found one more to the earlier id {found:?}; print one answer to each request"
    )]
    Repeated {
        /// The id of the request.
        expected: String,
        /// The id in the answer.
        found: String,
    },
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
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

/// Whether a line can be an answer, which is a JSON object. Cheap, so that log output is recognised without parsing it.
pub(super) fn may_be_answer(line: &[u8]) -> bool {
    without_bom(line).trim_ascii_start().starts_with(b"{")
}

/// Some programs print a byte order mark before their first line.
fn without_bom(line: &[u8]) -> &[u8] {
    line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line)
}

/// Reads a line that came after request `id` with `expected` instances.
///
/// # Errors
/// If it is meant as an answer and cannot be used.
pub fn read(line: &[u8], id: &str, expected: usize) -> Result<Line, AnswerError> {
    if !may_be_answer(line) {
        return Ok(Line::Log);
    }
    let line = without_bom(line);
    let text = match std::str::from_utf8(line) {
        Ok(text) => text,
        Err(error) if looks_like_answer(line) => return Err(not_text(line, error.valid_up_to())),
        Err(_) => return Ok(Line::Log),
    };
    let answer = match serde_json::from_str::<Answer>(text) {
        Ok(Answer { id: None, predictions: None, .. }) => return Ok(Line::Log),
        Ok(answer) => answer,
        Err(error) => return read_broken(text, id, expected, &error),
    };
    check_id(answer.id.map(RawValue::get), id)?;
    if let Some(error) = answer.error {
        return Ok(Line::Failed(error));
    }
    let predictions = answer.predictions.ok_or_else(|| invalid_answer("expected predictions or an error, found neither"))?;
    check_count(predictions.len(), expected)?;
    Ok(Line::Answer(predictions.into_iter().map(entry).collect()))
}

/// Reads a line that is not valid JSON. If only some predictions are invalid, the others are used.
fn read_broken(text: &str, id: &str, expected: usize, error: &serde_json::Error) -> Result<Line, AnswerError> {
    let Some(salvaged) = salvage::salvage(text) else {
        // It may be valid JSON, in which a value has the wrong type.
        if looks_like_answer(text.as_bytes()) || (error.is_data() && text.contains("\"id\"")) {
            return Err(invalid_answer(format!(
                "expected one line of JSON with id and predictions, found {:?}: {error}",
                start(text)
            )));
        }
        return Ok(Line::Log);
    };
    check_id(salvaged.id, id)?;
    check_count(salvaged.predictions.len(), expected)?;
    let outcome = |found: &str| serde_json::from_str(found).map_or_else(|error| Err(not_json(found, &error)), entry);
    Ok(Line::Answer(salvaged.predictions.into_iter().map(outcome).collect()))
}

/// Whether a line that is not valid JSON was meant as an answer.
fn looks_like_answer(line: &[u8]) -> bool {
    const WORDS: [&[u8]; 2] = [b"\"predictions\"", b"'predictions'"];
    let first_key = line.trim_ascii_start().get(1..).unwrap_or_default().trim_ascii_start();
    first_key.starts_with(b"\"id\"")
        || first_key.starts_with(b"'id'")
        || WORDS.iter().any(|word| line.windows(word.len()).any(|window| window == *word))
}

fn check_id(found: Option<&str>, expected: &str) -> Result<(), AnswerError> {
    let Some(raw) = found else {
        return Err(invalid_answer(format!(
            "expected the id of the request, {expected:?}, in its answer, found predictions without an id"
        )));
    };
    // Some programs convert the id to a number, as with `int(batch["id"])`.
    let found = serde_json::from_str::<String>(raw).map_or(Cow::Borrowed(raw), Cow::Owned);
    let number = found.strip_suffix(".0").unwrap_or(&found);
    if found == expected || number == expected {
        return Ok(());
    }
    if let (Ok(number), Ok(of_request)) = (number.parse::<u64>(), expected.parse::<u64>())
        && number < of_request
    {
        return Err(AnswerError::Repeated { expected: expected.to_owned(), found: number.to_string() });
    }
    Err(invalid_answer(format!("expected the answer to id {expected:?}, found one to id {:?}", start(&found))))
}

fn check_count(found: usize, expected: usize) -> Result<(), AnswerError> {
    if found == expected {
        return Ok(());
    }
    Err(invalid_answer(format!("expected {expected} predictions, one per instance, found {found}")))
}

fn entry(entry: &RawValue) -> Result<Prediction, ScoreError> {
    // Only an object can be an error entry.
    if !entry.get().starts_with('{') {
        return Ok(Json::from(entry).into());
    }
    let error = match serde_json::from_str(entry.get()) {
        Ok(Entry { error: None }) => return Ok(Json::from(entry).into()),
        Ok(Entry { error: Some(error) }) => error,
        Err(error) => {
            return Err(invalid_prediction(format!(
                "expected a prediction or an error, found {:?}: {error}",
                start(entry.get())
            )));
        }
    };
    Err(match serde_json::from_str(error.get()) {
        Ok(EntryError { cause, message, retryable }) => ScoreError { cause, message, retryable },
        Err(bad) => invalid_prediction(format!(
            r#"expected an error as {{"cause": "…", "message": "…", "retryable": false}}, found {}: {bad}"#,
            start(error.get())
        )),
    })
}

/// The error for a prediction that is not valid JSON. It is not retryable: another attempt would give the same.
fn not_json(found: &str, error: &serde_json::Error) -> ScoreError {
    match salvage::not_a_number(found) {
        Some(word) => invalid_prediction(format!(
            "expected JSON as the prediction, found {word} in {:?}: write null where there is no number (in Python, check with math.isfinite)",
            start(found)
        )),
        None => invalid_prediction(format!("expected JSON as the prediction, found {:?}: {error}", start(found))),
    }
}

fn invalid_prediction(message: String) -> ScoreError {
    ScoreError { cause: "invalid_answer".to_owned(), message, retryable: false }
}

fn not_text(line: &[u8], at: usize) -> AnswerError {
    let byte = line.get(at).copied().unwrap_or_default();
    let before = String::from_utf8_lossy(&line[at.saturating_sub(20)..at]);
    invalid_answer(format!(
        "expected UTF-8, found the byte 0x{byte:02x} after {before:?}, as in Latin-1; print UTF-8 (in Python, set PYTHONIOENCODING=utf-8, or leave ensure_ascii of json.dumps as it is)"
    ))
}

fn invalid_answer(message: impl Into<String>) -> AnswerError {
    AnswerError::Invalid(message.into())
}

fn start(text: &str) -> String {
    text.trim_start().chars().take(80).collect()
}

#[cfg(test)]
mod tests;
