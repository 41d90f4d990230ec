//! Splits an answer that is not valid JSON into its predictions, so that an invalid prediction fails only its own company.

/// The parts of an answer, as text that may not be valid JSON.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Salvaged<'a> {
    pub(super) id: Option<&'a str>,
    pub(super) predictions: Vec<&'a str>,
}

/// Splits an object with an array of predictions. `None` if it is no such object, whatever its values are.
pub(super) fn salvage(line: &str) -> Option<Salvaged<'_>> {
    let mut rest = line.trim().strip_prefix('{')?;
    let (mut id, mut predictions) = (None, None);
    loop {
        let (key, value) = key(rest)?;
        let (found, after) = value_at(value)?;
        let is_repeated = match key {
            "id" => id.replace(found).is_some(),
            "predictions" => predictions.replace(found).is_some(),
            // An answer has either predictions or an error.
            "error" => found != "null",
            _ => false,
        };
        if is_repeated {
            return None;
        }
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None => return (after == "}").then_some(Salvaged { id, predictions: entries(predictions?)? }),
        }
    }
}

/// The word in an invalid value that stands for NaN or infinity, as Python, JavaScript and others write it. Strings are skipped.
pub(super) fn not_a_number(value: &str) -> Option<&str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let outside = value.split('"').step_by(2);
    let mut words = outside.flat_map(|part| part.split(|c| !is_part(c)));
    words.find(|word| matches!(word.trim_start_matches('-').to_ascii_lowercase().as_str(), "nan" | "inf" | "infinity"))
}

/// A key, and the text after its colon.
fn key(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start().strip_prefix('"')?;
    let (key, rest) = text.split_once('"')?;
    Some((key, rest.trim_start().strip_prefix(':')?))
}

/// The values of an array.
fn entries(array: &str) -> Option<Vec<&str>> {
    let mut rest = array.strip_prefix('[')?;
    let mut entries = Vec::new();
    if rest.trim_start() == "]" {
        return Some(entries);
    }
    loop {
        let (entry, after) = value_at(rest)?;
        entries.push(entry);
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            // A comma before the bracket makes the whole array invalid; it does not stand for a missing prediction.
            None => return (after == "]" && !entry.is_empty()).then_some(entries),
        }
    }
}

/// The text up to the comma or bracket that ends a value, and the text from there on.
fn value_at(text: &str) -> Option<(&str, &str)> {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'[' | b'{' => depth += 1,
            b',' | b']' | b'}' if depth == 0 => return Some((text[..at].trim(), text[at..].trim_end())),
            b']' | b'}' => depth -= 1,
            _ => {}
        }
    }
    None
}
