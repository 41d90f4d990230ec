//! The result message: the one final outcome of one company. Its headers are what the aggregator counts by; its body has the prediction
//! or the error.

use std::borrow::Cow;
use std::time::Duration;

use lapin::BasicProperties;
use lapin::types::FieldTable;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use super::headers::{
    Malformed, is_to_ledger_alone, milliseconds, number, opening, persistent, put_integer, put_milliseconds, put_text, text,
};
use super::names::{Index, Job, Model};
use super::opening::Opening;
use super::timestamp::{Timestamp, if_valid};
use super::work::Work;
use crate::json::Json;

/// The `type` property of a result message.
pub const RESULT_TYPE: &str = "rollcall.result.v1";

/// Characters of a cause that are counted by, at most: longer ones from elsewhere must not fill the aggregator's memory.
pub const LONGEST_CAUSE: usize = 64;

/// No scorer takes longer for a company: the broker would have taken it back. A longer duration is not believed.
const LONGEST_DURATION: Duration = Duration::from_secs(24 * 3_600);

/// RabbitMQ 4.x closes the channel on a message over 16 MiB. A record that is not JSON grows when it is written as text.
const LARGEST_RECORD: usize = 15 << 20;

const DURATION_MS: &str = "duration_ms";

/// Bytes of most bodies, without their prediction.
const BODY_BYTES: usize = 512;

/// The cause in place of one that is not known, since the result cannot be read.
const UNREADABLE: &str = "unreadable_result";

/// How a company ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, strum::Display, strum::EnumString, strum::IntoStaticStr)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum Outcome {
    /// It has a prediction.
    Succeeded,
    /// It has an error instead.
    Failed,
}

impl Outcome {
    /// The word in headers, bodies and routing keys.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// The headers of a result: all that counting needs, so that no body is parsed for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultHeaders {
    /// The job of the company.
    pub job: Job,
    /// The index of the company in it.
    pub index: Index,
    /// How it ended.
    pub outcome: Outcome,
    /// The attempt that ended it, from 1.
    pub attempt: u32,
    /// How often its job had been redriven when it was enqueued.
    pub round: u32,
    /// The opening of its job; `None` if the sender does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opening: Option<Opening>,
    /// Why it failed; empty if it succeeded.
    pub cause: String,
    /// Whether the ledger may have it already: it was published once more, to the ledger alone, since another queue refused it.
    // As in the header, and in checkpoints so far.
    #[serde(rename = "republished")]
    pub to_ledger_alone: bool,
    /// How long scoring took; within a batch, the company's share. `None` if it was not scored, or the sender does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<Duration>,
}

impl ResultHeaders {
    /// Reads the headers of a delivered result.
    ///
    /// # Errors
    /// [`Malformed`] if a header is missing or invalid.
    pub fn read(properties: &BasicProperties) -> Result<ResultHeaders, Malformed> {
        let outcome = text(properties, "outcome")?;
        let bad_outcome = |_| Malformed::new("outcome 'succeeded' or 'failed'", format!("{outcome:?}"));
        let outcome: Outcome = outcome.parse().map_err(bad_outcome)?;
        let job = text(properties, "job")?;
        Ok(ResultHeaders {
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
            to_ledger_alone: is_to_ledger_alone(properties),
            duration: milliseconds(properties, DURATION_MS).filter(|&duration| duration <= LONGEST_DURATION),
        })
    }
}

/// A company after scoring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScoredCompany {
    /// The prediction.
    Prediction(Json),
    /// Why there is none.
    Error {
        /// A short, stable word or phrase, to count by.
        cause: String,
        /// One line for people.
        message: String,
    },
}

impl ScoredCompany {
    /// Its outcome.
    pub fn outcome(&self) -> Outcome {
        match self {
            ScoredCompany::Prediction(_) => Outcome::Succeeded,
            ScoredCompany::Error { .. } => Outcome::Failed,
        }
    }
}

/// The result of one company, to be published.
#[derive(Debug)]
pub struct ResultMessage<'a> {
    /// The work that it is the result of.
    pub work: &'a Work,
    /// The model that scored it.
    pub model: &'a Model,
    /// The prediction or the error.
    pub scored: &'a ScoredCompany,
    /// When it was scored.
    pub scored_at: Timestamp,
    /// How long scoring took; within a batch, the company's share. `None` if it was not scored.
    pub duration: Option<Duration>,
}

#[derive(Serialize)]
struct WrittenBody<'a> {
    job: &'a Job,
    index: Index,
    company_id: &'a str,
    model: &'a Model,
    outcome: Outcome,
    attempt: u32,
    scored_at: Timestamp,
    duration_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<WrittenError<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<Cow<'a, RawValue>>,
}

