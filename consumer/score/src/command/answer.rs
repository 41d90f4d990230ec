//! Reads a line of a child's standard output, which may be anything: an answer, or a line of log.

mod salvage;

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{Prediction, ScoreError};

/// The outcome of each company of a batch.
pub type Outcomes = Vec<Result<Prediction, ScoreError>>;

/// What a line is that can be read.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// The answer to the request.
    Answer(Outcomes),
    /// The answer to the request: the batch as a whole failed, for this reason.
    Failed(String),
    /// No answer to anything.
    Log,
}

/// Why a line is taken for an answer and makes no sense as one.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadAnswer {
    /// It is not what was asked for.
    #[error("{0}")]
    Nonsense(String),
    /// It answers a request that was answered before.
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

/// Whether a line must be looked at: nothing but a JSON object can be an answer.
pub(super) fn may_be_answer(line: &[u8]) -> bool {
    without_mark(line).trim_ascii_start().starts_with(b"{")
}

/// Some programs put a byte order mark before their first line.
fn without_mark(line: &[u8]) -> &[u8] {
    line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line)
}

/// Reads a line that came after request `id` with `expected` instances.
///
/// # Errors
/// Where it is an answer that makes no sense.
pub fn read(line: &[u8], id: &str, expected: usize) -> Result<Line, BadAnswer> {
    if !may_be_answer(line) {
        return Ok(Line::Log);
    }
    let line = without_mark(line);
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
    let predictions = answer.predictions.ok_or_else(|| nonsense("expected predictions or an error, found neither"))?;
    check_count(predictions.len(), expected)?;
    Ok(Line::Answer(predictions.into_iter().map(entry).collect()))
}

/// Reads a line that is no JSON as a whole: where single predictions are none, the others are as good as in any other answer.
fn read_broken(text: &str, id: &str, expected: usize, error: &serde_json::Error) -> Result<Line, BadAnswer> {
    let Some(salvaged) = salvage::salvage(text) else {
        // It may be well-formed, with a value of another type than an answer has.
        if looks_like_answer(text.as_bytes()) || (error.is_data() && text.contains("\"id\"")) {
            return Err(nonsense(&format!(
                "expected one line of JSON with id and predictions, found {:?}: {error}",
                start(text)
            )));
        }
        return Ok(Line::Log);
    };
    check_id(salvaged.id, id)?;
    check_count(salvaged.predictions.len(), expected)?;
    let outcome = |found: &str| serde_json::from_str(found).map_or_else(|error| Err(invalid_entry(found, &error)), entry);
    Ok(Line::Answer(salvaged.predictions.into_iter().map(outcome).collect()))
}

/// Whether a line that is no JSON was meant as an answer.
fn looks_like_answer(line: &[u8]) -> bool {
    const WORDS: [&[u8]; 2] = [b"\"predictions\"", b"'predictions'"];
    let first_key = line.trim_ascii_start().get(1..).unwrap_or_default().trim_ascii_start();
    first_key.starts_with(b"\"id\"")
        || first_key.starts_with(b"'id'")
        || WORDS.iter().any(|word| line.windows(word.len()).any(|window| window == *word))
}

fn check_id(found: Option<&str>, expected: &str) -> Result<(), BadAnswer> {
    let Some(raw) = found else {
        return Err(nonsense(&format!(
            "expected the id of the request, {expected:?}, in its answer, found predictions without an id"
        )));
    };
    // A number is what becomes of an id in between: `int(batch["id"])`.
    let found = serde_json::from_str::<String>(raw).map_or(Cow::Borrowed(raw), Cow::Owned);
    let number = found.strip_suffix(".0").unwrap_or(&found);
    if found == expected || number == expected {
        return Ok(());
    }
    if let (Ok(number), Ok(of_request)) = (number.parse::<u64>(), expected.parse::<u64>())
        && number < of_request
    {
        return Err(BadAnswer::Repeated { expected: expected.to_owned(), found: number.to_string() });
    }
    Err(nonsense(&format!("expected the answer to id {expected:?}, found one to id {:?}", start(&found))))
}

fn check_count(found: usize, expected: usize) -> Result<(), BadAnswer> {
    if found == expected {
        return Ok(());
    }
    Err(nonsense(&format!("expected {expected} predictions, one per instance, found {found}")))
}

fn entry(entry: &RawValue) -> Result<Prediction, ScoreError> {
    // What is no object is a prediction.
    if !entry.get().starts_with('{') {
        return Ok(entry.get().to_owned().into());
    }
    let error = match serde_json::from_str(entry.get()) {
        Ok(Entry { error: None }) => return Ok(entry.get().to_owned().into()),
        Ok(Entry { error: Some(error) }) => error,
        Err(twice) => return Err(invalid(format!("expected a prediction or an error, found {:?}: {twice}", start(entry.get())))),
    };
    Err(match serde_json::from_str(error.get()) {
        Ok(EntryError { cause, message, retryable }) => ScoreError { cause, message, retryable },
        Err(bad) => invalid(format!(
            r#"expected an error as {{"cause": "…", "message": "…", "retryable": false}}, found {}: {bad}"#,
            start(error.get())
        )),
    })
}

/// Of a prediction that is no JSON. Another attempt would give the same.
fn invalid_entry(found: &str, error: &serde_json::Error) -> ScoreError {
    match salvage::not_a_number(found) {
        Some(word) => invalid(format!(
            "expected JSON as the prediction, found {word} in {:?}: write null where there is no number (in Python, check with math.isfinite)",
            start(found)
        )),
        None => invalid(format!("expected JSON as the prediction, found {:?}: {error}", start(found))),
    }
}

fn invalid(message: String) -> ScoreError {
    ScoreError { cause: "invalid_answer".to_owned(), message, retryable: false }
}

fn not_text(line: &[u8], at: usize) -> BadAnswer {
    let byte = line.get(at).copied().unwrap_or_default();
    let before = String::from_utf8_lossy(&line[at.saturating_sub(20)..at]);
    nonsense(&format!(
        "expected UTF-8, found the byte 0x{byte:02x} behind {before:?}, as in Latin-1; print UTF-8 (in Python, set PYTHONIOENCODING=utf-8, or leave ensure_ascii of json.dumps as it is)"
    ))
}

fn nonsense(message: &str) -> BadAnswer {
    BadAnswer::Nonsense(message.to_owned())
}

fn start(text: &str) -> String {
    text.trim_start().chars().take(80).collect()
}

#[cfg(test)]
mod tests;
