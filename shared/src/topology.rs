//! Every exchange and queue by name, and how each is declared. Declaring is idempotent: every process does it at start.

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};
use lapin::{Channel, ExchangeKind};

use crate::broker::{BrokerError, declare_error};
use crate::message::{JobEvent, Model};

/// Deliveries of one company before its queue gives it up to the dead queue. RabbitMQ 4.x would count to 20 and then drop
/// the message; 3.10 would never stop. Said here so that both do the same, and nothing is dropped.
const DELIVERY_LIMIT: i64 = 20;

/// For what only aggregators take: it may be handed on as often as they die, and must never be dropped. Said, because 4.x would.
const NEVER_GIVE_UP: i64 = 1_000_000;

/// The names of one fleet on the broker; several fleets share a broker by having different prefixes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topology {
    prefix: String,
}

impl Topology {
    /// The names that begin with `prefix`.
    pub fn new(prefix: &str) -> Topology {
        Topology { prefix: prefix.to_owned() }
    }

    /// Direct exchange: work, routed by model.
    pub fn work(&self) -> String {
        format!("{}.work", self.prefix)
    }

    /// Quorum queue: a model's companies waiting.
    pub fn work_queue(&self, model: &Model) -> String {
        format!("{}.work.{model}", self.prefix)
    }

    /// Quorum queue: a model's companies waiting, of jobs with high priority.
    pub fn express_queue(&self, model: &Model) -> String {
        format!("{}.work.{model}.express", self.prefix)
    }

    /// The routing key to a model's express queue.
    pub fn express_key(model: &Model) -> String {
        format!("{model}.express")
    }

    /// Quorum queue: a model's companies whose delivery killed consumers too often.
    pub fn dead_queue(&self, model: &Model) -> String {
        format!("{}.dead.{model}", self.prefix)
    }

    /// Topic exchange: results, `<model>.<job>.<outcome>`.
    pub fn results(&self) -> String {
        format!("{}.results", self.prefix)
    }

    /// Topic exchange: job events, `job.<job>.<name>`.
    pub fn events(&self) -> String {
        format!("{}.events", self.prefix)
    }

    /// Stream: every result and every recorded job event, in one order.
    pub fn ledger(&self) -> String {
        format!("{}.ledger", self.prefix)
    }

    /// Quorum queue, single active consumer: the aggregator's baton.
    pub fn checkpoint(&self) -> String {
        format!("{}.checkpoint", self.prefix)
    }

    /// Classic queue: questions to the active aggregator.
    pub fn queries(&self) -> String {
        format!("{}.queries", self.prefix)
    }

    /// Declares what every process needs: the exchanges and the ledger with its bindings.
    ///
    /// # Errors
    /// [`BrokerError::Topology`] where something of that name exists with other arguments.
    pub async fn declare(&self, channel: &Channel) -> Result<(), BrokerError> {
        exchange(channel, &self.work(), ExchangeKind::Direct).await?;
        exchange(channel, &self.results(), ExchangeKind::Topic).await?;
        exchange(channel, &self.events(), ExchangeKind::Topic).await?;
        queue(channel, &self.ledger(), &[("x-queue-type", text("stream"))]).await?;
        bind(channel, &self.ledger(), &self.results(), "#").await?;
        for name in JobEvent::RECORDED {
            bind(channel, &self.ledger(), &self.events(), &format!("job.*.{name}")).await?;
        }
        Ok(())
    }

    /// Declares a model's queues.
    ///
    /// # Errors
    /// [`BrokerError::Topology`] where something of that name exists with other arguments.
    pub async fn declare_model(&self, channel: &Channel, model: &Model) -> Result<(), BrokerError> {
        let kept = [("x-queue-type", text("quorum")), ("x-delivery-limit", AMQPValue::LongLongInt(NEVER_GIVE_UP))];
        queue(channel, &self.dead_queue(model), &kept).await?;
        let arguments = [
            ("x-queue-type", text("quorum")),
            ("x-delivery-limit", AMQPValue::LongLongInt(DELIVERY_LIMIT)),
            ("x-dead-letter-exchange", text("")),
            ("x-dead-letter-routing-key", text(&self.dead_queue(model))),
            ("x-dead-letter-strategy", text("at-least-once")),
            // At-least-once dead-lettering works with this overflow only.
            ("x-overflow", text("reject-publish")),
        ];
        queue(channel, &self.work_queue(model), &arguments).await?;
        queue(channel, &self.express_queue(model), &arguments).await?;
        bind(channel, &self.work_queue(model), &self.work(), model.as_str()).await?;
        bind(channel, &self.express_queue(model), &self.work(), &Topology::express_key(model)).await
    }

    /// How many consumers take a model's work. Its queue must have been declared.
    ///
    /// # Errors
    /// [`BrokerError::Lost`].
    pub async fn consumers(&self, channel: &Channel, model: &Model) -> Result<u32, BrokerError> {
        let passive = QueueDeclareOptions { passive: true, ..Default::default() };
        let queue = channel.queue_declare(self.work_queue(model).into(), passive, FieldTable::default()).await?;
        Ok(queue.consumer_count())
    }

    /// Declares what the aggregator alone uses.
    ///
    /// # Errors
    /// [`BrokerError::Topology`] where something of that name exists with other arguments.
    pub async fn declare_aggregator(&self, channel: &Channel) -> Result<(), BrokerError> {
        let arguments = [
            ("x-queue-type", text("quorum")),
            ("x-single-active-consumer", AMQPValue::Boolean(true)),
            ("x-delivery-limit", AMQPValue::LongLongInt(NEVER_GIVE_UP)),
        ];
        queue(channel, &self.checkpoint(), &arguments).await?;
        self.declare_queries(channel).await
    }

    /// Declares the queue for questions: by the aggregator that answers, and by whoever asks before one ever ran.
    ///
    /// # Errors
    /// [`BrokerError::Topology`] where something of that name exists with other arguments.
    pub async fn declare_queries(&self, channel: &Channel) -> Result<(), BrokerError> {
        queue(channel, &self.queries(), &[("x-queue-type", text("classic"))]).await
    }
}

async fn exchange(channel: &Channel, name: &str, kind: ExchangeKind) -> Result<(), BrokerError> {
    let durable = ExchangeDeclareOptions { durable: true, ..Default::default() };
    channel
        .exchange_declare(name.into(), kind, durable, FieldTable::default())
        .await
        .map_err(|error| declare_error("exchange", name, error))
}

async fn queue(channel: &Channel, name: &str, arguments: &[(&str, AMQPValue)]) -> Result<(), BrokerError> {
    let durable = QueueDeclareOptions { durable: true, ..Default::default() };
    let mut table = FieldTable::default();
    for (key, value) in arguments {
        table.insert(ShortString::from(*key), value.clone());
    }
    match channel.queue_declare(name.into(), durable, table).await {
        Ok(_) => Ok(()),
        Err(error) => Err(declare_error("queue", name, error)),
    }
}

async fn bind(channel: &Channel, queue: &str, exchange: &str, key: &str) -> Result<(), BrokerError> {
    channel
        .queue_bind(queue.into(), exchange.into(), key.into(), QueueBindOptions::default(), FieldTable::default())
        .await
        .map_err(|error| declare_error("binding of queue", queue, error))
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(value))
}
