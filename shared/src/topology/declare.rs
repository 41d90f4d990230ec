//! How each exchange and queue is declared. Declaring is idempotent; every process declares what it needs at its start, and further queues when
//! it first needs them.

use std::time::Duration;

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};
use lapin::{Channel, ExchangeKind};
use uuid::Uuid;

use super::{DELIVERY_LIMIT, Topology};
use crate::broker::error::{BrokerError, declare_error};
use crate::message::{Job, JobEvent, Model, Priority, delay_word};

/// The delivery limit of queues whose messages must never be dropped. Set explicitly, since the default of RabbitMQ 4.x drops them.
const NEVER_GIVE_UP: i64 = 1_000_000;

/// Bytes of the control log: about 100,000 control messages, for consumers that start later.
const CONTROL_BYTES: i64 = 20_000_000;

/// Retention drops a whole segment of a stream at a time.
const CONTROL_SEGMENT_BYTES: i64 = 1_000_000;

/// Bytes of the event log: about 250,000 events.
const EVENT_LOG_BYTES: i64 = 100_000_000;
const EVENT_LOG_SEGMENT_BYTES: i64 = 10_000_000;

/// A gateway may read a file of many gigabytes, or write one, before it acknowledges a message: a day in milliseconds. RabbitMQ heeds it
/// from version 3.12 on; before, its own 30 minutes hold, and the message comes again.
const LONG_WORK: i64 = 86_400_000;

/// A week in milliseconds.
const UNSERVED: i64 = 7 * 86_400_000;

impl Topology {
    /// Declares what every process needs: the exchanges, the control log and the ledger, with their bindings.
    ///
    /// # Errors
    /// [`BrokerError::Topology`] if one exists with other arguments.
    pub async fn declare(&self, channel: &Channel) -> Result<(), BrokerError> {
        exchange(channel, &self.work(), ExchangeKind::Direct).await?;
        exchange(channel, &self.results(), ExchangeKind::Topic).await?;
        exchange(channel, &self.events(), ExchangeKind::Topic).await?;
        exchange(channel, &self.control(), ExchangeKind::Fanout).await?;
        exchange(channel, &self.consumers(), ExchangeKind::Direct).await?;
        let bounded = [
            ("x-queue-type", text("stream")),
            ("x-max-length-bytes", AMQPValue::LongLongInt(CONTROL_BYTES)),
            ("x-stream-max-segment-size-bytes", AMQPValue::LongLongInt(CONTROL_SEGMENT_BYTES)),
        ];
        queue(channel, &self.control_log(), &bounded).await?;
        bind(channel, &self.control_log(), &self.control(), "").await?;
        queue(channel, &self.ledger(), &[("x-queue-type", text("stream"))]).await?;
        bind(channel, &self.ledger(), &self.results(), "#").await?;
        for name in JobEvent::recorded() {
            bind(channel, &self.ledger(), &self.events(), &format!("job.*.{name}")).await?;
        }
        Ok(())
    }

    /// Declares a model's queues.
    ///
    /// # Errors
    /// [`BrokerError::Topology`] if one exists with other arguments.
    pub async fn declare_model(&self, channel: &Channel, model: &Model) -> Result<(), BrokerError> {
        queue(channel, &self.dead_queue(model), &never_dropping()).await?;
        let mut arguments = dead_lettering("", &self.dead_queue(model));
        arguments.push(("x-delivery-limit", AMQPValue::LongLongInt(DELIVERY_LIMIT.into())));
        for priority in [Priority::Normal, Priority::High] {
            let name = self.work_queue(model, priority);
            queue(channel, &name, &arguments).await?;
            bind(channel, &name, &self.work(), &Topology::work_key(model, priority)).await?;
        }
        queue(channel, &self.quarantine_queue(model), &arguments).await
    }

    /// Declares the queue where a model's companies of that priority wait for `delay` before their next attempt.
    ///
    /// # Errors
    /// [`BrokerError::Topology`] if one exists with other arguments.
    pub async fn declare_retry(
        &self,
        channel: &Channel,
        model: &Model,
        priority: Priority,
        delay: Duration,
    ) -> Result<(), BrokerError> {
        let mut arguments = dead_lettering(&self.work(), &Topology::work_key(model, priority));
        let milliseconds = i64::try_from(delay.as_millis()).unwrap_or(i64::MAX);
        arguments.push(("x-message-ttl", AMQPValue::LongLongInt(milliseconds)));
        arguments.push(("x-delivery-limit", AMQPValue::LongLongInt(NEVER_GIVE_UP)));
        queue(channel, &self.retry_queue(model, priority, delay), &arguments).await
    }

