//! Reads evidence from a company's record.
//!
//! A field with the name of a variable is evidence. Its value is the exact text of a state. If there is no such state, a number means the
//! one state that is the same number (pandas writes `5.0` for the state `5` if another row lacks a value), and `true` or `false` means the one
//! state that differs only in case. An empty string, null, or no field leaves the variable unobserved. Other fields are ignored.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::network::Network;
use super::network::variable::Variable;
use super::quote::{quote, quote_all};
use crate::scorer::ScoreError;

/// The observed state of each variable, in the order of the network's variables.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Evidence {
    states: Vec<Option<u8>>,
    has_features: bool,
}

impl Evidence {
    /// Replaces this evidence by that of a record.
    ///
    /// # Errors
    /// `invalid_evidence` if the record is not a JSON object, or gives a variable a value that is not one of its states, or two states.
    pub(super) fn read(&mut self, network: &Network, record: &[u8]) -> Result<(), ScoreError> {
        self.states.clear();
        self.states.resize(network.variables.len(), None);
        let fields = fields(network, record)?;
        self.has_features = !fields.is_empty();
        for (variable, value) in fields {
            self.observe(network, variable, value)?;
        }
        Ok(())
    }

    /// Whether any field of the record has the name of a variable, whatever its value.
    pub(super) fn has_features(&self) -> bool {
        self.has_features
    }

    /// The observed state of a variable; `None` if it is unobserved.
    pub(super) fn state(&self, variable: usize) -> Option<u8> {
        self.states[variable]
    }

    fn observe(&mut self, network: &Network, index: usize, raw: &RawValue) -> Result<(), ScoreError> {
        let variable = &network.variables[index];
        let state = match FieldValue::of(raw) {
            FieldValue::Unobserved => return Ok(()),
            FieldValue::State(name) => {
                variable.state(&name).or_else(|| variable.equal_state(&name)).ok_or_else(|| no_state(variable, &name))?
            }
            FieldValue::Invalid => return Err(no_state(variable, raw.get())),
        };
        match self.states[index].replace(state) {
            Some(other) if other != state => {
                let field = quote(&variable.name);
                Err(invalid(format!("expected field {field} once, found it twice with different states; remove one")))
            }
            _ => Ok(()),
        }
    }
}

/// The fields of a record that have the names of variables: the indices of the variables, and the values, not parsed yet.
fn fields<'r>(network: &Network, record: &'r [u8]) -> Result<Vec<(usize, &'r RawValue)>, ScoreError> {
    let mut json = serde_json::Deserializer::from_slice(record);
    let fields = json.deserialize_map(Fields { network });
    let fields = fields.and_then(|fields| json.end().map(|()| fields));
    fields.map_err(|error| invalid(format!("expected the record to be a JSON object: {error}; correct the record")))
}

/// The message for a record of which no field has the name of a variable.
pub(super) fn no_features(network: &Network, record: &[u8]) -> String {
    let variables: Vec<&str> = network.variables.iter().map(|variable| variable.name.as_str()).collect();
    let found = serde_json::from_slice::<serde_json::Map<_, _>>(record).unwrap_or_default();
    let found: Vec<&str> = found.keys().map(String::as_str).collect();
    let found = if found.is_empty() { "no field".to_owned() } else { quote_all(&found) };
    format!(
        "expected a field named like a variable of the network ({}), found {found}; rename the columns, or start the consumers with \
         --allow-no-evidence",
        quote_all(&variables)
    )
}

/// Deserialises an object, keeping only the fields that have the names of variables.
struct Fields<'n> {
    network: &'n Network,
}

impl<'r> Visitor<'r> for Fields<'_> {
    type Value = Vec<(usize, &'r RawValue)>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<M: MapAccess<'r>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let mut fields = Vec::new();
        while let Some(variable) = map.next_key_seed(FieldName { network: self.network })? {
            match variable {
                Some(variable) => fields.push((variable, map.next_value()?)),
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(fields)
    }
}

/// Deserialises a field's name to the index of the variable, without allocating.
struct FieldName<'n> {
    network: &'n Network,
}

