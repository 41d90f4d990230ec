//! Shows a few results to a person.

use rollcall_shared::message::Counted;
use rollcall_shared::terminal::escape_lines;
use serde_json::Value;
use serde_json::value::RawValue;

use super::replay::ResultBody;
use crate::cli::Output;
use crate::run::Failure;
use crate::status::print;

/// Parts of a prediction shown.
const PARTS: usize = 5;

pub(super) fn show(results: &[(Counted, Vec<u8>)], output: Output) -> Result<(), Failure> {
    let results: Vec<_> = results.iter().map(|(counted, body)| ResultBody::read(counted, body)).collect();
    let documents = results.iter().map(ResultBody::document).collect::<Result<Vec<_>, _>>();
    let documents = documents.map_err(|error| Failure::Other(error.to_string()))?;
    print(output, &documents, || results.iter().map(in_words).collect::<Vec<_>>().join("\n"))
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
