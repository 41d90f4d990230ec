//! The roles of the bare loop, in the order of a message's way: enqueue, answer, count.

use std::collections::VecDeque;
use std::io::stdin;
use std::sync::Arc;
use std::time::Instant;

use futures_util::future::join_all;
use futures_util::{FutureExt, StreamExt};
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer, PublisherConfirm};
use rollcall_producer::companies::Company;
use rollcall_shared::message::{Index, Job, Model, Outcome, Priority, RESULT_TYPE, Work};
use rollcall_shared::topology::Topology;
use tokio::sync::Barrier;
use tokio::task::spawn_blocking;

use crate::usage::Cpu;

// Tried on two cores. No significant difference: a window of 4,000, a prefetch of 2,000, acks of 64, one connection for both
// directions of `answer`. Slower, or more CPU in the broker: 256 messages together, a window of 400, an enqueuer that waits
// when 2,000 or 8,000 companies are ahead of the answers.

/// Messages handed to lapin together, as in Rollcall, so that it writes them together.
const COALESCE: usize = 64;

/// The maximum number of unconfirmed messages.
const WINDOW: usize = 1_000;

/// Companies that the broker sends ahead of their acks.
const PREFETCH: u16 = 512;

/// Companies acked together, unless none is outstanding.
const ACK_TOGETHER: usize = 256;

/// Results that the broker sends ahead of their acks.
const READ_AHEAD: u16 = 2_000;

/// Results acked together.
const READ_TOGETHER: u64 = 500;

/// Printed when all roles are connected. The process begins when it then reads a line from its standard input.
pub const CONNECTED: &str = "connected";

/// What all roles share.
#[derive(Clone)]
pub struct Loop {
    pub url: String,
    pub topology: Topology,
    pub job: Job,
    pub model: Model,
    pub companies: usize,
    /// The length of a result's body.
    pub result_bytes: usize,
    /// Lets all roles begin together, after all are connected.
    pub ready: Arc<Barrier>,
}

impl Loop {
    async fn connect(&self) -> (Connection, Channel) {
        let connection = Connection::connect(&self.url, ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        (connection, channel)
    }

    /// Declares the same topology as Rollcall.
    pub async fn declare(&self) {
        let (connection, channel) = self.connect().await;
        self.topology.declare(&channel).await.unwrap();
        self.topology.declare_model(&channel, &self.model).await.unwrap();
        connection.close(200, "".into()).await.unwrap();
    }

    /// Publishes every company; returns when it began, and the CPU time of the process by then.
    pub async fn enqueue(self, companies: Vec<Company>) -> (Instant, Cpu) {
        let (_connection, channel) = self.connect().await;
        channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        let (exchange, key) = (ShortString::from(self.topology.work()), ShortString::from(self.model.as_str()));
        let common = self.work("", 0).properties();
        self.begin_together().await;
        let began = (Instant::now(), Cpu::of(std::process::id()));
        let mut unconfirmed = Unconfirmed::default();
        for chunk in companies.chunks(COALESCE) {
            unconfirmed.shrink_to(WINDOW - COALESCE).await;
            let sends = chunk.iter().map(|company| {
                let properties = self.of_company(&common, company);
                channel.basic_publish(exchange.clone(), key.clone(), MANDATORY, &company.record, properties)
            });
            unconfirmed.add(join_all(sends).await.into_iter().map(|confirm| (0, confirm.unwrap())));
        }
        unconfirmed.shrink_to(0).await;
        began
    }

    /// Waits until all roles are connected and the benchmark lets this process begin.
    async fn begin_together(&self) {
        if self.ready.wait().await.is_leader() {
            eprintln!("{CONNECTED}");
            spawn_blocking(|| stdin().read_line(&mut String::new())).await.unwrap().unwrap();
        }
        self.ready.wait().await;
    }

    fn work(&self, company_id: &str, index: u32) -> Work {
        Work {
            job: self.job.clone(),
            index: Index(index),
            company_id: company_id.to_owned(),
            attempt: 1,
            round: 0,
            opening: None,
            priority: Priority::Normal,
            deliveries: 0,
            deliveries_alone: 0,
            retry: None,
            traceparent: traceparent(index),
            record: Vec::new(),
        }
    }

    /// The common properties, with those of one company added.
    fn of_company(&self, common: &BasicProperties, company: &Company) -> BasicProperties {
        let mut headers = common.headers().clone().unwrap();
        headers.insert("index".into(), AMQPValue::LongLongInt(company.index.into()));
        headers.insert("company_id".into(), AMQPValue::LongString(company.company_id.as_str().into()));
        headers.insert("traceparent".into(), AMQPValue::LongString(traceparent(company.index).into()));
        common.clone().with_message_id(format!("{}/{}", self.job, company.index).into()).with_headers(headers)
    }

    /// Takes every company and publishes a result for it; acks it when the result is confirmed.
    pub async fn answer(self) {
        let (_consuming, work) = self.connect().await;
        let (_publishing, results) = self.connect().await;
        results.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        let mut companies = consume(&work, &self.topology.work_queue(&self.model, Priority::Normal), PREFETCH, None).await;
        self.begin_together().await;
        let (mut unconfirmed, mut answered, mut confirmed, mut acknowledged) = (Unconfirmed::default(), 0, 0, 0);
        let out = ResultPublisher::new(&self, results);
        while confirmed < self.companies {
            tokio::select! {
                company = companies.next(), if unconfirmed.0.len() <= WINDOW - COALESCE && answered < self.companies => {
                    let more = std::iter::from_fn(|| companies.next().now_or_never().flatten());
                    let batch: Vec<_> = company.into_iter().chain(more).take(COALESCE).map(Result::unwrap).collect();
                    answered += batch.len();
                    unconfirmed.add(out.publish(&batch).await);
                }
                tag = unconfirmed.oldest(), if !unconfirmed.0.is_empty() => {
                    let (more, last) = unconfirmed.confirmed_already();
                    confirmed += 1 + more;
                    // Companies are delivered and confirmed in order, so one tag acks all before it.
                    if confirmed - acknowledged >= ACK_TOGETHER || unconfirmed.0.is_empty() {
                        acknowledged = confirmed;
                        work.basic_ack(last.unwrap_or(tag), BasicAckOptions { multiple: true }).await.unwrap();
                    }
                }
            }
        }
    }

    /// Reads every result; returns when it had read the last.
    pub async fn count(self) -> Instant {
        let (_connection, channel) = self.connect().await;
        let first = ("x-stream-offset", AMQPValue::LongString("first".into()));
        let mut results = consume(&channel, &self.topology.ledger(), READ_AHEAD, Some(first)).await;
        self.begin_together().await;
        for _ in 0..self.companies {
            let tag = results.next().await.unwrap().unwrap().delivery_tag;
            if tag.is_multiple_of(READ_TOGETHER) {
                channel.basic_ack(tag, BasicAckOptions { multiple: true }).await.unwrap();
            }
        }
        Instant::now()
    }
}

const MANDATORY: BasicPublishOptions = BasicPublishOptions { mandatory: true, immediate: false };

fn traceparent(index: u32) -> String {
    format!("00-0198c1d2e3f47a5b8c9d0e1f2a3b4c5d-{:016x}-01", u64::from(index) + 1)
}

async fn consume(channel: &Channel, queue: &str, prefetch: u16, argument: Option<(&str, AMQPValue)>) -> Consumer {
    channel.basic_qos(prefetch, BasicQosOptions::default()).await.unwrap();
    let mut arguments = FieldTable::default();
    if let Some((key, value)) = argument {
        arguments.insert(key.into(), value);
    }
    channel.basic_consume(queue.into(), "".into(), BasicConsumeOptions::default(), arguments).await.unwrap()
}

/// Publishes results.
struct ResultPublisher {
    results: Channel,
    exchange: ShortString,
    key: ShortString,
    model: AMQPValue,
    outcome: AMQPValue,
    body: Vec<u8>,
}

impl ResultPublisher {
    fn new(of: &Loop, results: Channel) -> ResultPublisher {
        let outcome = Outcome::Succeeded.as_str();
        ResultPublisher {
            results,
            exchange: of.topology.results().into(),
            key: format!("{}.{}.{outcome}", of.model, of.job).into(),
            model: AMQPValue::LongString(of.model.as_str().into()),
            outcome: AMQPValue::LongString(outcome.into()),
            body: vec![b'x'; of.result_bytes],
        }
    }

