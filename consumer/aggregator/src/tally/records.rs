//! Reading the ledger: from the stream's deliveries to records that can be counted.

use std::time::{SystemTime, UNIX_EPOCH};

use lapin::Channel;
use lapin::message::Delivery;
use lapin::types::ShortString;
use rollcall_shared::broker::{BrokerConnection, BrokerError, StreamOffset, StreamReader, Subscription};
use rollcall_shared::message::{Event, JobEvent, RESULT_TYPE, ResultHeaders, Timestamp, is_marker, marker_id, offset};
use rollcall_shared::topology::Topology;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::ledger::Record;

/// A reader of the ledger.
pub(super) struct Records(StreamReader);

/// A record as it was read.
pub(super) struct Read {
    pub(super) offset: u64,
    pub(super) tag: u64,
    /// What it was, by which it is known again; two records seldom have the same.
    pub(super) identity: u64,
    pub(super) record: Record,
    pub(super) malformed: bool,
    /// When it was said, by the clock of who said it, where a job or a redrive begins with it.
    pub(super) said_at: Option<Timestamp>,
    /// The id of an aggregator's marker, if it is one.
    pub(super) marker: Option<String>,
    /// Seconds since it was published, to the second, by the clock of who published it: to be shown, and no more.
    pub(super) age_seconds: f64,
}

impl Records {
    /// Begins to read at `first_offset`.
    pub(super) async fn open(link: &BrokerConnection, topology: &Topology, first_offset: u64) -> Result<Records, BrokerError> {
        Ok(Records(StreamReader::open(link, topology.ledger(), first_offset).await?))
    }

    /// The same, one record at a time.
    pub(super) async fn one_by_one(
        link: &BrokerConnection,
        topology: &Topology,
        first_offset: u64,
    ) -> Result<Records, BrokerError> {
        Ok(Records(StreamReader::one_by_one(link, topology.ledger(), first_offset).await?))
    }

    /// Waits for the next records: one, and those that have already arrived behind it, which are no more than the broker sends
    /// ahead. Safe to cancel.
    pub(super) async fn next(&mut self) -> Result<Vec<Read>, BrokerError> {
        // Nothing is awaited after the first: what has been taken would be lost with the future.
        let first = self.0.next().await?;
        let mut records: Vec<Read> = read(&first).into_iter().collect();
        while let Some(next) = self.0.next_by_now() {
            records.extend(read(&next?));
        }
        Ok(records)
    }

    /// Reads up to the marker with this id, and hands each record to `take_in`, the marker included.
    pub(super) async fn until_marker(&mut self, id: &str, mut take_in: impl FnMut(Read)) -> Result<(), BrokerError> {
        self.0.until_marker(id, |record| read(record).into_iter().for_each(&mut take_in)).await
    }

    /// Asks the broker for more records, where there is room.
    pub(super) async fn ask_for_more(&mut self) -> Result<(), BrokerError> {
        self.0.ask_for_more().await
    }

    /// Acknowledges all that has been read: the broker takes a reader for stuck that holds a record for too long.
    pub(super) async fn acknowledge(&mut self) -> Result<(), BrokerError> {
        self.0.acknowledge().await
    }
}

/// The offset of one of the ledger's last records. There must be one.
pub(super) async fn last_offset(channel: &Channel, topology: &Topology) -> Result<u64, BrokerError> {
    let mut last = subscribe(channel, topology, StreamOffset::Last).await?;
    Ok(next_of(&mut last).await?.offset)
}

pub(super) async fn next_of(records: &mut Subscription) -> Result<Read, BrokerError> {
    let delivery = records.next().await?;
    read(&delivery).ok_or_else(|| BrokerError::Lost("a ledger record without an offset: is it a stream?".to_owned()))
}

/// Subscribes for one record at a time: more may be more than memory has room for.
pub(super) async fn subscribe(channel: &Channel, topology: &Topology, from: StreamOffset) -> Result<Subscription, BrokerError> {
    Subscription::to_stream(channel, &topology.ledger(), "ledger", 1, from).await
}

fn read(delivery: &Delivery) -> Option<Read> {
    let offset = offset(&delivery.properties)?;
    let kind = delivery.properties.kind().as_ref().map_or("", |kind| kind.as_str());
    let mut said_at = None;
    let record = match kind {
        RESULT_TYPE => ResultHeaders::read(&delivery.properties).map(Record::Result).map_err(|error| error.to_string()),
        _ if is_marker(&delivery.properties) => Ok(Record::Nothing),
        _ => match Event::read(&delivery.data) {
            Ok(Event { time, event, .. }) => {
                said_at = matches!(event, JobEvent::Opened(_) | JobEvent::Redriven(_)).then_some(time);
                Ok(Record::Event(event))
            }
            Err(error) => Err(error.to_string()),
        },
    };
    let malformed = record.is_err();
    let record = record.unwrap_or_else(|error| {
        tracing::warn!(offset, kind, error, "a ledger record is none of ours; it is not counted");
        Record::Nothing
    });
    let marker = marker_id(&delivery.properties).map(str::to_owned);
    Some(Read {
        offset,
        tag: delivery.delivery_tag,
        identity: identity(delivery),
        record,
        malformed,
        said_at,
        marker,
        age_seconds: age_seconds(delivery),
    })
}

/// A hash of what a record is known by. A body is looked into only where no id stands for it: results are large, and many.
fn identity(delivery: &Delivery) -> u64 {
    let properties = &delivery.properties;
    let text =
        |text: &Option<ShortString>, seed| text.as_ref().map_or(seed, |text| xxh3_64_with_seed(text.as_str().as_bytes(), seed));
    let published = properties.timestamp().unwrap_or_default();
    let numbers = [published, delivery.data.len() as u64].map(u64::to_le_bytes);
    let hash = text(properties.message_id(), text(properties.kind(), xxh3_64_with_seed(numbers.as_flattened(), 0)));
    if properties.message_id().is_some() { hash } else { xxh3_64_with_seed(&delivery.data, hash) }
}

fn age_seconds(delivery: &Delivery) -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    delivery.properties.timestamp().map_or(0.0, |published| now.saturating_sub(published) as f64)
}
