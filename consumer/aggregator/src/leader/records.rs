//! Reads the ledger: from a stream's deliveries to records that can be counted.

use std::time::{SystemTime, UNIX_EPOCH};

use lapin::Channel;
use lapin::message::Delivery;
use lapin::types::ShortString;
use rollcall_shared::broker::{BrokerConnection, BrokerError, StreamOffset, StreamReader, Subscription};
use rollcall_shared::message::{Event, JobEvent, RESULT_TYPE, ResultHeaders, Timestamp, is_marker, marker_id, offset};
use rollcall_shared::topology::Topology;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::jobs::Record;

/// Reads the ledger from some offset on.
pub(super) struct LedgerReader(StreamReader);

/// A record as it was read.
pub(super) struct LedgerRecord {
    pub(super) offset: u64,
    pub(super) delivery_tag: u64,
    /// A hash of what it is recognized by: two records seldom have the same.
    pub(super) identity: u64,
    pub(super) record: Record,
    pub(super) is_malformed: bool,
    /// If a job or a redrive begins with it, when it was published, by the clock of its publisher.
    pub(super) began_at: Option<Timestamp>,
    /// The id of an aggregator's marker, if it is one.
    pub(super) marker: Option<String>,
    /// Whole seconds since it was published, by the clock of its publisher: for a metric only.
    pub(super) age_seconds: f64,
}

impl LedgerReader {
    /// Begins to read at `first_offset`.
    pub(super) async fn open(
        connection: &BrokerConnection,
        topology: &Topology,
        first_offset: u64,
    ) -> Result<LedgerReader, BrokerError> {
        Ok(LedgerReader(StreamReader::open(connection, topology.ledger(), first_offset).await?))
    }

    /// Begins to read at `first_offset`, one record at a time.
    pub(super) async fn open_one_by_one(
        connection: &BrokerConnection,
        topology: &Topology,
        first_offset: u64,
    ) -> Result<LedgerReader, BrokerError> {
        Ok(LedgerReader(StreamReader::one_by_one(connection, topology.ledger(), first_offset).await?))
    }

    /// Waits for the next record, and returns it with those that have already arrived behind it: no more than the broker sends ahead.
    /// Cancel-safe.
    pub(super) async fn next(&mut self) -> Result<Vec<LedgerRecord>, BrokerError> {
        // Nothing is awaited after the first record: a record that was taken would be lost if the future were dropped.
        let first = self.0.next().await?;
        let mut records: Vec<LedgerRecord> = read(&first).into_iter().collect();
        while let Some(next) = self.0.next_by_now() {
            records.extend(read(&next?));
        }
        Ok(records)
    }

    /// Passes the records up to the marker with this id to `count`, in batches of those that have arrived; the last one may have records
    /// behind the marker. Cancel-safe.
    pub(super) async fn until_marker(&mut self, id: &str, mut count: impl FnMut(Vec<LedgerRecord>)) -> Result<(), BrokerError> {
        self.0.until_marker(id, |batch| count(batch.iter().filter_map(read).collect())).await
    }

    /// Lets the broker send more records, if there is room for them.
    pub(super) async fn ask_for_more(&mut self) -> Result<(), BrokerError> {
        self.0.ask_for_more().await
    }

    /// Acknowledges all records so far: the broker closes the channel of a reader that holds one for too long.
    pub(super) async fn acknowledge(&mut self) -> Result<(), BrokerError> {
        self.0.acknowledge().await
    }
}

/// The offset of one of the ledger's last records. Waits for one if the ledger is empty.
pub(super) async fn last_offset(channel: &Channel, topology: &Topology) -> Result<u64, BrokerError> {
    let mut last = subscribe(channel, topology, StreamOffset::Last).await?;
    Ok(next_record(&mut last).await?.offset)
}

pub(super) async fn next_record(records: &mut Subscription) -> Result<LedgerRecord, BrokerError> {
    let delivery = records.next().await?;
    read(&delivery).ok_or_else(|| BrokerError::Lost("a ledger record without an offset: is it a stream?".to_owned()))
}

/// Subscribes to the ledger for one record at a time: more may not fit into memory.
pub(super) async fn subscribe(channel: &Channel, topology: &Topology, from: StreamOffset) -> Result<Subscription, BrokerError> {
    Subscription::to_stream(channel, &topology.ledger(), "ledger", 1, from).await
}

/// `None` for a delivery without an offset.
fn read(delivery: &Delivery) -> Option<LedgerRecord> {
    let offset = offset(&delivery.properties)?;
    let kind = delivery.properties.kind().as_ref().map_or("", |kind| kind.as_str());
    let mut began_at = None;
    let record = match kind {
        RESULT_TYPE => ResultHeaders::read(&delivery.properties).map(Record::Result).map_err(|error| error.to_string()),
        _ if is_marker(&delivery.properties) => Ok(Record::Other),
        _ => match Event::read(&delivery.data) {
            Ok(Event { time, event, .. }) => {
                began_at = time.filter(|_| matches!(event, JobEvent::Opened(_) | JobEvent::Redriven(_)));
                Ok(Record::Event(event))
            }
            Err(error) => Err(error.to_string()),
        },
    };
    let is_malformed = record.is_err();
    let record = record.unwrap_or_else(|error| {
        tracing::warn!(
            event = "malformed_record",
            offset,
            kind,
            error,
            "a ledger record is not one of Rollcall's; it is not counted"
        );
        Record::Other
    });
    let marker = marker_id(&delivery.properties).map(str::to_owned);
    Some(LedgerRecord {
        offset,
        delivery_tag: delivery.delivery_tag,
        identity: identity(delivery),
        record,
        is_malformed,
        began_at,
        marker,
        age_seconds: age_seconds(delivery),
    })
}

/// The body is hashed only if the record has no id: results are large, and many.
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
