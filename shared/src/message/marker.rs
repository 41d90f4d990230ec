//! Markers: a process that publishes one to a stream and reads up to it has read all that was in the stream before.

use lapin::BasicProperties;
use lapin::types::ShortString;

use super::headers::{Message, persistent};
use super::names::Job;

const MARKER_TYPE: &str = "rollcall.marker.v1";

/// An id for a new marker.
pub fn new_marker_id() -> String {
    format!("marker/{}", Job::unique())
}

/// The marker with this id, for `stream`.
pub fn marker(id: &str, stream: String) -> Message {
    let properties = persistent(MARKER_TYPE, id.to_owned());
    Message { exchange: String::new(), routing_key: stream, properties, body: Vec::new() }
}

/// Whether a message is a marker, of any process.
pub fn is_marker(properties: &BasicProperties) -> bool {
    properties.kind().as_ref().is_some_and(|kind| kind.as_str() == MARKER_TYPE)
}

/// The id of a marker; `None` if the message is none.
pub fn marker_id(properties: &BasicProperties) -> Option<&str> {
    let id = properties.message_id().as_ref().map(ShortString::as_str);
    id.filter(|_| is_marker(properties))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_is_known_by_its_type_and_its_id() {
        let id = new_marker_id();
        let marker = marker(&id, "ledger".to_owned());
        assert_eq!((marker.exchange.as_str(), marker.routing_key.as_str()), ("", "ledger"));
        assert_eq!(marker_id(&marker.properties), Some(id.as_str()));
        let other = persistent("rollcall.result.v1", id);
        assert!(!is_marker(&other) && marker_id(&other).is_none());
    }
}
