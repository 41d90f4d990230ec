//! Bodies in JSON.

use serde::de::DeserializeOwned;

/// A body that does not have the expected form: what was expected and what was found, in one line whatever the body contains.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadJson(String);

/// serde_json quotes an unknown word as it is in the body, with its line breaks.
impl From<serde_json::Error> for BadJson {
    fn from(error: serde_json::Error) -> BadJson {
        BadJson(error.to_string().replace(char::is_control, " "))
    }
}

/// Reads a body.
///
/// # Errors
/// [`BadJson`].
pub fn read_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, BadJson> {
    Ok(serde_json::from_slice(body)?)
}

#[cfg(test)]
mod tests {
    use super::super::{ControlMessage, Event};
    use super::*;

    #[test]
    fn an_unknown_word_with_a_line_break_is_refused_in_one_line() {
        let directive = read_json::<ControlMessage>(br#"{"job":"j","order":"sl\neep"}"#).unwrap_err().to_string();
        assert!(directive.contains("`sl eep`"), "{directive}");
        let event = br#"{"specversion":"1.0","id":"x","source":"/","type":"rollcall.job.progress","subject":"j","time":"2027-01-31T05:00:00Z",
            "datacontenttype":"","data":{"job":"j","model":"m","state":"run\nning"}}"#;
        let event = Event::read(event).unwrap_err().to_string();
        assert!(event.contains("`run ning`"), "{event}");
    }
}
