//! Job events: what is said of a job as a whole, as CloudEvents 1.0 in structured JSON.

use std::fmt;
use std::time::SystemTime;

use lapin::BasicProperties;
use serde::{Deserialize, Serialize};

use super::headers::persistent;
use super::{Job, Model};

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Its producer has not yet said how many companies it has.
    Unsealed,
    /// Its total is known and some companies have no outcome yet.
    Running,
    /// Every company succeeded.
    Succeeded,
    /// Every company has an outcome, and some failed.
    Failed,
    /// It was given up; the companies without an outcome get none.
    Cancelled,
    /// Its deadline passed.
    Expired,
}

impl State {
    /// Whether the job has come to its end.
    pub fn is_final(self) -> bool {
        !matches!(self, State::Unsealed | State::Running)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            State::Unsealed => "unsealed",
            State::Running => "running",
            State::Succeeded => "succeeded",
            State::Failed => "failed",
            State::Cancelled => "cancelled",
            State::Expired => "expired",
        })
    }
}

/// A job has begun: its companies may be on their way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// The job.
    pub job: Job,
    /// The model that scores it.
    pub model: Model,
    /// The file its companies come from, as its owner named it.
    pub source: String,
    /// When, as RFC 3339 in UTC, by the producer's clock.
    pub opened_at: String,
}

/// Every company of the job has been enqueued.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// The job.
    pub job: Job,
    /// How many companies it has.
    pub total: u64,
}

/// How a job that moves stands now. Said about once a second, and not kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// The job.
    pub job: Job,
    /// The model that scores it.
    pub model: Option<Model>,
    /// Unsealed or running.
    pub state: State,
    /// How many companies it has, once that is known.
    pub total: Option<u64>,
    /// Companies with a prediction so far.
    pub succeeded: u64,
    /// Companies with a cause instead so far.
    pub failed: u64,
    /// Companies counted since the last progress event, over the time since then.
    pub companies_per_second: f64,
}

/// The job was given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancelled {
    /// The job.
    pub job: Job,
    /// Why, in words for people.
    pub reason: String,
    /// Companies enqueued up to then, where the one who cancels knows it.
    pub total: Option<u64>,
}

/// How many companies failed for one cause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CauseCount {
    /// The cause.
    pub cause: String,
    /// Companies that failed for it.
    pub count: u64,
}

/// The job has ended; said once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Done {
    /// The job.
    pub job: Job,
    /// The model that scored it.
    pub model: Option<Model>,
    /// How it ended.
    pub state: State,
    /// How many companies it has.
    pub total: u64,
    /// Companies with a prediction.
    pub succeeded: u64,
    /// Companies with a cause instead.
    pub failed: u64,
    /// Companies that got no outcome since the job was given up.
    pub cancelled: u64,
    /// Outcomes that came again for a company already counted.
    pub duplicates: u64,
    /// Attempts beyond each company's first.
    pub retries: u64,
    /// When its producer opened it, as RFC 3339 in UTC.
    pub opened_at: Option<String>,
    /// When its last outcome was counted, as RFC 3339 in UTC.
    pub done_at: String,
    /// From opened to done, in seconds.
    pub duration_seconds: f64,
    /// Outcomes over that time.
    pub companies_per_second: f64,
    /// Failures by cause, the most frequent first.
    pub causes: Vec<CauseCount>,
    /// Why it was given up, where it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What is said of a job.
#[derive(Debug, Clone, PartialEq)]
pub enum JobEvent {
    /// It has begun.
    Opened(Opened),
    /// Its total is known.
    Sealed(Sealed),
    /// It moves.
    Progress(Progress),
    /// It was given up.
    Cancelled(Cancelled),
    /// It has ended.
    Done(Done),
}

impl JobEvent {
    /// The words that [`JobEvent::name`] gives for events that the ledger records: all but progress.
    pub const RECORDED: [&str; 4] = ["opened", "sealed", "cancelled", "done"];

    /// The event's name: the last word of its type and of its routing key.
    pub fn name(&self) -> &'static str {
        match self {
            JobEvent::Opened(_) => "opened",
            JobEvent::Sealed(_) => "sealed",
            JobEvent::Progress(_) => "progress",
            JobEvent::Cancelled(_) => "cancelled",
            JobEvent::Done(_) => "done",
        }
    }

    /// The job it is about.
    pub fn job(&self) -> &Job {
        match self {
            JobEvent::Opened(opened) => &opened.job,
            JobEvent::Sealed(sealed) => &sealed.job,
            JobEvent::Progress(progress) => &progress.job,
            JobEvent::Cancelled(cancelled) => &cancelled.job,
            JobEvent::Done(done) => &done.job,
        }
    }
}

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
    /// An event said now. Progress comes many times, so its id has the time in it; the others come once a job.
    pub fn now(event: JobEvent) -> Event {
        let time = timestamp(SystemTime::now());
        let id = match &event {
            JobEvent::Progress(_) => format!("{}/progress/{time}", event.job()),
            once => format!("{}/{}", once.job(), once.name()),
        };
        Event { id, time, event }
    }

    /// `job.<job>.<name>`.
    pub fn routing_key(&self) -> String {
        format!("job.{}.{}", self.event.job(), self.event.name())
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
            JobEvent::Cancelled(data) => self.envelope(data),
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
        let bad = |error: serde_json::Error| MalformedEvent(error.to_string());
        let Envelope { id, kind, time, data, .. } = serde_json::from_slice::<Envelope<serde_json::Value>>(body).map_err(bad)?;
        let event = match kind.strip_prefix(TYPE_PREFIX) {
            Some("opened") => JobEvent::Opened(serde_json::from_value(data).map_err(bad)?),
            Some("sealed") => JobEvent::Sealed(serde_json::from_value(data).map_err(bad)?),
            Some("progress") => JobEvent::Progress(serde_json::from_value(data).map_err(bad)?),
            Some("cancelled") => JobEvent::Cancelled(serde_json::from_value(data).map_err(bad)?),
            Some("done") => JobEvent::Done(serde_json::from_value(data).map_err(bad)?),
            _ => return Err(MalformedEvent(format!("type {kind:?}"))),
        };
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

    #[test]
    fn an_event_reads_back_as_it_was_written() {
        let job: Job = "j-1".parse().unwrap();
        let sealed = Event::now(JobEvent::Sealed(Sealed { job: job.clone(), total: 7 }));
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
