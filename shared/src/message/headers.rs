//! AMQP headers and properties, written and read.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, LongString};

use super::opening::Opening;

/// A message that does not have the form of its type, with the part that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("malformed message: expected {expected}, found {found}")]
pub struct Malformed {
    pub(super) expected: String,
    pub(super) found: String,
}

impl Malformed {
    pub(super) fn new(expected: impl Into<String>, found: impl Into<String>) -> Self {
        Malformed { expected: expected.into(), found: found.into() }
    }
}

/// A message ready to be published.
#[derive(Debug, Clone)]
pub struct Message {
    /// The exchange; empty for the default one, which routes to the queue named by the routing key.
    pub exchange: String,
    /// Its routing key.
    pub routing_key: String,
    /// Properties and headers.
    pub properties: BasicProperties,
    /// Its body.
    pub body: Vec<u8>,
}

/// Properties of a message that the broker must store on disk, published now.
pub fn persistent(kind: &str, message_id: String) -> BasicProperties {
    const PERSISTENT: u8 = 2;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    BasicProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_type(kind.into())
        .with_message_id(message_id.into())
        .with_timestamp(now)
}

/// The properties of a message that is published once more, to the ledger alone, since another queue refused it. The ledger may have it
/// already.
pub fn to_ledger_alone(properties: BasicProperties) -> BasicProperties {
    let mut headers = properties.headers().clone().unwrap_or_default();
    headers.insert(TO_LEDGER_ALONE.into(), AMQPValue::Boolean(true));
    properties.with_headers(headers)
}

/// Whether a message was published once more, to the ledger alone.
pub(super) fn is_to_ledger_alone(properties: &BasicProperties) -> bool {
    let header = |headers: &FieldTable| headers.inner().get(TO_LEDGER_ALONE) == Some(&AMQPValue::Boolean(true));
    properties.headers().as_ref().is_some_and(header)
}

/// The header has the name that readers of the ledger know. Work that a consumer republishes does not have it.
const TO_LEDGER_ALONE: &str = "republished";

/// The header in which a consumer records why a work message is malformed if it had to cut the message's headers.
pub(super) const MALFORMED: &str = "malformed";

/// Headers of at most so many bytes leave room in a frame of 128 KiB for those that the broker adds.
const BOUNDED_HEADERS: usize = 64 << 10;

/// The headers that are kept if all of them are too large: those that identify the company.
const KEPT_HEADERS: [&str; 4] = ["job", "index", "attempt", "round"];
const LONGEST_HEADER: usize = 1 << 10;

/// The properties with few headers, and `why` the message is malformed, if its headers are so large that the broker cannot add any; `None`
/// if it can.
pub fn bounded_headers(properties: &BasicProperties, why: &str) -> Option<BasicProperties> {
    let headers = properties.headers().as_ref()?.inner();
    let sizes = headers.iter().map(|(key, value)| key.as_str().len() + bytes(value));
    if sizes.sum::<usize>() <= BOUNDED_HEADERS {
        return None;
    }
    let is_kept = |key: &str, value| KEPT_HEADERS.contains(&key) && bytes(value) <= LONGEST_HEADER;
    let mut bounded = FieldTable::default();
    for (key, value) in headers.iter().filter(|(key, value)| is_kept(key.as_str(), value)) {
        bounded.insert(key.clone(), value.clone());
    }
    put_text(&mut bounded, MALFORMED, &why.chars().take(LONGEST_HEADER / 4).collect::<String>());
    Some(properties.clone().with_headers(bounded))
}

/// About how many bytes a value takes in a frame.
fn bytes(value: &AMQPValue) -> usize {
    const NUMBER: usize = 9;
    match value {
        AMQPValue::LongString(text) => text.as_bytes().len() + NUMBER,
        AMQPValue::ShortString(text) => text.as_str().len() + NUMBER,
        AMQPValue::ByteArray(array) => array.as_slice().len() + NUMBER,
        AMQPValue::FieldArray(array) => array.as_slice().iter().map(bytes).sum::<usize>() + NUMBER,
        AMQPValue::FieldTable(table) => {
            table.inner().iter().map(|(key, value)| key.as_str().len() + bytes(value)).sum::<usize>() + NUMBER
        }
        _ => NUMBER,
    }
}

