//! Queues as an operator sees them.

use lapin::options::{QueueDeclareOptions, QueuePurgeOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties};
use tokio::runtime::Runtime;

/// How many messages wait in a queue; nothing where there is no such queue.
pub(crate) fn waiting_in(url: &str, queue: &str) -> Option<u32> {
    let passive = QueueDeclareOptions { passive: true, ..Default::default() };
    on_a_channel(url, async |channel| {
        let declared = channel.queue_declare(queue.into(), passive, FieldTable::default()).await;
        declared.ok().map(|queue| queue.message_count())
    })
}

/// Empties a queue.
pub(crate) fn purge(url: &str, queue: &str) {
    on_a_channel(url, async |channel| channel.queue_purge(queue.into(), QueuePurgeOptions::default()).await.unwrap());
}

fn on_a_channel<T>(url: &str, act: impl AsyncFnOnce(&Channel) -> T) -> T {
    Runtime::new().unwrap().block_on(async {
        let connection = Connection::connect(url, ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        act(&channel).await
    })
}
