//! Reads one job's results out of the ledger.

use std::borrow::Cow;
use std::time::Duration;

use lapin::message::Delivery;
use rollcall_shared::broker::{BrokerError, Link, StreamReader};
use rollcall_shared::message::{Counted, Event, Job, JobEvent, JobStatus, Opening, RESULT_TYPE, Redriven, offset};
use rollcall_shared::topology::Topology;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Before its end there is always a next record.
const NEXT_WITHIN: Duration = Duration::from_secs(30);

/// What stands for a cause where a company succeeded, and its result cannot be read.
const UNREADABLE: &str = "unreadable_result";

/// A result as consumers write it.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(crate) struct ResultBody<'a> {
    pub(crate) index: u32,
    pub(crate) company_id: String,
    pub(crate) model: String,
    pub(crate) outcome: String,
    pub(crate) attempt: u32,
    pub(crate) scored_at: String,
    pub(crate) duration_ms: f64,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(crate) prediction: Option<&'a RawValue>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<ResultError>,
    /// What a failed company was scored on.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(crate) record: Option<&'a RawValue>,
    /// All of it, as it was written.
    #[serde(skip)]
    verbatim: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct ResultError {
    pub(crate) cause: String,
    pub(crate) message: String,
}

impl<'a> ResultBody<'a> {
    /// What is in `body`. Somebody else's may be no result; it has been counted all the same, by its headers, and they tell what
    /// there is to tell.
    pub(crate) fn read(counted: &Counted, body: &'a [u8]) -> ResultBody<'a> {
        let read = serde_json::from_slice::<&RawValue>(body).and_then(|verbatim| {
            let result = serde_json::from_str(verbatim.get())?;
            Ok(ResultBody { verbatim: Some(verbatim), ..result })
        });
        read.unwrap_or_else(|error| {
            let Counted { job, index, outcome, attempt, cause, .. } = counted;
            tracing::warn!(%job, %index, %error, "the body of a result is none; what is known of it is in its headers");
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

    /// The result as JSON, as it was written where it could be read.
    pub(crate) fn document(&self) -> Result<Cow<'a, RawValue>, serde_json::Error> {
        match self.verbatim {
            Some(verbatim) => Ok(Cow::Borrowed(verbatim)),
            None => serde_json::value::to_raw_value(self).map(Cow::Owned),
        }
    }
}

/// A record of a job.
pub(crate) enum Replayed {
    /// A result, with its body.
    Result(Counted, Vec<u8>),
    /// Some companies were enqueued again.
    Redriven(Redriven),
}

/// The ledger from a job's first record up to what its status counted.
pub(crate) struct Replay {
    records: StreamReader,
    job: Job,
    opening: Option<Opening>,
    end: u64,
    ended: bool,
}

impl Replay {
    pub(crate) async fn open(link: &Link, topology: &Topology, status: &JobStatus) -> Result<Replay, BrokerError> {
        let records = StreamReader::open(link, topology.ledger(), status.first_offset).await?;
        let (job, opening) = (status.job.clone(), status.opening);
        Ok(Replay { records, job, opening, end: status.next_offset, ended: false })
    }

    /// The job's next result or redrive; nothing at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Replayed>, BrokerError> {
        while !self.ended {
            // Records that are always there already would let nobody else have a turn, not even who asks to stop.
            tokio::task::consume_budget().await;
            self.records.ask_for_more().await?;
            let delivery = tokio::time::timeout(NEXT_WITHIN, self.records.next()).await.map_err(|_| self.left_alone())??;
            self.ended = offset(&delivery.properties).is_some_and(|offset| offset + 1 >= self.end);
            if let Some(replayed) = self.read(delivery) {
                return Ok(Some(replayed));
            }
        }
        Ok(None)
    }

    fn left_alone(&self) -> BrokerError {
        let end = self.end;
        BrokerError::Lost(format!(
            "expected the ledger's records before offset {end}, found no more for {NEXT_WITHIN:?}; try again"
        ))
    }

    fn read(&self, delivery: Delivery) -> Option<Replayed> {
        if delivery.properties.kind().as_ref().is_some_and(|kind| kind.as_str() == RESULT_TYPE) {
            let counted = Counted::read(&delivery.properties).ok().filter(|counted| self.is_of(&counted.job, counted.opening))?;
            return Some(Replayed::Result(counted, delivery.data));
        }
        match Event::read(&delivery.data).ok()?.event {
            JobEvent::Redriven(redriven) if self.is_of(&redriven.job, redriven.opening) => Some(Replayed::Redriven(redriven)),
            _ => None,
        }
    }

    /// Whether something is the job's; another producer's may have the same name, and tells another opening.
    fn is_of(&self, job: &Job, opening: Option<Opening>) -> bool {
        *job == self.job && (opening.is_none() || opening == self.opening)
    }
}