/// The offset of a record of a stream; `None` if the message came from a queue.
pub fn offset(properties: &BasicProperties) -> Option<u64> {
    let value = properties.headers().as_ref()?.inner().get("x-stream-offset")?;
    integer(value).and_then(|offset| u64::try_from(offset).ok())
}

pub(super) fn put_text(headers: &mut FieldTable, key: &str, value: &str) {
    headers.insert(key.into(), AMQPValue::LongString(LongString::from(value)));
}

pub(super) fn put_integer(headers: &mut FieldTable, key: &str, value: u32) {
    // Every client language reads signed 64-bit integers.
    headers.insert(key.into(), AMQPValue::LongLongInt(value.into()));
}

pub(super) fn put_milliseconds(headers: &mut FieldTable, key: &str, milliseconds: f64) {
    headers.insert(key.into(), AMQPValue::Double(milliseconds));
}

pub(super) fn text<'a>(properties: &'a BasicProperties, key: &str) -> Result<&'a str, Malformed> {
    let missing = || Malformed::new(format!("a text header '{key}'"), "none");
    match properties.headers().as_ref().and_then(|headers| headers.inner().get(key)).ok_or_else(missing)? {
        AMQPValue::LongString(value) => {
            std::str::from_utf8(value.as_bytes()).map_err(|_| Malformed::new(format!("UTF-8 in header '{key}'"), "other bytes"))
        }
        AMQPValue::ShortString(value) => Ok(value.as_str()),
        other => Err(Malformed::new(format!("text in header '{key}'"), format!("{:?}", other.get_type()))),
    }
}

pub(super) fn number(properties: &BasicProperties, key: &str) -> Result<u32, Malformed> {
    let value = properties
        .headers()
        .as_ref()
        .and_then(|headers| headers.inner().get(key))
        .ok_or_else(|| Malformed::new(format!("a number in header '{key}'"), "none"))?;
    integer(value)
        .and_then(|number| u32::try_from(number).ok())
        .ok_or_else(|| Malformed::new(format!("a whole number from 0 to {} in header '{key}'", u32::MAX), format!("{value:?}")))
}

/// A duration in milliseconds; `None` if there is none, or something that cannot be one.
pub(super) fn milliseconds(properties: &BasicProperties, key: &str) -> Option<Duration> {
    let milliseconds = match properties.headers().as_ref()?.inner().get(key)? {
        AMQPValue::Double(milliseconds) => *milliseconds,
        AMQPValue::Float(milliseconds) => f64::from(*milliseconds),
        other => f64::from(u32::try_from(integer(other)?).ok()?),
    };
    Duration::try_from_secs_f64(milliseconds / 1e3).ok()
}

/// The opening in header `opening`; `None` if there is no such header.
pub(super) fn opening(properties: &BasicProperties) -> Result<Option<Opening>, Malformed> {
    const KEY: &str = "opening";
    if !properties.headers().as_ref().is_some_and(|headers| headers.inner().contains_key(KEY)) {
        return Ok(None);
    }
    let bad = |_| Malformed::new("the UUID of a job's opening in header 'opening'", "other text");
    text(properties, KEY)?.parse().map(Some).map_err(bad)
}

fn integer(value: &AMQPValue) -> Option<i64> {
    match *value {
        AMQPValue::ShortShortInt(n) => Some(n.into()),
        AMQPValue::ShortShortUInt(n) => Some(n.into()),
        AMQPValue::ShortInt(n) => Some(n.into()),
        AMQPValue::ShortUInt(n) => Some(n.into()),
        AMQPValue::LongInt(n) => Some(n.into()),
        AMQPValue::LongUInt(n) => Some(n.into()),
        AMQPValue::LongLongInt(n) => Some(n),
        _ => None,
    }
}
