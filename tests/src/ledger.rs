//! A reader of the ledger that shares no code with Rollcall: it knows only the names and headers that the contract promises.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Connection, ConnectionProperties};
use serde_json::Value;

/// The outcome of a company, from a result message's headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It has a prediction.
    Succeeded,
    /// The cause of its failure.
    Failed(String),
}

/// All records of one job in the ledger.
#[derive(Debug, Default)]
pub struct JobRecord {
    /// The outcomes of each index, in the order of the ledger.
    pub outcomes: BTreeMap<i64, Vec<Outcome>>,
    /// The bodies of the result messages, if they were asked for: as bytes, since a parsed one takes ten times the memory.
    bodies: Vec<Vec<u8>>,
    /// The name and `data` of each event except done events.
    pub events: Vec<(String, Value)>,
    /// The opening in its first opened event.
    pub opening: Option<String>,
    /// The events of other openings under the same job name.
    pub others: Vec<(String, Value)>,
    /// The complete done events.
    pub done: Vec<Value>,
    /// The number of outcomes after the first done event.
    pub after_done: usize,
    /// The indices whose first outcome came after the first done event.
    pub late: Vec<i64>,
    /// Indices with an outcome before the opened event.
    pub early: Vec<i64>,
    /// Whether a done event came before the sealed event.
    pub premature: bool,
    /// The first round, and one more for each redrive that came after the done event of the round before.
    rounds: Vec<Round>,
}

/// One round of a job.
#[derive(Debug, Default)]
struct Round {
    /// The companies that it enqueues again; none in the first round.
    reopened: BTreeSet<i64>,
    /// The companies with an outcome of this round before its done event.
    answered: BTreeSet<i64>,
    /// Those whose first outcome of this round came after it.
    late: BTreeSet<i64>,
    /// How many companies had an outcome of any round when it was done; `None` until then.
    answered_by_then: Option<usize>,
}

impl JobRecord {
    /// Asserts invariants 1 and 2: companies 0 to `total` have one counted outcome each, and exactly one done event reports
    /// that.
    pub fn assert_counted_once(&self, total: u64) {
        if let Err(fault) = self.check(total) {
            panic!("{fault}; events: {:?}, done: {:?}", self.events, self.done);
        }
    }

    /// The bodies of the result messages, if they were asked for.
    pub fn bodies(&self) -> impl Iterator<Item = Value> {
        self.bodies.iter().map(|body| serde_json::from_slice(body).unwrap())
    }

    /// Checks invariants 1 and 2 for a job that ran to its end with `total` companies and was not redriven: one done event, and
    /// no company with its first outcome after it. The error names the company.
    pub fn check(&self, total: u64) -> Result<(), String> {
        self.check_events(total)?;
        self.check_companies(total)?;
        self.check_done(total)
    }

    /// Checks invariant 2 for a job that may have been redriven or cut short: each round that has begun has one done event, which
    /// counts no more companies than had an outcome by then. Unless the round was cut short, no company got its first outcome of
    /// the round after it.
    pub fn check_rounds(&self) -> Result<(), String> {
        let id = |round: usize| match (self.done[0]["subject"].as_str().unwrap_or_default(), round) {
            (job, 0) => format!("{job}/done"),
            (job, round) => format!("{job}/done/{round}"),
        };
        expect("a done event", &self.done.is_empty(), &false)?;
        let found: Vec<&str> = self.done.iter().map(|done| done["id"].as_str().unwrap_or_default()).collect();
        let expected: Vec<String> = (0..self.rounds.len()).map(id).collect();
        expect("the ids of the done events", &found, &expected.iter().map(String::as_str).collect())?;
        for ((round, done), id) in self.rounds.iter().zip(&self.done).zip(&expected) {
            let count = |key: &str| done["data"][key].as_u64().unwrap_or(u64::MAX);
            let counted = count("succeeded").saturating_add(count("failed"));
            let answered = round.answered_by_then.unwrap_or_default() as u64;
            expect(&format!("{id} counts no more companies than had an outcome by then"), &(counted <= answered), &true)?;
            // One that was cut short has a reason.
            if count("cancelled") == 0 && done["data"]["reason"].is_null() {
                expect(&format!("companies with their first outcome after {id}"), &round.late, &BTreeSet::new())?;
                let lost = round.reopened.difference(&round.answered).next();
                expect(&format!("a redriven company without an outcome before {id}"), &lost, &None)?;
            }
        }
        Ok(())
    }