#[derive(Serialize)]
struct WrittenError<'a> {
    cause: &'a str,
    message: &'a str,
}

impl ResultMessage<'_> {
    /// `<model>.<job>.<succeeded or failed>`.
    pub fn routing_key(&self) -> String {
        format!("{}.{}.{}", self.model, self.work.job, self.scored.outcome())
    }

    /// The properties of the message, headers included.
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
        if let Some(duration) = self.duration {
            put_milliseconds(&mut headers, DURATION_MS, whole_microseconds(duration));
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

    /// The body of the message. The prediction is JSON already, and goes in as it is. A failure brings the company's record, so that it
    /// can be tried again; a record that is not JSON goes in as text, and one of more than 15 MiB is left out.
    ///
    /// # Errors
    /// If a value has no JSON form.
    pub fn body(&self) -> Result<Vec<u8>, serde_json::Error> {
        let (error, record) = match self.scored {
            ScoredCompany::Prediction(_) => (None, None),
            ScoredCompany::Error { cause, message } => (Some(WrittenError { cause, message }), self.record()?),
        };
        let written = WrittenBody {
            job: &self.work.job,
            index: self.work.index,
            company_id: &self.work.company_id,
            model: self.model,
            outcome: self.scored.outcome(),
            attempt: self.work.attempt,
            scored_at: self.scored_at,
            duration_ms: self.duration.map_or(0.0, whole_microseconds),
            error,
            record,
        };
        let prediction = if let ScoredCompany::Prediction(prediction) = self.scored { prediction.as_str() } else { "" };
        let mut body = Vec::with_capacity(BODY_BYTES + prediction.len());
        serde_json::to_writer(&mut body, &written)?;
        if let ScoredCompany::Prediction(prediction) = self.scored {
            body.pop();
            body.extend_from_slice(br#","prediction":"#);
            body.extend_from_slice(prediction.as_str().as_bytes());
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

/// In milliseconds, rounded to microseconds.
fn whole_microseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// The body of a result, as it is read.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct ResultBody<'a> {
    /// The index of the company in its job.
    pub index: u32,
    /// Its owner's id of it.
    pub company_id: String,
    /// The model that scored it.
    pub model: String,
    /// `succeeded` or `failed`.
    pub outcome: String,
    /// The attempt that ended it, from 1.
    pub attempt: u32,
    /// When it was scored; `None` if the body does not have a valid time.
    #[serde(deserialize_with = "if_valid", serialize_with = "text_or_empty")]
    pub scored_at: Option<Timestamp>,
    /// How long scoring took, in milliseconds; within a batch, the company's share.
    pub duration_ms: f64,
    /// The prediction, if it succeeded.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub prediction: Option<&'a RawValue>,
    /// Why it failed, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ResultError>,
    /// The record that a failed company was scored on.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub record: Option<&'a RawValue>,
    /// The whole body, as it was written.
    #[serde(skip)]
    verbatim: Option<&'a RawValue>,
}

/// Why a company failed.
#[derive(Debug, Deserialize, Serialize)]
pub struct ResultError {
    /// A short, stable word or phrase, to count by.
    pub cause: String,
    /// One line for people.
    pub message: String,
}

fn text_or_empty<S: Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => time.serialize(serializer),
        None => serializer.serialize_str(""),
    }
}

impl<'a> ResultBody<'a> {
    /// Reads a body. One that is not a result has been counted all the same, by its headers: then the body is made from them.
    pub fn read(headers: &ResultHeaders, body: &'a [u8]) -> ResultBody<'a> {
        let read = serde_json::from_slice::<&RawValue>(body).and_then(|verbatim| {
            let result = serde_json::from_str(verbatim.get())?;
            Ok(ResultBody { verbatim: Some(verbatim), ..result })
        });
        read.unwrap_or_else(|error| {
            let ResultHeaders { job, index, outcome, attempt, cause, .. } = headers;
            tracing::warn!(event = "result_unreadable", %job, %index, %error, "cannot read the body of a result; using its headers");
            let cause = if cause.is_empty() { UNREADABLE.to_owned() } else { cause.clone() };
            let message = format!("expected a result as the body of its message, found {error}");
            ResultBody {
                index: index.0,
                outcome: outcome.to_string(),
                attempt: *attempt,
                error: Some(ResultError { cause, message }),
                ..ResultBody::default()
            }
        })
    }

    /// The result as JSON: as it was written, if it could be read.
    ///
    /// # Errors
    /// If a value has no JSON form.
    pub fn document(&self) -> Result<Cow<'a, RawValue>, serde_json::Error> {
        match self.verbatim {
            Some(verbatim) => Ok(Cow::Borrowed(verbatim)),
            None => serde_json::value::to_raw_value(self).map(Cow::Owned),
        }
    }
}

#[cfg(test)]
mod tests;
