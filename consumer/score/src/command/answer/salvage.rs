//! Takes an answer apart that is no JSON as a whole, so that one prediction that is none costs its own company only.

/// The parts of an answer, each as it stands there.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Salvaged<'a> {
    pub(super) id: Option<&'a str>,
    pub(super) predictions: Vec<&'a str>,
}

/// Splits an object with an array of predictions. None where it is no such object even if anything may stand for a value.
pub(super) fn salvage(line: &str) -> Option<Salvaged<'_>> {
    let mut rest = line.trim().strip_prefix('{')?;
    let (mut id, mut predictions) = (None, None);
    loop {
        let (key, value) = key(rest)?;
        let (found, behind) = value_at(value)?;
        let is_repeated = match key {
            "id" => id.replace(found).is_some(),
            "predictions" => predictions.replace(found).is_some(),
            // It says that there are no predictions.
            "error" => found != "null",
            _ => false,
        };
        if is_repeated {
            return None;
        }
        match behind.strip_prefix(',') {
            Some(next) => rest = next,
            None => return (behind == "}").then_some(Salvaged { id, predictions: entries(predictions?)? }),
        }
    }
}

/// The word in a value that stands for what is no number, as Python, JavaScript and others write it; strings are passed over.
pub(super) fn not_a_number(value: &str) -> Option<&str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let outside = value.split('"').step_by(2);
    let mut words = outside.flat_map(|part| part.split(|c| !is_part(c)));
    words.find(|word| matches!(word.trim_start_matches('-').to_ascii_lowercase().as_str(), "nan" | "inf" | "infinity"))
}

/// A key, and what stands behind its colon.
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
        let (entry, behind) = value_at(rest)?;
        entries.push(entry);
        match behind.strip_prefix(',') {
            Some(next) => rest = next,
            // A comma before the bracket is no missing prediction, but a fault of the whole.
            None => return (behind == "]" && !entry.is_empty()).then_some(entries),
        }
    }
}

/// What stands where a value is expected, up to the comma or the bracket behind it, and that with all that follows.
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
