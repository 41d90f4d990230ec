//! The result message: the one terminal outcome of one company.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use lapin::BasicProperties;
use lapin::types::FieldTable;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::headers::{Malformed, is_republished, number, opening, persistent, put_integer, put_text, text};
use super::{Index, Job, Model, Opening, RESULT_TYPE, Work};

/// How a company ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It has a prediction.
    Succeeded,
    /// It has a cause instead.
    Failed,
}

impl Outcome {
    /// The word used in headers, bodies and routing keys.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Succeeded => "succeeded",
            Outcome::Failed => "failed",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Outcome {
    type Err = Malformed;
    fn from_str(word: &str) -> Result<Self, Malformed> {
        match word {
            "succeeded" => Ok(Outcome::Succeeded),
            "failed" => Ok(Outcome::Failed),
            other => Err(Malformed::new("outcome 'succeeded' or 'failed'", format!("{other:?}"))),
        }
    }
}

/// What counting needs of a result: all of it in headers, so that no body is parsed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// The job.
    pub job: Job,
    /// The company's place in it.
    pub index: Index,
    /// How it ended.
    pub outcome: Outcome,
    /// The attempt that ended it, from 1.
    pub attempt: u32,
    /// How often its job had been redriven when it was enqueued.
    pub round: u32,
    /// The opening of its job; nothing where that is not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opening: Option<Opening>,
    /// Why it failed; empty where it succeeded.
    pub cause: String,
    /// Whether the ledger may have it already: it was published once more, to the ledger alone, since another queue refused it.
    pub republished: bool,
}

impl Counted {
    /// Reads a delivered result's headers.
    ///
    /// # Errors
    /// [`Malformed`] where a header is missing or is not of its kind.
    pub fn read(properties: &BasicProperties) -> Result<Counted, Malformed> {
        let outcome: Outcome = text(properties, "outcome")?.parse()?;
        let job = text(properties, "job")?;
        Ok(Counted {
            job: job.parse().map_err(|bad| Malformed::new("a job name in header 'job'", format!("{bad}")))?,
            index: Index(number(properties, "index")?),
            outcome,
            attempt: number(properties, "attempt")?.max(1),
            round: number(properties, "round").unwrap_or_default(),
            opening: opening(properties)?,
            cause: match outcome {
                Outcome::Succeeded => String::new(),
                Outcome::Failed => text(properties, "cause")?.chars().take(LONGEST_CAUSE).collect(),
            },
            republished: is_republished(properties),
        })
    }
}

/// What came of scoring one company.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScoredCompany {
    /// The prediction, as JSON text.
    Prediction(String),
    /// Why there is none.
    Error {
        /// A short, stable word or phrase, to count by.
        cause: String,
        /// One line for people.
        message: String,
    },
}

impl ScoredCompany {
    /// The outcome it amounts to.
    pub fn outcome(&self) -> Outcome {
        match self {
            ScoredCompany::Prediction(_) => Outcome::Succeeded,
            ScoredCompany::Error { .. } => Outcome::Failed,
        }
    }
}

/// The result of one company, as a consumer publishes it.
#[derive(Debug)]
pub struct ScoredResult<'a> {
    /// The work it answers.
    pub work: &'a Work,
    /// The model that scored it.
    pub model: &'a Model,
    /// What came of it.
    pub scored: &'a ScoredCompany,
    /// When, as RFC 3339 in UTC.
    pub scored_at: &'a str,
    /// How long scoring took, in milliseconds; within a batch, the company's share.
    pub duration_ms: f64,
}

/// Characters of a cause that are counted by: whoever writes a longer one does not fill the aggregator's memory with it.
pub const LONGEST_CAUSE: usize = 64;

/// RabbitMQ 4.x closes the channel on a message over 16 MiB; a record that is no JSON grows when it is written as text.
const LARGEST_RECORD: usize = 15 << 20;

/// What a body without its prediction mostly fits in.
const HEAD_BYTES: usize = 512;

#[derive(Serialize)]
struct Head<'a> {
    job: &'a Job,
    index: Index,
    company_id: &'a str,
    model: &'a Model,
    outcome: Outcome,
    attempt: u32,
    scored_at: &'a str,
    duration_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<HeadError<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<Cow<'a, RawValue>>,
}

#[derive(Serialize)]
struct HeadError<'a> {
    cause: &'a str,
    message: &'a str,
}