    /// Declares the queue for the companies of a paused job. It drops none by itself; one that an operator's policy removes becomes a dead
    /// letter, and so gets a failed result.
    ///
    /// # Errors
    /// [`BrokerError::Topology`] if one exists with other arguments.
    pub async fn declare_paused(&self, channel: &Channel, model: &Model, job: &Job) -> Result<(), BrokerError> {
        let mut arguments = dead_lettering("", &self.dead_queue(model));
        arguments.push(("x-delivery-limit", AMQPValue::LongLongInt(NEVER_GIVE_UP)));
        queue(channel, &self.paused_queue(job), &arguments).await
    }

    /// Declares an exclusive queue for the status requests to one consumer of a model; returns its name.
    ///
    /// # Errors
    /// [`BrokerError::Topology`] if the broker refuses it.
    pub async fn declare_consumer(&self, channel: &Channel, model: &Model) -> Result<String, BrokerError> {
        let name = format!("{}.consumer.{model}.{}", self.prefix, Job::unique());
        exclusive_queue(channel, &name).await?;
        bind(channel, &name, &self.consumers(), model.as_str()).await?;
        Ok(name)
    }

    /// Declares an exclusive queue for the events of one job; returns its name. The broker could name it, but then a user would need
    /// rights to queues of any origin, `amq.gen-…`.
    ///
    /// # Errors
    /// [`BrokerError::Topology`] if the broker refuses it.
    pub async fn declare_watcher(&self, channel: &Channel, job: &Job) -> Result<String, BrokerError> {
        let name = format!("{}.watch.{job}.{}", self.prefix, Job::unique());
        exclusive_queue(channel, &name).await?;
        bind(channel, &name, &self.events(), &format!("job.{job}.*")).await?;
        Ok(name)
    }

    /// Binds `queue` to the messages in which consumers of a model publish why they end.
    ///
    /// # Errors
    /// [`BrokerError::Lost`].
    pub async fn bind_consumer_faults(&self, channel: &Channel, queue: &str, model: &Model) -> Result<(), BrokerError> {
        bind(channel, queue, &self.consumers(), &Topology::consumer_faults_key(model)).await
    }

    /// Declares the queues of gateways that need no configuration.
    ///
    /// # Errors
    /// [`BrokerError::Topology`] if one exists with other arguments.
    pub async fn declare_gateway(&self, channel: &Channel) -> Result<(), BrokerError> {
        self.declare(channel).await?;
        let log = [
            ("x-queue-type", text("stream")),
            ("x-max-length-bytes", AMQPValue::LongLongInt(EVENT_LOG_BYTES)),
            ("x-stream-max-segment-size-bytes", AMQPValue::LongLongInt(EVENT_LOG_SEGMENT_BYTES)),
        ];
        queue(channel, &self.event_log(), &log).await?;
        bind(channel, &self.event_log(), &self.events(), "#").await?;
        queue(channel, &self.gateway_leader(), &one_at_a_time()).await?;
        queue(channel, &self.gateway_dead(), &never_dropping()).await?;
        self.declare_done_events(channel, &self.exports()).await
    }

    /// Declares the queue that says that a gateway is connected, on the connection of that gateway.
    ///
    /// # Errors
    /// [`BrokerError::Topology`] if the broker refuses it.
    pub async fn declare_gateway_presence(&self, channel: &Channel, id: Uuid) -> Result<(), BrokerError> {
        exclusive_queue(channel, &self.gateway_presence(id)).await
    }

    /// Declares the queue of notifications, and binds it to an `exchange` of others, which must exist.
    ///
    /// # Errors
    /// [`BrokerError::Topology`] if it exists with other arguments, or there is no such exchange.
    pub async fn declare_notifications(&self, channel: &Channel, exchange: &str, key: &str) -> Result<(), BrokerError> {
        queue(channel, &self.notifications(), &one_at_a_time()).await?;
        bind(channel, &self.notifications(), exchange, key).await
    }

