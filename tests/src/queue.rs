//! Operations on queues, over a connection of their own.

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions, QueuePurgeOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ConnectionProperties, ExchangeKind};
use tokio::runtime::Runtime;

/// The number of ready messages in a queue; `None` if there is no such queue.
pub(crate) fn waiting_in(url: &str, queue: &str) -> Option<u32> {
    let passive = QueueDeclareOptions { passive: true, ..Default::default() };
    on_a_channel(url, async |channel| {
        let declared = channel.queue_declare(queue.into(), passive, FieldTable::default()).await;
        declared.ok().map(|queue| queue.message_count())
    })
}

pub(crate) fn purge(url: &str, queue: &str) {
    on_a_channel(url, async |channel| channel.queue_purge(queue.into(), QueuePurgeOptions::default()).await.unwrap());
}

/// Declares a durable topic exchange.
pub(crate) fn declare_exchange(url: &str, exchange: &str) {
    on_a_channel(url, async |channel| {
        let durable = ExchangeDeclareOptions { durable: true, ..Default::default() };
        channel.exchange_declare(exchange.into(), ExchangeKind::Topic, durable, FieldTable::default()).await.unwrap();
    });
}

/// Declares a queue that holds `most` messages and refuses more, and binds it to all messages of an exchange.
pub(crate) fn bind_bounded(url: &str, queue: &str, exchange: &str, most: u32) -> lapin::Result<()> {
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-length".into(), AMQPValue::LongInt(i32::try_from(most).unwrap()));
    arguments.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
    try_on_a_channel(url, async |channel| {
        let durable = QueueDeclareOptions { durable: true, ..Default::default() };
        channel.queue_declare(queue.into(), durable, arguments.clone()).await?;
        let options = QueueBindOptions::default();
        channel.queue_bind(queue.into(), exchange.into(), "#".into(), options, FieldTable::default()).await
    })
}

/// Deletes a queue; returns whether the broker did.
pub(crate) fn delete(url: &str, queue: &str) -> bool {
    try_on_a_channel(url, async |channel| channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await).is_ok()
}

fn try_on_a_channel<T>(url: &str, act: impl AsyncFnOnce(&Channel) -> lapin::Result<T>) -> lapin::Result<T> {
    Runtime::new().unwrap().block_on(async {
        let connection = Connection::connect(url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        act(&channel).await
    })
}

/// Runs `act` with a channel of a new connection.
pub(crate) fn on_a_channel<T>(url: &str, act: impl AsyncFnOnce(&Channel) -> T) -> T {
    Runtime::new().unwrap().block_on(async {
        let connection = Connection::connect(url, ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        act(&channel).await
    })
}