impl ScoredResult<'_> {
    /// `<model>.<job>.<succeeded or failed>`.
    pub fn routing_key(&self) -> String {
        format!("{}.{}.{}", self.model, self.work.job, self.scored.outcome())
    }

    /// The message's properties, headers included.
    pub fn properties(&self) -> BasicProperties {
        let mut headers = FieldTable::default();
        put_text(&mut headers, "job", self.work.job.as_str());
        put_integer(&mut headers, "index", self.work.index.0);
        put_text(&mut headers, "company_id", &self.work.company_id);
        put_text(&mut headers, "model", self.model.as_str());
        put_text(&mut headers, "outcome", self.scored.outcome().as_str());
        put_integer(&mut headers, "attempt", self.work.attempt);
        if let ScoredCompany::Error { cause, .. } = self.scored {
            put_text(&mut headers, "cause", cause);
        }
        put_text(&mut headers, "traceparent", &self.work.traceparent);
        if self.work.round > 0 {
            put_integer(&mut headers, "round", self.work.round);
        }
        if let Some(opening) = self.work.opening {
            put_text(&mut headers, "opening", &opening.to_string());
        }
        persistent(RESULT_TYPE, self.work.id()).with_content_type("application/json".into()).with_headers(headers)
    }

    /// The message's body. The prediction goes in as it is: it is JSON already. A failure brings the company's record, to be
    /// tried again with; one that is not JSON, as text. A record of more than 15 MiB is left out.
    ///
    /// # Errors
    /// Where a value has no JSON form.
    pub fn body(&self) -> Result<Vec<u8>, serde_json::Error> {
        let (error, record) = match self.scored {
            ScoredCompany::Prediction(_) => (None, None),
            ScoredCompany::Error { cause, message } => (Some(HeadError { cause, message }), self.record()?),
        };
        let head = Head {
            job: &self.work.job,
            index: self.work.index,
            company_id: &self.work.company_id,
            model: self.model,
            outcome: self.scored.outcome(),
            attempt: self.work.attempt,
            scored_at: self.scored_at,
            duration_ms: self.duration_ms,
            error,
            record,
        };
        let prediction = if let ScoredCompany::Prediction(prediction) = self.scored { prediction.as_str() } else { "" };
        let mut body = Vec::with_capacity(HEAD_BYTES + prediction.len());
        serde_json::to_writer(&mut body, &head)?;
        if let ScoredCompany::Prediction(prediction) = self.scored {
            body.pop();
            body.extend_from_slice(br#","prediction":"#);
            body.extend_from_slice(prediction.as_bytes());
            body.push(b'}');
        }
        Ok(body)
    }

    fn record(&self) -> Result<Option<Cow<'_, RawValue>>, serde_json::Error> {
        let record = match serde_json::from_slice::<&RawValue>(&self.work.record) {
            Ok(record) => Cow::Borrowed(record),
            Err(_) => Cow::Owned(serde_json::value::to_raw_value(&String::from_utf8_lossy(&self.work.record))?),
        };
        Ok(Some(record).filter(|record| record.get().len() <= LARGEST_RECORD))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::message::Priority;

    fn work(record: &str) -> Work {
        Work {
            job: "j".parse().unwrap(),
            index: Index(3),
            company_id: "acme".to_owned(),
            attempt: 2,
            round: 0,
            opening: None,
            priority: Priority::Normal,
            deliveries: 0,
            deliveries_alone: 0,
            retry: None,
            traceparent: String::new(),
            record: record.as_bytes().to_vec(),
        }
    }

    fn failed_body(record: &str) -> serde_json::Value {
        let work = work(record);
        let scored = ScoredCompany::Error { cause: "timeout".to_owned(), message: "late".to_owned() };
        let model = "m".parse().unwrap();
        let result = ScoredResult { work: &work, model: &model, scored: &scored, scored_at: "now", duration_ms: 1.0 };
        serde_json::from_slice(&result.body().unwrap()).unwrap()
    }

    #[test]
    fn a_failure_brings_the_record_that_it_failed_on() {
        let body = failed_body(r#"{"company_id":"acme","size":1.50}"#);
        assert_eq!(body["error"]["cause"], "timeout");
        assert_eq!(body["record"]["size"], 1.5);
        assert_eq!(failed_body("no json")["record"], "no json");
    }

    #[test]
    fn a_record_that_would_make_the_message_too_large_for_the_broker_is_left_out() {
        let control_characters = "\u{1}".repeat(LARGEST_RECORD / 4);
        let body = failed_body(&control_characters);
        assert_eq!((body["error"]["cause"].as_str(), &body["record"]), (Some("timeout"), &serde_json::Value::Null));
    }

    #[test]
    fn a_long_cause_is_counted_by_its_beginning() {
        let (work, model) = (work("{}"), "m".parse().unwrap());
        let scored = ScoredCompany::Error { cause: "é".repeat(LONGEST_CAUSE + 1), message: String::new() };
        let result = ScoredResult { work: &work, model: &model, scored: &scored, scored_at: "now", duration_ms: 1.0 };
        assert_eq!(Counted::read(&result.properties()).unwrap().cause, "é".repeat(LONGEST_CAUSE));
    }

    proptest! {
        #[test]
        fn what_counting_needs_reads_back_as_it_was_written(
            (index, attempt, round, opened, cause)
                in (any::<u32>(), 1_u32..100, any::<u32>(), any::<bool>(), prop::option::of(".{0,60}"))
        ) {
            let opening = opened.then(Opening::unique);
            let work = Work { index: Index(index), attempt, round, opening, ..work("{}") };
            let scored = match &cause {
                None => ScoredCompany::Prediction("1".to_owned()),
                Some(cause) => ScoredCompany::Error { cause: cause.clone(), message: String::new() },
            };
            let model = "m".parse().unwrap();
            let result = ScoredResult { work: &work, model: &model, scored: &scored, scored_at: "now", duration_ms: 1.0 };
            let (job, index, outcome, cause) = (work.job.clone(), work.index, scored.outcome(), cause.unwrap_or_default());
            let read = Counted { job, index, outcome, attempt, round, opening, cause, republished: false };
            prop_assert_eq!(Counted::read(&result.properties()), Ok(read));
        }
    }
}