    /// Declares a queue of done events. The broker deletes it once no gateway has served it for a week: its webhook may have been removed.
    ///
    /// # Errors
    /// [`BrokerError::Topology`] if it exists with other arguments.
    pub async fn declare_done_events(&self, channel: &Channel, name: &str) -> Result<(), BrokerError> {
        let served = [("x-consumer-timeout", AMQPValue::LongLongInt(LONG_WORK)), ("x-expires", AMQPValue::LongLongInt(UNSERVED))];
        let arguments = [&never_dropping()[..], &served].concat();
        queue(channel, name, &arguments).await?;
        bind(channel, name, &self.events(), "job.*.done").await
    }

    /// Declares the queue where messages wait for `delay` before they return to the queue `name`; returns its name.
    ///
    /// # Errors
    /// [`BrokerError::Topology`] if it exists with other arguments.
    pub async fn declare_delay(&self, channel: &Channel, name: &str, delay: Duration) -> Result<String, BrokerError> {
        let mut arguments = dead_lettering("", name);
        arguments.push(("x-message-ttl", AMQPValue::LongLongInt(i64::try_from(delay.as_millis()).unwrap_or(i64::MAX))));
        arguments.push(("x-delivery-limit", AMQPValue::LongLongInt(NEVER_GIVE_UP)));
        let delayed = format!("{name}.{}", delay_word(delay));
        queue(channel, &delayed, &arguments).await?;
        Ok(delayed)
    }

    /// Declares the queues that only the aggregator consumes.
    ///
    /// # Errors
    /// [`BrokerError::Topology`] if one exists with other arguments.
    pub async fn declare_aggregator(&self, channel: &Channel) -> Result<(), BrokerError> {
        let arguments = [
            ("x-queue-type", text("quorum")),
            ("x-single-active-consumer", AMQPValue::Boolean(true)),
            ("x-delivery-limit", AMQPValue::LongLongInt(NEVER_GIVE_UP)),
            ("x-overflow", text("reject-publish")),
        ];
        queue(channel, &self.checkpoint(), &arguments).await?;
        self.declare_queries(channel).await
    }

    /// Declares the queue for queries: the aggregator does, and a process that queries before an aggregator ever ran. It is a quorum queue,
    /// since a classic one becomes unavailable with its node, and then no aggregator could start elsewhere.
    ///
    /// # Errors
    /// [`BrokerError::Topology`] if one exists with other arguments.
    pub async fn declare_queries(&self, channel: &Channel) -> Result<(), BrokerError> {
        queue(channel, &self.queries(), &[("x-queue-type", text("quorum"))]).await
    }
}

/// Arguments of a queue that never drops a message by itself. If an operator's policy limits its length, it refuses new messages instead of
/// dropping the oldest.
fn never_dropping() -> [(&'static str, AMQPValue); 3] {
    [
        ("x-queue-type", text("quorum")),
        ("x-delivery-limit", AMQPValue::LongLongInt(NEVER_GIVE_UP)),
        ("x-overflow", text("reject-publish")),
    ]
}

/// Arguments of a queue of which one consumer at a time gets messages, and may take long over each.
fn one_at_a_time() -> Vec<(&'static str, AMQPValue)> {
    let of_one =
        [("x-single-active-consumer", AMQPValue::Boolean(true)), ("x-consumer-timeout", AMQPValue::LongLongInt(LONG_WORK))];
    [&never_dropping()[..], &of_one].concat()
}

/// Arguments of a queue whose messages are dead-lettered to `exchange`, and removed only once they have arrived.
fn dead_lettering(exchange: &str, routing_key: &str) -> Vec<(&'static str, AMQPValue)> {
    vec![
        ("x-queue-type", text("quorum")),
        ("x-dead-letter-exchange", text(exchange)),
        ("x-dead-letter-routing-key", text(routing_key)),
        ("x-dead-letter-strategy", text("at-least-once")),
        // At-least-once dead-lettering requires this overflow behaviour.
        ("x-overflow", text("reject-publish")),
    ]
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

/// A queue of one connection, which goes with it.
async fn exclusive_queue(channel: &Channel, name: &str) -> Result<(), BrokerError> {
    let own = QueueDeclareOptions { exclusive: true, auto_delete: true, ..Default::default() };
    match channel.queue_declare(name.into(), own, FieldTable::default()).await {
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