    /// Asserts the same.
    pub fn assert_rounds(&self) {
        if let Err(fault) = self.check_rounds() {
            panic!("{fault}; events: {:?}, done: {:?}", self.events, self.done);
        }
    }

    fn check_events(&self, total: u64) -> Result<(), String> {
        expect("done events", &self.done.len(), &1)?;
        let named = |name: &str| self.events.iter().filter(move |(of, _)| of == name).map(|(_, data)| data).collect::<Vec<_>>();
        // After a lost connection, the producer may publish an event again with the same content.
        expect("the job opened", &named("opened").is_empty(), &false)?;
        expect("the job cancelled", &named("cancelled").is_empty(), &true)?;
        expect("the job sealed", &named("sealed").is_empty(), &false)?;
        expect("done before it was sealed", &self.premature, &false)?;
        named("sealed").into_iter().try_for_each(|sealed| expect("its sealed total", &sealed["total"], &total.into()))
    }

    fn check_companies(&self, total: u64) -> Result<(), String> {
        let lost = (0..total).find(|&index| i64::try_from(index).is_ok_and(|index| !self.outcomes.contains_key(&index)));
        expect("a company without an outcome", &lost, &None)?;
        let foreign = self.outcomes.keys().find(|&&index| u64::try_from(index).is_ok_and(|index| index >= total));
        expect("a company that the job does not have", &foreign, &None)?;
        expect("companies answered for only after the done event", &self.late, &vec![])?;
        expect("companies answered for before the job was opened", &self.early, &vec![])
    }

    fn check_done(&self, total: u64) -> Result<(), String> {
        let (event, data) = (&self.done[0], &self.done[0]["data"]);
        let failed = self.causes().into_values().sum::<usize>() as u64;
        let id = format!("{}/done", event["subject"].as_str().unwrap_or_default());
        expect("the done event's id", &event["id"], &id.into())?;
        for (key, expected) in [("total", total), ("failed", failed), ("succeeded", total - failed), ("cancelled", 0)] {
            expect(&format!("the done event's {key}"), &data[key], &expected.into())?;
        }
        for (cause, count) in self.causes() {
            let counted = data["causes"].as_array().into_iter().flatten().find(|counted| counted["cause"] == cause);
            expect(
                &format!("the done event's count of {cause}"),
                &counted.map(|counted| &counted["count"]),
                &Some(&count.into()),
            )?;
        }
        // The done event counts only the duplicates that the aggregator had read by then.
        let duplicates = data["duplicates"].as_u64().unwrap_or(u64::MAX);
        expect("no more duplicates counted than there are", &(duplicates <= self.duplicates() as u64), &true)
    }

    /// The number of outcomes for companies that had one already.
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

    /// Whether a record of this opening, or of none, belongs to the job.
    fn is_of(&self, opening: Option<&str>) -> bool {
        opening.is_none() || self.opening.is_none() || opening == self.opening.as_deref()
    }

    fn take_in_event(&mut self, name: String, event: Value) {
        let opening = event["data"]["opening"].as_str().map(str::to_owned);
        if !self.is_of(opening.as_deref()) {
            self.others.push((name, event["data"].clone()));
            return;
        }
        if name == "opened" {
            self.opening = opening;
        }
        match name.as_str() {
            "opened" if self.rounds.is_empty() => self.rounds.push(Round::default()),
            // Of two redrives at the same time the first counts, and one of a job that is not done is none.
            "redriven" if self.done.len() == self.rounds.len() && event["data"]["round"] == self.rounds.len() => {
                let reopened = indices(event["data"]["indices"].as_str().unwrap());
                self.rounds.push(Round { reopened, ..Round::default() });
            }
            "done" => {
                if let Some(round) = self.rounds.last_mut() {
                    round.answered_by_then.get_or_insert(self.outcomes.len());
                }
            }
            _ => {}
        }
        if name == "done" {
            self.premature |= !self.events.iter().any(|(name, _)| name == "sealed");
            self.done.push(event);
        } else {
            self.events.push((name, event["data"].clone()));
        }
    }

