//! Text on standard output and standard error: escaped for terminals, and written without waiting for a slow reader.

mod stderr;

use std::borrow::Cow;
use std::fmt::Display;
use std::io::Write;

pub use stderr::{Stderr, draw, flush_stderr};
pub(crate) use stderr::{flush_unless_stalled, use_json_notices};

/// Whether a terminal interprets a character instead of showing it: control characters, and those that change the direction of the text.
fn is_control(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Escapes untrusted text for a terminal, as one line: an escape character becomes `\u{1b}`, a line break `\n`.
pub fn escape_controls(text: &str) -> Cow<'_, str> {
    if !text.contains(is_control) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_control(c) {
            escaped.extend(c.escape_default());
        } else {
            escaped.push(c);
        }
    }
    Cow::Owned(escaped)
}

/// Escapes lines of untrusted text, so that none can look like two.
pub fn escape_lines(lines: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    lines.into_iter().map(|line| escape_controls(line.as_ref()).into_owned()).collect::<Vec<_>>().join("\n")
}

/// Escapes a JSON document for a terminal; its value stays the same. JSON itself escapes only the first 32 control characters.
pub fn escape_json(document: &str) -> Cow<'_, str> {
    if !document.contains(|c| is_control(c) && c != '\n') {
        return Cow::Borrowed(document);
    }
    let mut escaped = String::with_capacity(document.len() + 16);
    for c in document.chars() {
        match c {
            // Whitespace between tokens.
            '\n' => escaped.push(c),
            '\t' | '\r' => escaped.push(' '),
            _ if is_control(c) => escaped.push_str(&format!("\\u{:04x}", u32::from(c))),
            _ => escaped.push(c),
        }
    }
    Cow::Owned(escaped)
}

/// Writes a line to standard error, escaped, without waiting for its reader; [`flush_stderr`] waits for a while. The line is lost if nothing
/// reads standard error.
pub fn to_stderr(line: impl Display) {
    let line = format!("{}\n", escape_controls(&line.to_string()));
    drop(Stderr.write_all(line.as_bytes()));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[test]
    fn what_a_terminal_would_act_on_is_shown_as_its_escape() {
        let hostile = "\u{1b}]0;owned\u{7}evil\u{1b}[2J\r\n\t\u{7f}\u{9b}31m\u{202e}txt\u{2066}";
        let shown = r"\u{1b}]0;owned\u{7}evil\u{1b}[2J\r\n\t\u{7f}\u{9b}31m\u{202e}txt\u{2066}";
        assert_eq!(escape_controls(hostile), shown);
        for harmless in ["", "Zürich ± 東京 🏭", "a\\nb", "\u{200f}עברית"] {
            assert!(matches!(escape_controls(harmless), Cow::Borrowed(same) if same == harmless), "{harmless:?}");
        }
        assert_eq!(escape_lines(["a\nb", "c"]), "a\\nb\nc");
    }

    proptest! {
        #[test]
        fn nothing_that_a_terminal_acts_on_is_left(text in any::<String>()) {
            let escaped = escape_controls(&text);
            prop_assert!(!escaped.contains(is_control));
            prop_assert_eq!(escape_controls(&escaped), escaped.as_ref());
        }

        #[test]
        fn an_escaped_document_has_the_same_value(texts in proptest::collection::vec(any::<String>(), 1..4), pretty in any::<bool>()) {
            let value = Value::from_iter(texts.iter().map(|text| (text.clone(), text.clone())).chain([("\u{9b}\u{202e}".to_owned(), "\u{7f}".to_owned())]));
            let document = if pretty { serde_json::to_string_pretty(&value).unwrap() } else { value.to_string() };
            let document = format!("\r\t{document}");
            let escaped = escape_json(&document);
            prop_assert!(!escaped.contains(|c| is_control(c) && c != '\n'));
            prop_assert_eq!(serde_json::from_str::<Value>(&escaped).unwrap(), value);
        }
    }
}
