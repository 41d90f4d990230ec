//! Shows a few results as text, or as one JSON document.

use std::borrow::Cow;

use rollcall_shared::message::ResultBody;
use rollcall_shared::terminal::escape_lines;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::cli::Output;
use crate::error::ProducerError;
use crate::output::print;

/// The most parts of a prediction that are shown.
const PARTS: usize = 5;

/// Results to be shown. For text output, only the lines that will be shown are kept, not whole results.
pub(super) enum Shown {
    Text(Vec<String>),
    Json(Vec<Box<RawValue>>),
}

impl Shown {
    pub(super) fn new(output: Output) -> Shown {
        match output {
            Output::Text => Shown::Text(Vec::new()),
            Output::Json => Shown::Json(Vec::new()),
        }
    }

    pub(super) fn add(&mut self, result: &ResultBody) {
        match self {
            Shown::Text(results) => results.push(in_words(result)),
            // Never fails: a body that could not be parsed was replaced by one of strings and numbers.
            Shown::Json(documents) => documents.extend(result.document().map(Cow::into_owned)),
        }
    }

    pub(super) fn show(self) -> Result<(), ProducerError> {
        match self {
            Shown::Text(results) => print(Output::Text, &(), || results.join("\n")),
            Shown::Json(documents) => print(Output::Json, &documents, String::new),
        }
    }
}

fn in_words(result: &ResultBody) -> String {
    let ResultBody { index, company_id, outcome, model, duration_ms, .. } = result;
    let mut lines = vec![format!("{company_id} (index {index}) {outcome}, by {model} in {duration_ms:.1} ms")];
    lines.extend(result.error.iter().map(|error| format!("  {}: {}", error.cause, error.message)));
    lines.extend(result.prediction.iter().flat_map(|prediction| parts(prediction)));
    escape_lines(lines)
}

fn parts(prediction: &RawValue) -> Vec<String> {
    let Ok(Value::Object(parts)) = serde_json::from_str(prediction.get()) else {
        return vec![format!("  {}", prediction.get().chars().take(100).collect::<String>())];
    };
    let mut lines: Vec<String> = parts.iter().take(PARTS).map(|(name, value)| format!("  {name:<12} {}", part(value))).collect();
    if parts.len() > PARTS {
        lines.push(format!("  … and {} more", parts.len() - PARTS));
    }
    lines
}

fn part(value: &Value) -> String {
    match value.as_array().map(Vec::as_slice) {
        Some([Value::String(state), Value::Number(confidence)]) => format!("{state:<14} {confidence}"),
        _ => value.to_string().chars().take(80).collect(),
    }
}
