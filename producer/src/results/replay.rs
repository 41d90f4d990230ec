//! Reads one job's results out of the ledger.

use std::time::Duration;

use futures_util::StreamExt;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable, LongString};
use lapin::{Channel, Consumer};
use rollcall_shared::broker::BrokerError;
use rollcall_shared::message::{Counted, Event, Job, JobEvent, JobStatus, RESULT_TYPE, Redriven, offset};
use rollcall_shared::topology::Topology;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::run::Failure;

/// Records that the broker sends ahead of their acknowledgements.
const PREFETCH: u16 = 1_000;

/// Acknowledging a stream's records asks for more of them; this is often enough to keep them coming.
const ACKNOWLEDGE_EVERY: u64 = 250;

/// A ledger that says nothing for so long has no more to say.
const SILENCE: Duration = Duration::from_secs(10);

/// A result as consumers write it.
#[derive(Debug, Deserialize)]
pub(crate) struct ResultBody<'a> {
    pub(crate) index: u32,
    pub(crate) company_id: String,
    pub(crate) model: String,
    pub(crate) outcome: String,
    pub(crate) attempt: u32,
    pub(crate) scored_at: String,
    pub(crate) duration_ms: f64,
    #[serde(borrow, default)]
    pub(crate) prediction: Option<&'a RawValue>,
    #[serde(default)]
    pub(crate) error: Option<ResultError>,
    /// What a failed company was scored on.
    #[serde(borrow, default)]
    pub(crate) record: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ResultError {
    pub(crate) cause: String,
    pub(crate) message: String,
}

impl ResultBody<'_> {
    pub(crate) fn read(body: &[u8]) -> Result<ResultBody<'_>, Failure> {
        serde_json::from_slice(body).map_err(|error| Failure::Other(format!("expected a result in the ledger, found {error}")))
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
    channel: Channel,
    records: Consumer,
    job: Job,
    end: u64,
    ended: bool,
}

impl Replay {
    pub(crate) async fn open(channel: Channel, topology: &Topology, status: &JobStatus) -> Result<Replay, BrokerError> {
        channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
        let mut arguments = FieldTable::default();
        let from = match i64::try_from(status.first_offset) {
            Ok(offset) if offset > 0 => AMQPValue::LongLongInt(offset),
            _ => AMQPValue::LongString(LongString::from("first")),
        };
        arguments.insert("x-stream-offset".into(), from);
        let records =
            channel.basic_consume(topology.ledger().into(), "replay".into(), BasicConsumeOptions::default(), arguments).await?;
        Ok(Replay { channel, records, job: status.job.clone(), end: status.next_offset, ended: false })
    }

    /// The job's next result or redrive; nothing at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Replayed>, BrokerError> {
        while !self.ended {
            // Records that are always there already would let nobody else have a turn, not even who asks to stop.
            tokio::task::consume_budget().await;
            let Ok(delivery) = tokio::time::timeout(SILENCE, self.records.next()).await else { return Ok(None) };
            let delivery =
                delivery.ok_or_else(|| BrokerError::Lost("the broker cancelled the replay's consumer".to_owned()))??;
            if delivery.delivery_tag % ACKNOWLEDGE_EVERY == 0 {
                self.channel.basic_ack(delivery.delivery_tag, BasicAckOptions { multiple: true }).await?;
            }
            self.ended = offset(&delivery.properties).is_some_and(|offset| offset + 1 >= self.end);
            if let Some(replayed) = self.read(delivery) {
                return Ok(Some(replayed));
            }
        }
        Ok(None)
    }

    fn read(&self, delivery: Delivery) -> Option<Replayed> {
        if delivery.properties.kind().as_ref().is_some_and(|kind| kind.as_str() == RESULT_TYPE) {
            let counted = Counted::read(&delivery.properties).ok().filter(|counted| counted.job == self.job)?;
            return Some(Replayed::Result(counted, delivery.data));
        }
        match Event::read(&delivery.data).ok()?.event {
            JobEvent::Redriven(redriven) if redriven.job == self.job => Some(Replayed::Redriven(redriven)),
            _ => None,
        }
    }
}
