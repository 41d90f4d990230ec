//! Job events on the wire: CloudEvents 1.0 in structured JSON.

use lapin::BasicProperties;
use serde::{Deserialize, Serialize, Serializer};

use super::event::{Cancelled, Done, JobEvent};
use super::headers::{Message, persistent};
use super::json::{BadJson, read_json};
use super::timestamp::{Timestamp, field};

/// A job event in its CloudEvents envelope.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Derived from the job and the event, so that a second copy of an event has the same id.
    pub id: String,
    /// When it was made, by the clock of its sender.
    pub time: Timestamp,
    /// What has happened.
    pub event: JobEvent,
}

/// A document that is not a job event.
#[derive(Debug, thiserror::Error)]
#[error("malformed job event: expected a CloudEvents 1.0 document of a known rollcall.job type, found {0}")]
pub struct MalformedEvent(String);

impl From<BadJson> for MalformedEvent {
    fn from(error: BadJson) -> MalformedEvent {
        MalformedEvent(error.to_string())
    }
}

#[derive(Serialize, Deserialize)]
struct Envelope<D> {
    specversion: String,
    id: String,
    source: String,
    #[serde(rename = "type")]
    kind: String,
    subject: String,
    #[serde(deserialize_with = "field::time")]
    time: Timestamp,
    datacontenttype: String,
    data: D,
}

/// The data of an event, without its name.
struct Data<'a>(&'a JobEvent);

impl Serialize for Data<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize_data(serializer)
    }
}

const TYPE_PREFIX: &str = "rollcall.job.";

impl Event {
    /// An event that happens now.
    pub fn now(event: JobEvent) -> Event {
        let time = Timestamp::now();
        let once = format!("{}/{}", event.job(), event.name());
        let id = match &event {
            JobEvent::Progress(_) => format!("{once}/{time}"),
            JobEvent::Enqueued(enqueued) => format!("{once}/{}", enqueued.position),
            JobEvent::Paused(pause) | JobEvent::Resumed(pause) => format!("{once}/{}", pause.at),
            JobEvent::Redriven(redriven) => format!("{once}/{}", redriven.round),
            JobEvent::Stalled(stalled) => format!("{once}/{}", stalled.since),
            JobEvent::Cancelled(Cancelled { redrives, .. }) | JobEvent::Done(Done { redrives, .. }) if *redrives > 0 => {
                format!("{once}/{redrives}")
            }
            _ => once,
        };
        Event { id, time, event }
    }

    /// `job.<job>.<name>`.
    pub fn routing_key(&self) -> String {
        format!("job.{}.{}", self.event.job(), self.event.name())
    }

    /// The message, for the exchange of that name.
    ///
    /// # Errors
    /// If a value has no JSON form.
    pub fn message(&self, exchange: String) -> Result<Message, serde_json::Error> {
        Ok(Message { exchange, routing_key: self.routing_key(), properties: self.properties(), body: self.body()? })
    }

    /// The properties of the message.
    pub fn properties(&self) -> BasicProperties {
        persistent(&self.kind(), self.id.clone()).with_content_type("application/cloudevents+json".into())
    }

    /// The body of the message.
    ///
    /// # Errors
    /// If a value has no JSON form.
    pub fn body(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(&Envelope {
            specversion: "1.0".to_owned(),
            id: self.id.clone(),
            source: "/rollcall".to_owned(),
            kind: self.kind(),
            subject: self.event.job().to_string(),
            time: self.time,
            datacontenttype: "application/json".to_owned(),
            data: Data(&self.event),
        })
    }

    fn kind(&self) -> String {
        format!("{TYPE_PREFIX}{}", self.event.name())
    }

    /// Reads the body of an event.
    ///
    /// # Errors
    /// [`MalformedEvent`] if it is not JSON, not a CloudEvent, or not of a known type.
    pub fn read(body: &[u8]) -> Result<Event, MalformedEvent> {
        let Envelope { id, kind, time, data, .. } = read_json::<Envelope<serde_json::Value>>(body)?;
        let unknown = || MalformedEvent(format!("type {kind:?}"));
        let name = kind.strip_prefix(TYPE_PREFIX).ok_or_else(unknown)?;
        let event = JobEvent::read(name, data).ok_or_else(unknown)?.map_err(BadJson::from)?;
        Ok(Event { id, time, event })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Job, Sealed};

    #[test]
    fn a_job_that_is_cancelled_again_after_a_redrive_is_another_event() {
        let cancelled = |redrives| {
            let job = "j".parse().unwrap();
            Event::now(JobEvent::Cancelled(Cancelled { job, reason: String::new(), total: None, redrives, opening: None })).id
        };
        assert_eq!([cancelled(0), cancelled(2)], ["j/cancelled", "j/cancelled/2"]);
    }

    #[test]
    fn an_event_reads_back_as_it_was_written() {
        let job: Job = "j-1".parse().unwrap();
        let sealed = Event::now(JobEvent::Sealed(Sealed { job: job.clone(), total: 7, opening: None }));
        assert_eq!(sealed.id, "j-1/sealed");
        assert_eq!(sealed.routing_key(), "job.j-1.sealed");
        assert_eq!(Event::read(&sealed.body().unwrap()).unwrap(), sealed);
    }

    #[test]
    fn the_document_of_an_event_has_its_keys_in_the_order_of_the_contract() {
        let event = JobEvent::Sealed(Sealed { job: "j".parse().unwrap(), total: 4, opening: None });
        let event = Event { id: "j/sealed".to_owned(), time: "2026-01-01T00:00:00Z".parse().unwrap(), event };
        let expected = r#"{"specversion":"1.0","id":"j/sealed","source":"/rollcall","type":"rollcall.job.sealed","subject":"j","time":"2026-01-01T00:00:00.000Z","datacontenttype":"application/json","data":{"job":"j","total":4}}"#;
        assert_eq!(String::from_utf8(event.body().unwrap()).unwrap(), expected);
    }

    #[test]
    fn a_time_that_is_none_is_refused_with_the_name_of_its_field() {
        let opened = |time: &str, opened_at: &str, deadline_at: &str| {
            let data =
                format!(r#"{{"job":"j","model":"m","source":"f","opened_at":"{opened_at}","deadline_at":"{deadline_at}"}}"#);
            let body = format!(
                r#"{{"specversion":"1.0","id":"x","source":"/","type":"rollcall.job.opened","subject":"j","time":"{time}","datacontenttype":"","data":{data}}}"#
            );
            Event::read(body.as_bytes()).map_err(|error| error.to_string())
        };
        let good = "2026-01-01T00:00:00Z";
        assert!(opened(good, good, good).is_ok());
        for (body, field) in
            [(opened("", good, good), "time"), (opened(good, "now", good), "opened_at"), (opened(good, good, ""), "deadline_at")]
        {
            let error = body.unwrap_err();
            assert!(error.contains(&format!("found {field}: expected a time in UTC")), "{error}");
        }
    }

    #[test]
    fn an_event_of_an_unknown_type_is_refused_by_name() {
        let body = br#"{"specversion":"1.0","id":"x","source":"/","type":"other","subject":"x","time":"2027-01-31T05:00:00Z","datacontenttype":"","data":{}}"#;
        let error = Event::read(body).unwrap_err().to_string();
        assert!(error.contains("other"), "{error}");
    }
}
