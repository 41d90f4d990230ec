//! Job events on the wire: CloudEvents 1.0 in structured JSON.

use lapin::BasicProperties;
use serde::{Deserialize, Serialize, Serializer};

use super::event::{Cancelled, Done, JobEvent};
use super::headers::{Message, persistent};
use super::json::{BadJson, read_json};
use super::timestamp::{Timestamp, if_valid};

/// A job event in its CloudEvents envelope.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Derived from the job and the event, so that a second copy of an event has the same id.
    pub id: String,
    /// When it was made, by the clock of its sender; `None` if that is not a valid time.
    pub time: Option<Timestamp>,
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
    #[serde(deserialize_with = "if_valid")]
    time: Option<Timestamp>,
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
            JobEvent::Progress(_) | JobEvent::ExportFailed(_) => format!("{once}/{time}"),
            JobEvent::Enqueued(enqueued) => format!("{once}/{}", enqueued.position),
            JobEvent::Paused(pause) | JobEvent::Resumed(pause) => format!("{once}/{}", pause.at.unwrap_or(time)),
            JobEvent::Redriven(redriven) => format!("{once}/{}", redriven.round),
            JobEvent::Stalled(stalled) => format!("{once}/{}", stalled.since.unwrap_or(time)),
            JobEvent::Cancelled(Cancelled { redrives, .. }) | JobEvent::Done(Done { redrives, .. }) if *redrives > 0 => {
                format!("{once}/{redrives}")
            }
            _ => once,
        };
        Event { id, time: Some(time), event }
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
        let event = Event { id: "j/sealed".to_owned(), time: Some("2026-01-01T00:00:00Z".parse().unwrap()), event };
        let expected = r#"{"specversion":"1.0","id":"j/sealed","source":"/rollcall","type":"rollcall.job.sealed","subject":"j","time":"2026-01-01T00:00:00.000Z","datacontenttype":"application/json","data":{"job":"j","total":4}}"#;
        assert_eq!(String::from_utf8(event.body().unwrap()).unwrap(), expected);
    }

    fn read(name: &str, time: &str, data: &str) -> Result<Event, String> {
        let body = format!(
            r#"{{"specversion":"1.0","id":"x","source":"/","type":"rollcall.job.{name}","subject":"j","time":"{time}","datacontenttype":"","data":{data}}}"#
        );
        Event::read(body.as_bytes()).map_err(|error| error.to_string())
    }

    fn opened(opened_at: &str, deadline_at: &str) -> String {
        format!(r#"{{"job":"j","model":"m","source":"f","opened_at":"{opened_at}","deadline_at":"{deadline_at}"}}"#)
    }

    const GOOD: &str = "2026-01-01T00:00:00Z";

    #[test]
    fn a_deadline_that_is_no_time_is_refused_with_the_name_of_its_field() {
        assert!(read("opened", GOOD, &opened(GOOD, GOOD)).is_ok());
        for bad in ["", "soon", "2026-01-01T00:00:00"] {
            let error = read("opened", GOOD, &opened(GOOD, bad)).unwrap_err();
            assert!(error.contains("found deadline_at: expected a time in UTC"), "{error}");
        }
    }

    #[test]
    fn a_time_that_decides_nothing_is_unknown_if_it_is_none_and_the_event_is_not_lost() {
        let events = |at: &str| {
            let counts =
                r#""model":null,"state":"failed","total":1,"succeeded":0,"failed":1,"cancelled":0,"duplicates":0,"retries":0"#;
            let rest = r#""duration_seconds":null,"companies_per_second":null,"causes":[]"#;
            [
                ("opened", opened(at, GOOD)),
                ("paused", format!(r#"{{"job":"j","at":"{at}"}}"#)),
                ("resumed", format!(r#"{{"job":"j","at":"{at}"}}"#)),
                ("expired", format!(r#"{{"job":"j","deadline_at":"{at}"}}"#)),
                ("stalled", format!(r#"{{"job":"j","model":null,"since":"{at}","companies":1}}"#)),
                ("redriven", format!(r#"{{"job":"j","round":1,"by":"b","indices":"0","companies":1,"redriven_at":"{at}"}}"#)),
                ("done", format!(r#"{{"job":"j",{counts},"opened_at":"{at}","done_at":"{at}",{rest}}}"#)),
            ]
        };
        for bad in ["", "noon", "2026-01-01T00:00:00"] {
            for (name, data) in events(bad) {
                let event = read(name, bad, &data).unwrap();
                assert_eq!(event.time, None, "{name} at {bad:?}");
                let known = match &event.event {
                    JobEvent::Opened(opened) => vec![opened.opened_at],
                    JobEvent::Paused(pause) | JobEvent::Resumed(pause) => vec![pause.at],
                    JobEvent::Expired(expired) => vec![expired.deadline_at],
                    JobEvent::Stalled(stalled) => vec![stalled.since],
                    JobEvent::Redriven(redriven) => vec![redriven.redriven_at],
                    JobEvent::Done(done) => vec![done.opened_at, done.done_at],
                    other => panic!("expected an event with a time, found {other:?}"),
                };
                assert!(known.iter().all(Option::is_none), "{name} at {bad:?}");
                assert_eq!(Event::read(&event.body().unwrap()).unwrap(), event);
            }
        }
        for (name, data) in events(GOOD) {
            let event = read(name, GOOD, &data).unwrap();
            assert!(event.time.is_some() && !String::from_utf8(event.body().unwrap()).unwrap().contains("_at\":null"), "{name}");
        }
    }

    #[test]
    fn an_event_of_an_unknown_type_is_refused_by_name() {
        let body = br#"{"specversion":"1.0","id":"x","source":"/","type":"other","subject":"x","time":"2027-01-31T05:00:00Z","datacontenttype":"","data":{}}"#;
        let error = Event::read(body).unwrap_err().to_string();
        assert!(error.contains("other"), "{error}");
    }
}
