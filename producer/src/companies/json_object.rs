//! One JSON object as text: checked whole, and its company id read out.

use serde_json::{Map, Value};

use super::bad_input::{Fault, Reason};

/// Reads `text` as one JSON object.
///
/// It is built and not just skimmed, so that what passes here also passes at the consumer:
/// escapes, the range of numbers and the depth of nesting are all looked at.
pub(super) fn parse(text: &[u8]) -> Result<Map<String, Value>, Fault> {
    let text = utf8(text)?;
    match serde_json::from_str(text) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(other) => Err(Reason::NotAnObject(kind(&other)).into()),
        Err(error) => Err(Reason::NotJson { column: error.column(), found: in_words(&error) }.into()),
    }
}

/// The id in the field `name`: text, or a whole number as text; none if it is null or not there.
pub(super) fn id(fields: &Map<String, Value>, name: &str) -> Result<Option<String>, Fault> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(id)) => Ok(Some(id.clone())),
        Some(Value::Number(id)) if !id.is_f64() => Ok(Some(id.to_string())),
        Some(other) => Err(Fault::from(Reason::NotAnId(kind(other))).in_field(name)),
    }
}

/// Checks that `text` is UTF-8.
pub(super) fn utf8(text: &[u8]) -> Result<&str, Fault> {
    str::from_utf8(text).map_err(|error| {
        let at = error.valid_up_to();
        Reason::NotUtf8 { byte: text[at], position: at + 1 }.into()
    })
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(number) if number.is_f64() => "a fraction",
        Value::Number(_) => "a whole number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// The fault without its place, which the library puts into the same sentence.
fn in_words(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let fault = text.rsplit_once(" at line ").map_or(text.as_str(), |(fault, _)| fault);
    fault.replace("EOF while parsing", "the end of the line inside")
}
