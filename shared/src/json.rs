//! JSON text that is valid by its type, so that a message can include it without parsing it again.

use std::fmt;
use std::str::FromStr;

use serde_json::value::RawValue;

/// The text of one JSON value. It is valid: it was either parsed, or written by [`Json::object`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Json(String);

impl Json {
    /// Writes an object with the fields that `write` adds, without validating the text afterwards, which would take 4 µs for a
    /// prediction of 7.5 kB. Reserves `capacity` bytes.
    pub fn object(capacity: usize, write: impl FnOnce(&mut Fields<'_>)) -> Json {
        let mut text = String::with_capacity(capacity);
        write_object(&mut text, write);
        Json(text)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Json {
    type Err = serde_json::Error;
    fn from_str(text: &str) -> Result<Json, serde_json::Error> {
        serde_json::from_str::<&RawValue>(text).map(Json::from)
    }
}

impl From<&RawValue> for Json {
    fn from(value: &RawValue) -> Json {
        Json(value.get().to_owned())
    }
}

/// The text of a JSON string, quoted and escaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonString(String);

impl JsonString {
    /// Quotes and escapes `text`.
    pub fn new(text: &str) -> JsonString {
        JsonString(serde_json::Value::from(text).to_string())
    }

    /// The text, with its quotes.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Adds fields to an object. Each method writes a whole field, so the object is valid whichever of them are called.
pub struct Fields<'t> {
    text: &'t mut String,
}

impl Fields<'_> {
    /// A field with a probability, rounded to six decimals, without trailing zeros: `0.81`, `1`, `0`.
    pub fn probability(&mut self, name: &JsonString, probability: f64) {
        self.name(name);
        write_probability(self.text, probability);
    }

    /// A field with an array of a string and a probability, in the same form.
    pub fn word_and_probability(&mut self, name: &JsonString, word: &JsonString, probability: f64) {
        self.name(name);
        self.text.push('[');
        self.text.push_str(&word.0);
        self.text.push(',');
        write_probability(self.text, probability);
        self.text.push(']');
    }

    /// A field with an object.
    pub fn object(&mut self, name: &JsonString, write: impl FnOnce(&mut Fields<'_>)) {
        self.name(name);
        write_object(self.text, write);
    }

    fn name(&mut self, name: &JsonString) {
        // No value ends in this bracket, so it is the one that opens this object.
        if !self.text.ends_with('{') {
            self.text.push(',');
        }
        self.text.push_str(&name.0);
        self.text.push(':');
    }
}

fn write_object(text: &mut String, write: impl FnOnce(&mut Fields<'_>)) {
    text.push('{');
    write(&mut Fields { text });
    text.push('}');
}

fn write_probability(text: &mut String, probability: f64) {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates; only 0 to 1,000,000 is written")]
    let millionths = (probability * 1e6).round() as u32;
    if millionths == 0 || millionths >= 1_000_000 {
        text.push(if millionths == 0 { '0' } else { '1' });
        return;
    }
    let mut digits = ['0'; 6];
    let mut rest = millionths;
    for digit in digits.iter_mut().rev() {
        *digit = char::from_digit(rest % 10, 10).unwrap_or('0');
        rest /= 10;
    }
    let last = digits.iter().rposition(|digit| *digit != '0').unwrap_or_default();
    text.push_str("0.");
    text.extend(&digits[..=last]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(probability: f64) -> String {
        let mut text = String::new();
        write_probability(&mut text, probability);
        text
    }

    #[test]
    fn a_probability_is_the_shortest_text_of_six_decimals() {
        let cases = [(0.0, "0"), (1.0, "1"), (0.81, "0.81"), (1.0 / 3.0, "0.333333"), (0.000_001, "0.000001")];
        for (probability, expected) in cases {
            assert_eq!(written(probability), expected);
        }
        assert_eq!((written(4e-7).as_str(), written(0.999_999_6).as_str(), written(0.100_01).as_str()), ("0", "1", "0.10001"));
    }

    #[test]
    fn text_that_is_no_single_json_value_is_refused() {
        for text in ["", "NaN", "{\"a\":1,}", "1 2", "1}", "\"a", "[1]]", "'a'"] {
            assert!(text.parse::<Json>().is_err(), "{text}");
        }
        assert_eq!(" {\"a\": [1]}\n".parse::<Json>().unwrap().as_str(), "{\"a\": [1]}");
    }

    proptest! {
        #[test]
        fn an_object_is_valid_json_whatever_is_written(
            fields in prop::collection::vec((".*", ".*", any::<f64>(), 0..4_usize), 0..8)
        ) {
            let json = Json::object(0, |object| {
                for (name, word, number, kind) in &fields {
                    let (name, word) = (JsonString::new(name), JsonString::new(word));
                    match kind {
                        0 => object.probability(&name, *number),
                        1 => object.word_and_probability(&name, &word, *number),
                        2 => object.object(&name, |_| {}),
                        _ => object.object(&name, |inner| {
                            inner.probability(&word, *number);
                            inner.object(&name, |innermost| innermost.probability(&word, *number));
                        }),
                    }
                }
            });
            prop_assert_eq!(json.as_str().parse::<Json>().unwrap(), json);
        }
    }
}