impl<'r> DeserializeSeed<'r> for FieldName<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'r>>(self, name: D) -> Result<Self::Value, D::Error> {
        name.deserialize_str(self)
    }
}

impl Visitor<'_> for FieldName<'_> {
    type Value = Option<usize>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a field's name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.network.index_of(name))
    }
}

/// The value of a field that has the name of a variable.
enum FieldValue<'r> {
    /// The variable is unobserved.
    Unobserved,
    /// The name of a state, or text that means the same.
    State(Cow<'r, str>),
    /// A value that cannot be a state.
    Invalid,
}

impl<'r> FieldValue<'r> {
    fn of(raw: &'r RawValue) -> Self {
        let literal = raw.get();
        match literal.as_bytes().first() {
            Some(b'n') => Self::Unobserved,
            Some(b'{' | b'[') => Self::Invalid,
            Some(b'"') => match string(literal) {
                Some(text) if text.is_empty() => Self::Unobserved,
                Some(text) => Self::State(text),
                None => Self::Invalid,
            },
            _ => Self::State(Cow::Borrowed(literal)),
        }
    }
}

/// The text of a JSON string; `None` if its escapes are not valid Unicode.
fn string(literal: &str) -> Option<Cow<'_, str>> {
    if literal.contains('\\') {
        return serde_json::from_str(literal).ok().map(Cow::Owned);
    }
    let inside = literal.strip_prefix('"')?.strip_suffix('"')?;
    Some(Cow::Borrowed(inside))
}

fn no_state(variable: &Variable, found: &str) -> ScoreError {
    let (field, states, found) = (quote(&variable.name), quote_all(&variable.states), quote(found));
    invalid(format!("expected field {field} to be empty or one of {states}, found {found}; correct or empty it"))
}

