//! Writes the line that asks a child for predictions.

use serde_json::value::RawValue;

use crate::scorer::ScoreError;

/// A record as an instance of a request: one JSON object on one line.
pub(super) fn instance(record: &[u8]) -> Result<String, ScoreError> {
    let invalid = |found: String| ScoreError {
        cause: "invalid_record".to_owned(),
        message: format!("expected a JSON object as the company's record, found {found}"),
        retryable: false,
    };
    let raw: &RawValue = serde_json::from_slice(record).map_err(|error| invalid(error.to_string()))?;
    if !raw.get().starts_with('{') {
        return Err(invalid(raw.get().chars().take(40).collect()));
    }
    // In valid JSON, line breaks stand only between tokens, where a space means the same.
    Ok(raw.get().replace(['\n', '\r'], " "))
}

/// The request `id` for these instances.
pub(super) fn line(id: &str, instances: &[&str]) -> Vec<u8> {
    let mut line = format!("{{\"id\":\"{id}\",\"instances\":[");
    line.push_str(&instances.join(","));
    line.push_str("]}\n");
    line.into_bytes()
}
