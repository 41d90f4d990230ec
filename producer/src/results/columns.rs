//! The columns of results in CSV and Parquet.

use serde_json::value::RawValue;

use rollcall_shared::message::ResultBody;

/// Their names in order. `prediction` is JSON text, so that one schema fits every model.
pub(super) const COLUMNS: [&str; 10] =
    ["index", "company_id", "model", "outcome", "attempt", "scored_at", "duration_ms", "cause", "message", "prediction"];

/// A result as the fields of one CSV record.
pub(super) fn csv_fields(result: &ResultBody) -> [String; COLUMNS.len()] {
    let (cause, message) = result.error.as_ref().map_or(("", ""), |error| (&error.cause, &error.message));
    [
        result.index.to_string(),
        result.company_id.clone(),
        result.model.clone(),
        result.outcome.clone(),
        result.attempt.to_string(),
        result.scored_at.map(|time| time.to_string()).unwrap_or_default(),
        result.duration_ms.to_string(),
        cause.to_owned(),
        message.to_owned(),
        result.prediction.map_or("", RawValue::get).to_owned(),
    ]
}
