//! Job events on the wire: CloudEvents 1.0 in structured JSON.

use std::time::SystemTime;

use lapin::BasicProperties;
use serde::{Deserialize, Serialize};

use super::headers::persistent;
use super::json::one_line;
use super::{Cancelled, Done, JobEvent, Message};

/// A job event in its CloudEvents envelope.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Derived from the job, so that two copies of one event can be told from two events.
    pub id: String,
    /// When it was said, as RFC 3339 in UTC.
    pub time: String,
    /// What is said.
    pub event: JobEvent,
}

/// An event that is not one of ours, and why.
#[derive(Debug, thiserror::Error)]
#[error("malformed job event: expected a CloudEvents 1.0 document of a known rollcall.job type, found {0}")]
pub struct MalformedEvent(String);

#[derive(Serialize, Deserialize)]
struct Envelope<D> {
    specversion: String,
    id: String,
    source: String,
    #[serde(rename = "type")]
    kind: String,
    subject: String,
    time: String,
    datacontenttype: String,
    data: D,
}

const TYPE_PREFIX: &str = "rollcall.job.";

impl Event {
    /// An event said now. Its id is derived from what it says, so that a second copy of it has the same.
    pub fn now(event: JobEvent) -> Event {
        let time = timestamp(SystemTime::now());
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
    /// Where a number in it has no JSON form.
    pub fn message(&self, exchange: String) -> Result<Message, serde_json::Error> {
        Ok(Message { exchange, routing_key: self.routing_key(), properties: self.properties(), body: self.body()? })
    }

    /// The message's properties.
    pub fn properties(&self) -> BasicProperties {
        persistent(&format!("{TYPE_PREFIX}{}", self.event.name()), self.id.clone())
            .with_content_type("application/cloudevents+json".into())
    }

    /// The message's body.
    ///
    /// # Errors
    /// Where a number in it has no JSON form.
    pub fn body(&self) -> Result<Vec<u8>, serde_json::Error> {
        match &self.event {
            JobEvent::Opened(data) => self.envelope(data),
            JobEvent::Sealed(data) => self.envelope(data),
            JobEvent::Progress(data) => self.envelope(data),
            JobEvent::Enqueued(data) => self.envelope(data),
            JobEvent::Cancelled(data) => self.envelope(data),
            JobEvent::Expired(data) => self.envelope(data),
            JobEvent::Paused(data) | JobEvent::Resumed(data) => self.envelope(data),
            JobEvent::Redriven(data) => self.envelope(data),
            JobEvent::Stalled(data) => self.envelope(data),
            JobEvent::Done(data) => self.envelope(data),
        }
    }

    fn envelope(&self, data: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(&Envelope {
            specversion: "1.0".to_owned(),
            id: self.id.clone(),
            source: "/rollcall".to_owned(),
            kind: format!("{TYPE_PREFIX}{}", self.event.name()),
            subject: self.event.job().to_string(),
            time: self.time.clone(),
            datacontenttype: "application/json".to_owned(),
            data,
        })
    }

    /// Reads an event's body.
    ///
    /// # Errors
    /// [`MalformedEvent`] where it is not JSON, not a CloudEvent, or not of a known type.
    pub fn read(body: &[u8]) -> Result<Event, MalformedEvent> {
        let bad = |error: serde_json::Error| MalformedEvent(one_line(&error));
        let Envelope { id, kind, time, data, .. } = serde_json::from_slice::<Envelope<serde_json::Value>>(body).map_err(bad)?;
        let event = match kind.strip_prefix(TYPE_PREFIX) {
            Some("opened") => serde_json::from_value(data).map(JobEvent::Opened),
            Some("enqueued") => serde_json::from_value(data).map(JobEvent::Enqueued),
            Some("sealed") => serde_json::from_value(data).map(JobEvent::Sealed),
            Some("progress") => serde_json::from_value(data).map(JobEvent::Progress),
            Some("cancelled") => serde_json::from_value(data).map(JobEvent::Cancelled),
            Some("expired") => serde_json::from_value(data).map(JobEvent::Expired),
            Some("paused") => serde_json::from_value(data).map(JobEvent::Paused),
            Some("resumed") => serde_json::from_value(data).map(JobEvent::Resumed),
            Some("redriven") => serde_json::from_value(data).map(JobEvent::Redriven),
            Some("stalled") => serde_json::from_value(data).map(JobEvent::Stalled),
            Some("done") => serde_json::from_value(data).map(JobEvent::Done),
            _ => return Err(MalformedEvent(format!("type {kind:?}"))),
        };
        let event = event.map_err(bad)?;
        Ok(Event { id, time, event })
    }
}

/// A point in time as RFC 3339 in UTC, to the millisecond.
pub fn timestamp(time: SystemTime) -> String {
    humantime::format_rfc3339_millis(time).to_string()
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
    fn an_event_of_an_unknown_type_is_refused_by_name() {
        let body = br#"{"specversion":"1.0","id":"x","source":"/","type":"other","subject":"x","time":"","datacontenttype":"","data":{}}"#;
        let error = Event::read(body).unwrap_err().to_string();
        assert!(error.contains("other"), "{error}");
    }
}