fn invalid(message: String) -> ScoreError {
    ScoreError { cause: "invalid_evidence".to_owned(), message, retryable: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NETWORK: &str = r#"network n {}
        variable "Health Care" { type discrete [ 3 ] { "a b", 5, true }; }
        variable x { type discrete [ 2 ] { größe, "q\n" }; }
        probability ( "Health Care" ) { default 0.5, 0.25, 0.25; }
        probability ( x ) { default 0.5, 0.5; }"#;

    fn read(record: &[u8]) -> Result<[Option<u8>; 2], ScoreError> {
        let network = Network::parse(NETWORK.as_bytes()).unwrap();
        let mut evidence = Evidence::default();
        evidence.read(&network, record)?;
        Ok([evidence.state(0), evidence.state(1)])
    }

    fn message(record: &[u8]) -> String {
        let error = read(record).unwrap_err();
        assert!(error.cause == "invalid_evidence" && !error.retryable && !error.message.contains('\n'), "{error:?}");
        error.message
    }

    #[test]
    fn strings_numbers_and_booleans_name_states() {
        let cases: [(&str, [Option<u8>; 2]); 6] = [
            (r#"{"Health Care": "a b", "x": "größe"}"#, [Some(0), Some(0)]),
            (r#"{"Health Care": 5, "x": "gr\u00f6\u00dfe"}"#, [Some(1), Some(0)]),
            (r#"{"Health Care": true, "x": "q\\n"}"#, [Some(2), Some(1)]),
            (r#"{"Health Care": "5", "\u0078": "größe"}"#, [Some(1), Some(0)]),
            (r#"{"Health Care": "", "x": null}"#, [None, None]),
            (r#" {"name": ["x", {"x": 1}], "X": 1} "#, [None, None]),
        ];
        for (record, expected) in cases {
            assert_eq!(read(record.as_bytes()).unwrap(), expected, "{record}");
        }
    }

    #[test]
    fn a_value_that_is_no_state_is_named_with_the_states() {
        let cases = [
            (r#"{"Health Care": "A b"}"#, "found 'A b'"),
            (r#"{"Health Care": 5.5}"#, "found '5.5'"),
            (r#"{"Health Care": false}"#, "found 'false'"),
            (r#"{"Health Care": [5]}"#, "found '[5]'"),
            (r#"{"Health Care": {"a": 5}}"#, "found '{\"a\": 5}'"),
            (r#"{"Health Care": "\ud800"}"#, "found "),
        ];
        for (record, found) in cases {
            let message = message(record.as_bytes());
            assert!(message.contains(found) && message.contains("'a b', '5', 'true'"), "{record}: {message}");
        }
        assert!(message(format!(r#"{{"x": "{}"}}"#, "y".repeat(1000)).as_bytes()).len() < 250);
    }

    const CODES: &str = r#"network n {}
        variable grade { type discrete [ 4 ] { 0, 1, 1.50, 70 }; }
        variable flag { type discrete [ 2 ] { True, False }; }
        variable odd { type discrete [ 5 ] { yes, YES, 1, 1.0, "1.000" }; }
        variable told { type discrete [ 3 ] { "true", TRUE, 01 }; }
        probability ( grade ) { default 0.25, 0.25, 0.25, 0.25; }
        probability ( flag ) { default 0.5, 0.5; }
        probability ( odd ) { default 0.2, 0.2, 0.2, 0.2, 0.2; }
        probability ( told ) { default 0.5, 0.25, 0.25; }"#;

    #[test]
    fn a_number_or_a_boolean_is_the_one_state_that_means_the_same() {
        let network = Network::parse(CODES.as_bytes()).unwrap();
        let mut evidence = Evidence::default();
        let mut observed = |record: &str| {
            evidence.read(&network, record.as_bytes()).ok()?;
            Some([0, 1, 2, 3].map(|variable| evidence.state(variable)))
        };
        let cases = [
            (r#"{"grade": 1.0, "flag": true}"#, Some([Some(1), Some(0), None, None])),
            (r#"{"grade": "1.0", "flag": "false"}"#, Some([Some(1), Some(1), None, None])),
            (r#"{"grade": "-0.0", "flag": "TRUE"}"#, Some([Some(0), Some(0), None, None])),
            (r#"{"grade": 1.5}"#, Some([Some(2), None, None, None])),
            (r#"{"grade": 7e1}"#, Some([Some(3), None, None, None])),
            // The exact text is preferred; if several states mean the same, none is taken.
            (r#"{"odd": 1.0, "told": "TRUE"}"#, Some([None, None, Some(3), Some(1)])),
            (r#"{"odd": 1.00}"#, None),
            (r#"{"told": "True"}"#, None),
            // Other words and codes must match exactly.
            (r#"{"odd": "Yes"}"#, None),
            (r#"{"told": 1}"#, None),
            (r#"{"grade": " 1"}"#, None),
        ];
        for (record, states) in cases {
            assert_eq!(observed(record), states, "{record}");
        }
    }

    #[test]
    fn a_record_has_features_where_a_field_is_named_like_a_variable() {
        let network = Network::parse(NETWORK.as_bytes()).unwrap();
        let mut evidence = Evidence::default();
        for (record, has_features) in [(r#"{"x":""}"#, true), (r#"{"X":"größe","y":1}"#, false), ("{}", false)] {
            evidence.read(&network, record.as_bytes()).unwrap();
            assert_eq!(evidence.has_features(), has_features, "{record}");
        }
        let message = no_features(&network, br#"{"X":"a","y":1}"#);
        assert!(message.contains("('Health Care', 'x'), found 'X', 'y'; rename the columns"), "{message}");
    }

    #[test]
    fn a_field_may_be_repeated_only_with_the_same_state() {
        assert_eq!(read(br#"{"Health Care": 5, "Health Care": "5"}"#).unwrap(), [Some(1), None]);
        assert!(message(br#"{"Health Care": 5, "Health Care": true}"#).contains("found it twice"));
    }

    #[test]
    fn a_record_that_is_no_json_object_is_refused() {
        let records: [&[u8]; 7] = [b"", b"[1]", b"7", b"{", b"{} {}", b"{\"x\": \"\xff\"}", b"{\"x\" 1}"];
        for record in records {
            assert!(message(record).contains("expected the record to be a JSON object"), "{record:?}");
        }
        let deep = [b"{\"x\":".repeat(100_000), b"1".to_vec(), b"}".repeat(100_000)].concat();
        message(&deep);
    }
}
