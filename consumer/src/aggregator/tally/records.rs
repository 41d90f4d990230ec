//! Reading the ledger: from the stream's deliveries to records that can be counted.

use std::time::{SystemTime, UNIX_EPOCH};

use futures_util::{FutureExt, StreamExt};
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable, LongString};
use lapin::{Channel, Consumer};
use rollcall_shared::broker::BrokerError;
use rollcall_shared::message::{Counted, Event, MARKER_TYPE, RESULT_TYPE, offset};
use rollcall_shared::topology::Topology;

use crate::aggregator::ledger::Record;

/// Records that the broker sends ahead of their acknowledgements. With their bodies, they are what memory peaks by, and what a
/// record waits behind; twice as many are not counted faster.
const PREFETCH: u16 = 250;

/// Records acknowledged together. The broker sends as many more at once, and is asked less often; it goes on all the while, since
/// this is less than the prefetch.
const ACKNOWLEDGED_TOGETHER: u64 = 64;

/// A reader of the ledger.
pub(super) struct Records {
    channel: Channel,
    consumer: Consumer,
    /// Tags leave no gap, unlike offsets: a delivery that we lost shows here.
    last_tag: u64,
    acknowledged: u64,
}

/// A record as it was read.
pub(super) struct Read {
    pub(super) offset: u64,
    pub(super) record: Record,
    pub(super) malformed: bool,
    /// The id of an aggregator's marker, if it is one.
    pub(super) marker: Option<String>,
    /// Seconds since it was published, to the second.
    pub(super) age_seconds: f64,
}

impl Records {
    /// Begins to read at `first_offset`.
    pub(super) async fn open(channel: Channel, topology: &Topology, first_offset: u64) -> Result<Records, BrokerError> {
        let from = match i64::try_from(first_offset) {
            Ok(offset) if offset > 0 => AMQPValue::LongLongInt(offset),
            _ => AMQPValue::LongString(LongString::from("first")),
        };
        let consumer = subscribe(&channel, topology, from).await?;
        Ok(Records { channel, consumer, last_tag: 0, acknowledged: 0 })
    }

    /// Waits for the next records: one, and those that have already arrived behind it, which are no more than the broker sends
    /// ahead. Safe to cancel.
    pub(super) async fn next(&mut self) -> Result<Vec<Read>, BrokerError> {
        // Nothing is awaited after the first: what has been taken would be lost with the future.
        let first = self.consumer.next().await;
        let mut records = Vec::new();
        self.sort(&mut records, first)?;
        while let Some(next) = self.consumer.next().now_or_never() {
            self.sort(&mut records, next)?;
        }
        Ok(records)
    }

    fn sort(&mut self, records: &mut Vec<Read>, next: Option<lapin::Result<Delivery>>) -> Result<(), BrokerError> {
        let Some(delivery) = next else {
            return Err(BrokerError::Lost("the broker cancelled the ledger's consumer".to_owned()));
        };
        let delivery = delivery?;
        self.last_tag += 1;
        if delivery.delivery_tag != self.last_tag {
            return Err(BrokerError::Lost(format!(
                "expected ledger delivery {}, found {}",
                self.last_tag, delivery.delivery_tag
            )));
        }
        records.extend(read(&delivery));
        Ok(())
    }

    /// Asks the broker for more records, where there is room: that is all that acknowledging means in a stream.
    pub(super) async fn ask_for_more(&mut self) -> Result<(), BrokerError> {
        if self.last_tag - self.acknowledged >= ACKNOWLEDGED_TOGETHER { self.acknowledge().await } else { Ok(()) }
    }

    /// Acknowledges all that has been read: the broker takes a reader for stuck that holds a record for too long.
    pub(super) async fn acknowledge(&mut self) -> Result<(), BrokerError> {
        if self.last_tag > self.acknowledged {
            self.channel.basic_ack(self.last_tag, BasicAckOptions { multiple: true }).await?;
            self.acknowledged = self.last_tag;
        }
        Ok(())
    }
}

/// The offset of one of the ledger's last records. There must be one.
pub(super) async fn last_offset(channel: &Channel, topology: &Topology) -> Result<u64, BrokerError> {
    let mut last = subscribe(channel, topology, AMQPValue::LongString(LongString::from("last"))).await?;
    let ended = || BrokerError::Lost("the broker cancelled the consumer of the ledger's end".to_owned());
    let delivery = last.next().await.ok_or_else(ended)??;
    offset(&delivery.properties).ok_or_else(|| BrokerError::Lost("a ledger record without an offset: is it a stream?".to_owned()))
}

async fn subscribe(channel: &Channel, topology: &Topology, from: AMQPValue) -> Result<Consumer, BrokerError> {
    channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
    let mut arguments = FieldTable::default();
    arguments.insert("x-stream-offset".into(), from);
    let options = BasicConsumeOptions::default();
    Ok(channel.basic_consume(topology.ledger().into(), "ledger".into(), options, arguments).await?)
}

fn read(delivery: &Delivery) -> Option<Read> {
    let offset = offset(&delivery.properties)?;
    let kind = delivery.properties.kind().as_ref().map_or("", |kind| kind.as_str());
    let record = match kind {
        RESULT_TYPE => Counted::read(&delivery.properties).map(Record::Result).map_err(|error| error.to_string()),
        MARKER_TYPE => Ok(Record::Nothing),
        _ => Event::read(&delivery.data).map(|event| Record::Event(event.event)).map_err(|error| error.to_string()),
    };
    let malformed = record.is_err();
    let record = record.unwrap_or_else(|error| {
        tracing::warn!(offset, kind, error, "a ledger record is none of ours; it is not counted");
        Record::Nothing
    });
    let marker = (kind == MARKER_TYPE).then(|| delivery.properties.message_id().as_ref().map(|id| id.as_str().to_owned()));
    Some(Read { offset, record, malformed, marker: marker.flatten(), age_seconds: age_seconds(delivery) })
}

fn age_seconds(delivery: &Delivery) -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    delivery.properties.timestamp().map_or(0.0, |published| now.saturating_sub(published) as f64)
}
