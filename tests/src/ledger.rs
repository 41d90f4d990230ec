//! Reads the ledger as an outsider would: by the names and headers that the contract promises, with none of Rollcall's code.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Connection, ConnectionProperties};
use serde_json::Value;

/// An outcome of a company, as a result message's headers tell it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It has a prediction.
    Succeeded,
    /// It has this cause instead.
    Failed(String),
}

/// All that the ledger says of one job.
#[derive(Debug, Default)]
pub struct JobRecord {
    /// The outcomes of each index, in the order in which they came.
    pub outcomes: BTreeMap<i64, Vec<Outcome>>,
    /// The bodies of the result messages.
    pub bodies: Vec<Value>,
    /// The `data` of each event but the done events, by name.
    pub events: Vec<(String, Value)>,
    /// The done events, whole.
    pub done: Vec<Value>,
    /// Outcomes that came after the first done event.
    pub after_done: usize,
}

impl JobRecord {
    /// Asserts invariants 1 and 2: companies 0 to `total` have one counted outcome each, and one done event says so.
    ///
    /// # Panics
    /// Where they do not hold.
    pub fn assert_counted_once(&self, total: u64) {
        assert_eq!(self.done.len(), 1, "done events: {:?}", self.done);
        let data = &self.done[0]["data"];
        let distinct = self.outcomes.len() as u64;
        let failed = self.outcomes.values().filter(|outcomes| matches!(outcomes[0], Outcome::Failed(_))).count() as u64;
        assert_eq!(distinct, total, "companies with an outcome");
        assert!(self.outcomes.keys().copied().eq(0..i64::try_from(total).unwrap()), "the indices are not 0 to {total}");
        assert_eq!(data["total"], total, "{data}");
        assert_eq!(data["failed"], failed, "{data}");
        assert_eq!(data["succeeded"], total - failed, "{data}");
    }

    /// How many outcomes came for companies that had one already.
    pub fn duplicates(&self) -> usize {
        self.outcomes.values().map(|outcomes| outcomes.len() - 1).sum()
    }

    /// Failed companies by cause.
    pub fn causes(&self) -> BTreeMap<&str, usize> {
        let mut causes = BTreeMap::new();
        for outcomes in self.outcomes.values() {
            if let Outcome::Failed(cause) = &outcomes[0] {
                *causes.entry(cause.as_str()).or_default() += 1;
            }
        }
        causes
    }
}

/// Everything in the ledger by now, by job.
///
/// # Panics
/// Where the ledger cannot be read, or holds something that the contract does not promise.
pub fn read_ledger(url: &str, ledger: &str) -> BTreeMap<String, JobRecord> {
    tokio::runtime::Runtime::new().unwrap().block_on(read(url, ledger))
}

async fn read(url: &str, ledger: &str) -> BTreeMap<String, JobRecord> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    channel.basic_qos(2_000, BasicQosOptions::default()).await.unwrap();
    let mut from_first = FieldTable::default();
    from_first.insert("x-stream-offset".into(), AMQPValue::LongString("first".into()));
    let mut records = channel.basic_consume(ledger.into(), "".into(), BasicConsumeOptions::default(), from_first).await.unwrap();
    // What was there before this marker is what there is by now.
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let marker = format!("checker/{}/{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let properties = BasicProperties::default().with_type("rollcall.marker.v1".into()).with_message_id(marker.as_str().into());
    let publish = channel.basic_publish("".into(), ledger.into(), BasicPublishOptions::default(), b"", properties);
    publish.await.unwrap().await.unwrap();
    let mut jobs = BTreeMap::new();
    loop {
        let next = tokio::time::timeout(Duration::from_secs(20), records.next());
        let delivery = next.await.expect("the ledger ends before its marker").unwrap().unwrap();
        if delivery.delivery_tag.is_multiple_of(500) {
            delivery.ack(BasicAckOptions { multiple: true }).await.unwrap();
        }
        if kind(&delivery) == "rollcall.marker.v1" {
            if delivery.properties.message_id().as_ref().is_some_and(|id| id.as_str() == marker) {
                break;
            }
            continue;
        }
        take_in(&mut jobs, &delivery);
    }
    connection.close(200, "".into()).await.unwrap();
    jobs
}

fn take_in(jobs: &mut BTreeMap<String, JobRecord>, delivery: &Delivery) {
    if kind(delivery) == "rollcall.result.v1" {
        let job = text(delivery, "job").unwrap();
        let outcome = match text(delivery, "outcome").unwrap().as_str() {
            "succeeded" => Outcome::Succeeded,
            "failed" => Outcome::Failed(text(delivery, "cause").expect("a failed result has a cause")),
            other => panic!("no outcome: {other}"),
        };
        let record: &mut JobRecord = jobs.entry(job).or_default();
        record.outcomes.entry(number(delivery, "index")).or_default().push(outcome);
        record.bodies.push(serde_json::from_slice(&delivery.data).unwrap());
        record.after_done += usize::from(!record.done.is_empty());
    } else {
        let event: Value = serde_json::from_slice(&delivery.data).unwrap();
        let name = event["type"].as_str().unwrap().strip_prefix("rollcall.job.").unwrap().to_owned();
        let record = jobs.entry(event["subject"].as_str().unwrap().to_owned()).or_default();
        if name == "done" { record.done.push(event) } else { record.events.push((name, event["data"].clone())) }
    }
}

fn kind(delivery: &Delivery) -> &str {
    delivery.properties.kind().as_ref().map_or("", |kind| kind.as_str())
}

fn header<'a>(delivery: &'a Delivery, key: &str) -> Option<&'a AMQPValue> {
    delivery.properties.headers().as_ref()?.inner().get(key)
}

fn text(delivery: &Delivery, key: &str) -> Option<String> {
    match header(delivery, key)? {
        AMQPValue::LongString(text) => Some(text.to_string()),
        other => panic!("header {key} is {other:?}"),
    }
}

fn number(delivery: &Delivery, key: &str) -> i64 {
    match header(delivery, key) {
        Some(AMQPValue::LongLongInt(number)) => *number,
        other => panic!("header {key} is {other:?}"),
    }
}