    async fn publish(&self, companies: &[Delivery]) -> impl Iterator<Item = (u64, PublisherConfirm)> {
        let sends = companies.iter().map(|company| {
            let properties = self.of_result(&company.properties);
            self.results.basic_publish(self.exchange.clone(), self.key.clone(), MANDATORY, &self.body, properties)
        });
        let confirms = join_all(sends).await;
        let tags = companies.iter().map(|company| company.delivery_tag);
        tags.zip(confirms).map(|(tag, confirm)| (tag, confirm.unwrap())).collect::<Vec<_>>().into_iter()
    }

    /// A result has its company's headers and two more.
    fn of_result(&self, company: &BasicProperties) -> BasicProperties {
        let mut headers = company.headers().clone().unwrap();
        headers.insert("model".into(), self.model.clone());
        headers.insert("outcome".into(), self.outcome.clone());
        company.clone().with_type(RESULT_TYPE.into()).with_headers(headers)
    }
}

/// Unconfirmed messages, oldest first, each with a tag.
#[derive(Default)]
struct Unconfirmed(VecDeque<(u64, PublisherConfirm)>);

impl Unconfirmed {
    fn add(&mut self, published: impl Iterator<Item = (u64, PublisherConfirm)>) {
        self.0.extend(published);
    }

    async fn shrink_to(&mut self, size: usize) {
        while self.0.len() > size {
            self.oldest().await;
        }
    }

    /// Waits until the oldest is confirmed; returns its tag.
    async fn oldest(&mut self) -> u64 {
        let confirmation = (&mut self.0.front_mut().unwrap().1).await;
        self.pop(confirmation)
    }

    /// How many more are confirmed already, and the tag of the last of them.
    fn confirmed_already(&mut self) -> (usize, Option<u64>) {
        let (mut confirmed, mut last) = (0, None);
        while let Some((_, oldest)) = self.0.front_mut() {
            let Some(confirmation) = oldest.now_or_never() else { break };
            last = Some(self.pop(confirmation));
            confirmed += 1;
        }
        (confirmed, last)
    }

    fn pop(&mut self, confirmation: lapin::Result<Confirmation>) -> u64 {
        assert_eq!(confirmation.unwrap(), Confirmation::Ack(None), "the broker has not stored a message");
        self.0.pop_front().unwrap().0
    }
}
