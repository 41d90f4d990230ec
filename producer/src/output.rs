//! What a command prints: its document on standard output, its error on standard error.

use std::io::{ErrorKind, Write, stdout};

use rollcall_shared::terminal::{escape_json, escape_lines, flush_stderr, to_stderr};
use serde::Serialize;
use serde_json::{Value, json};

use crate::cli::Output;
use crate::error::ProducerError;

/// Prints a document on standard output: as JSON, or as `text` for people. Control characters are escaped; a `text` with values
/// from outside must have escaped their line breaks already.
pub(crate) fn print(output: Output, document: &impl Serialize, text: impl FnOnce() -> String) -> Result<(), ProducerError> {
    let text = match output {
        Output::Text => escape_lines(text().split('\n')),
        Output::Json => {
            let document = serde_json::to_string_pretty(document).map_err(|error| ProducerError::System(error.to_string()))?;
            escape_json(&document).into_owned()
        }
    };
    // Where both go to one terminal, earlier lines of standard error must stand above the document.
    flush_stderr();
    match writeln!(stdout(), "{text}") {
        // The reader has read enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(ProducerError::Write { file: "standard output".to_owned(), error }),
        Ok(()) => Ok(()),
    }
}

/// Prints an error on standard error: a line for people, and with `--output json` a last line with the error document.
pub fn print_error(output: Output, error: &ProducerError) {
    to_stderr(format_args!("error: {error}"));
    if output == Output::Json {
        print_on_stderr(&error_document(error));
    }
}

/// Prints a document on standard error, on one line.
pub(crate) fn print_on_stderr(document: &Value) {
    to_stderr(in_one_line(document));
}

/// The document as JSON without control characters, which `to_stderr` would escape in a way that is not JSON.
fn in_one_line(document: &Value) -> String {
    escape_json(&document.to_string()).into_owned()
}

fn error_document(error: &ProducerError) -> Value {
    json!({ "error": { "code": error.code(), "message": error.to_string() } })
}

#[cfg(test)]
mod tests {
    use indicatif::HumanCount;

    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        let words = [0, 999, 1_000, 46_965, 1_234_567].map(|count| HumanCount(count).to_string());
        assert_eq!(words, ["0", "999", "1,000", "46,965", "1,234,567"]);
    }

    #[test]
    fn an_error_document_is_one_line_with_a_code_and_the_message() {
        let error = ProducerError::NoSuchJob("other".parse().unwrap());
        let document = error_document(&error);
        assert_eq!(document["error"]["code"], "no_such_job");
        assert_eq!(document["error"]["message"], error.to_string());
        assert!(!document.to_string().contains('\n'));
    }

    #[test]
    fn a_document_on_standard_error_is_json_whatever_characters_are_in_it() {
        let document = json!({ "file": "a\u{1b}[2J\u{9b}\u{7f}\u{2028}\n.csv" });
        let line = in_one_line(&document);
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), document);
        assert_eq!(rollcall_shared::terminal::escape_controls(&line), line, "nothing is left to escape");
    }
}
