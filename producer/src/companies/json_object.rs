//! Checks that a text is one JSON object, and reads its company id.

use std::fmt;

use rollcall_shared::decimal;
use serde::Deserializer;
use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::bad_input::{Fault, Reason};
use super::row::utf8;
use crate::source::BYTE_ORDER_MARK;

/// Parses `text` as one JSON object.
///
/// Builds the values instead of only skipping them, so that a record that passes here also passes at the consumer: this checks
/// escapes, the range of numbers and the depth of nesting.
pub(super) fn parse(text: &[u8]) -> Result<Map<String, Value>, Fault> {
    if text.starts_with(BYTE_ORDER_MARK) {
        return Err(Reason::MarkInside.into());
    }
    let text = utf8(text)?;
    if !text.trim_ascii_start().starts_with('{') {
        return Err(match serde_json::from_str(text) {
            Ok(other) => Reason::NotAnObject(kind(&other)).into(),
            Err(error) => not_json(text, &error).into(),
        });
    }
    let (mut json, mut repeated) = (serde_json::Deserializer::from_str(text), None);
    let read = json.deserialize_map(Fields(&mut repeated)).and_then(|read| json.end().map(|()| read));
    let fields = read.map_err(|error| not_json(text, &error))?;
    match repeated {
        None => Ok(fields),
        Some(repeated) => Err(Fault::from(Reason::RepeatedField).in_field(&repeated)),
    }
}

/// Visits the fields of an object. If it, or an object inside it, has two fields of one name, that name is noted, such as `a.b`:
/// the library keeps the last one and reports nothing.
struct Fields<'r>(&'r mut Option<String>);

impl<'t> Visitor<'t> for Fields<'_> {
    type Value = Map<String, Value>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<M: MapAccess<'t>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let mut fields = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            let mut repeated = None;
            let value = map.next_value_seed(Nested(&mut repeated))?;
            let repeated = match fields.entry(name) {
                Entry::Vacant(unseen) => {
                    let repeated = repeated.map(|inner| format!("{}.{inner}", unseen.key()));
                    unseen.insert(value);
                    repeated
                }
                Entry::Occupied(seen) => Some(seen.key().clone()),
            };
            if self.0.is_none() {
                *self.0 = repeated;
            }
        }
        Ok(fields)
    }
}

/// Visits any value, and notes a repeated field inside it.
struct Nested<'r>(&'r mut Option<String>);

impl<'t> DeserializeSeed<'t> for Nested<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'t>>(self, value: D) -> Result<Value, D::Error> {
        value.deserialize_any(self)
    }
}

impl<'t> Visitor<'t> for Nested<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<S: SeqAccess<'t>>(self, mut list: S) -> Result<Value, S::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element_seed(Nested(self.0))? {
            values.push(value);
        }
        Ok(values.into())
    }

    fn visit_map<M: MapAccess<'t>>(self, map: M) -> Result<Value, M::Error> {
        Fields(self.0).visit_map(map).map(Value::Object)
    }
}

fn not_json(text: &str, error: &serde_json::Error) -> Reason {
    if text.contains('\r') {
        return Reason::ReturnInside;
    }
    let column = error.column();
    // Python's json module writes these; the library points at the first letter, or at the one behind a sign.
    let rest = text.get(column.saturating_sub(1)..).unwrap_or_default();
    match ["NaN", "Infinity"].into_iter().find(|word| rest.starts_with(word)) {
        Some(word) => Reason::NotFinite { column, found: word },
        None => Reason::NotJson { column, found: without_place(error) },
    }
}

/// The id in the field `name` of the object that was parsed from `text`: a string, or a whole number as text, however it is
/// written. `None` if it is null or missing.
pub(super) fn id(text: &[u8], fields: &Map<String, Value>, name: &str) -> Result<Option<String>, Fault> {
    fields.get(name).map_or(Ok(None), |value| id_of(value, || literal(text, name))).map_err(|fault| fault.in_field(name))
}

/// The id that `value` is; `literal` has all digits of a number.
pub(super) fn id_of<'t>(value: &Value, literal: impl FnOnce() -> Option<&'t str>) -> Result<Option<String>, Fault> {
    let found = match value {
        Value::Null => return Ok(None),
        Value::String(id) => return Ok(Some(id.clone())),
        Value::Number(id) if !id.is_f64() => return Ok(Some(id.to_string())),
        Value::Number(_) => match literal().and_then(decimal::canonical_integer) {
            Some(id) => return Ok(Some(id)),
            None => "a fraction",
        },
        other => kind(other),
    };
    Err(Reason::NotAnId(found).into())
}

/// The text of the field `name`, with all its digits.
fn literal<'t>(text: &'t [u8], name: &str) -> Option<&'t str> {
    let fields = literals(text).ok()?;
    fields.into_iter().find(|(field, _)| field == name).map(|(_, literal)| literal.get())
}

/// The fields of an object with the text of their values, in their order.
pub(super) fn literals(text: &[u8]) -> Result<Vec<(String, &RawValue)>, Fault> {
    let text = utf8(text)?;
    let fields = serde_json::Deserializer::from_str(text).deserialize_map(Literals);
    fields.map_err(|error| not_json(text, &error).into())
}

struct Literals;

impl<'t> Visitor<'t> for Literals {
    type Value = Vec<(String, &'t RawValue)>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<M: MapAccess<'t>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let mut fields = Vec::new();
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        Ok(fields)
    }
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

/// The message without the place, which the library appends.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let fault = text.rsplit_once(" at line ").map_or(text.as_str(), |(fault, _)| fault);
    fault.replace("EOF while parsing", "the end of the line inside")
}