    fn take_in_outcome(&mut self, index: i64, round: usize, outcome: Outcome) {
        if let Some(round) = self.rounds.get_mut(round) {
            if round.answered_by_then.is_none() {
                round.answered.insert(index);
            } else if !round.answered.contains(&index) {
                round.late.insert(index);
            }
        }
        let outcomes = self.outcomes.entry(index).or_default();
        outcomes.push(outcome);
        if !self.done.is_empty() {
            self.after_done += 1;
            self.late.extend((outcomes.len() == 1).then_some(index));
        }
        if self.events.is_empty() {
            self.early.push(index);
        }
    }
}

/// The indices that a text such as `0-99,105` names.
fn indices(text: &str) -> BTreeSet<i64> {
    let number = |text: &str| text.parse::<i64>().unwrap();
    let ranges = text.split(',').filter(|range| !range.is_empty()).map(|range| match range.split_once('-') {
        Some((first, last)) => number(first)..=number(last),
        None => number(range)..=number(range),
    });
    ranges.flatten().collect()
}

fn expect<T: std::fmt::Debug + PartialEq>(what: &str, found: &T, expected: &T) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{what}: expected {expected:?}, found {found:?}")) }
}

/// Whether to keep the bodies of results. Those of a long ledger do not fit into memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bodies {
    /// Parsed as JSON.
    Kept,
    /// Not parsed.
    Ignored,
}

/// Reads the ledger up to now, by job. Panics if a record breaks the contract.
pub fn read_ledger(url: &str, ledger: &str, bodies: Bodies) -> BTreeMap<String, JobRecord> {
    tokio::runtime::Runtime::new().unwrap().block_on(read(url, ledger, bodies))
}

async fn read(url: &str, ledger: &str, bodies: Bodies) -> BTreeMap<String, JobRecord> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    channel.basic_qos(2_000, BasicQosOptions::default()).await.unwrap();
    let mut from_first = FieldTable::default();
    from_first.insert("x-stream-offset".into(), AMQPValue::LongString("first".into()));
    let mut records = channel.basic_consume(ledger.into(), "".into(), BasicConsumeOptions::default(), from_first).await.unwrap();
    // Everything before this marker was in the ledger when the read began.
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
        take_in(&mut jobs, &delivery, bodies);
    }
    connection.close(200, "".into()).await.unwrap();
    jobs
}

fn take_in(jobs: &mut BTreeMap<String, JobRecord>, delivery: &Delivery, bodies: Bodies) {
    if kind(delivery) == "rollcall.result.v1" {
        let (job, index) = (text(delivery, "job").unwrap(), number(delivery, "index"));
        let outcome = match text(delivery, "outcome").unwrap().as_str() {
            "succeeded" => Outcome::Succeeded,
            "failed" => Outcome::Failed(text(delivery, "cause").expect("a failed result has a cause")),
            other => panic!("no outcome: {other}"),
        };
        let id = delivery.properties.message_id().as_ref().map(ToString::to_string);
        assert_eq!(id, Some(format!("{job}/{index}")), "a result's message_id");
        let record: &mut JobRecord = jobs.entry(job).or_default();
        if !record.is_of(text(delivery, "opening").as_deref()) {
            return;
        }
        let round = header(delivery, "round").map_or(0, |_| usize::try_from(number(delivery, "round")).unwrap());
        record.take_in_outcome(index, round, outcome);
        if bodies == Bodies::Kept {
            let body: Value = serde_json::from_slice(&delivery.data).unwrap();
            assert_eq!(body["index"], index, "a result's body is of another company than its headers");
            record.bodies.push(delivery.data.clone());
        }
    } else {
        let event: Value = serde_json::from_slice(&delivery.data).unwrap();
        let name = event["type"].as_str().unwrap().strip_prefix("rollcall.job.").unwrap().to_owned();
        let record = jobs.entry(event["subject"].as_str().unwrap().to_owned()).or_default();
        record.take_in_event(name, event);
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

#[cfg(test)]
mod tests;
