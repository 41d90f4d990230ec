//! Bodies in JSON.

use serde::de::DeserializeOwned;

/// Reads a body.
///
/// # Errors
/// What was expected and what was found, in one line whatever the body holds.
pub fn read_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| one_line(&error))
}

/// The parser names an unknown word as it stands in the body, with its line breaks.
pub(super) fn one_line(error: &serde_json::Error) -> String {
    error.to_string().replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use super::super::{Control, Event};
    use super::*;

    #[test]
    fn an_unknown_word_with_a_line_break_is_refused_in_one_line() {
        let order = read_json::<Control>(br#"{"job":"j","order":"sl\neep"}"#).unwrap_err();
        assert!(order.contains("`sl eep`"), "{order}");
        let event = br#"{"specversion":"1.0","id":"x","source":"/","type":"rollcall.job.progress","subject":"j","time":"","datacontenttype":"",
            "data":{"job":"j","model":"m","state":"run\nning"}}"#;
        let event = Event::read(event).unwrap_err().to_string();
        assert!(event.contains("`run ning`"), "{event}");
    }
}
