//! AMQP headers and properties, written and read.

use std::time::{SystemTime, UNIX_EPOCH};

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, LongString};

/// A message that is not what its type says, with the part that is amiss.
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

/// A message ready to be published: where to, under which properties, with which body.
#[derive(Debug, Clone)]
pub struct Message {
    /// The exchange; empty for the default one, which routes to the queue named by the routing key.
    pub exchange: String,
    /// The routing key.
    pub routing_key: String,
    /// Properties and headers.
    pub properties: BasicProperties,
    /// The body.
    pub body: Vec<u8>,
}

/// Properties of a message that must outlive the broker's process, published now.
pub fn persistent(kind: &str, message_id: String) -> BasicProperties {
    const PERSISTENT: u8 = 2;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    BasicProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_type(kind.into())
        .with_message_id(message_id.into())
        .with_timestamp(now)
}

/// The offset of a message that came from a stream; nothing if it came from elsewhere.
pub fn offset(properties: &BasicProperties) -> Option<u64> {
    let value = properties.headers().as_ref()?.inner().get("x-stream-offset")?;
    integer(value).and_then(|offset| u64::try_from(offset).ok())
}

pub(super) fn put_text(headers: &mut FieldTable, key: &str, value: &str) {
    headers.insert(key.into(), AMQPValue::LongString(LongString::from(value)));
}

pub(super) fn put_integer(headers: &mut FieldTable, key: &str, value: u32) {
    // Signed 64-bit is the integer that every client language reads without surprises.
    headers.insert(key.into(), AMQPValue::LongLongInt(value.into()));
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
