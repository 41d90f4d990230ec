//! How many messages and consumers queues have.

use lapin::options::{BasicGetOptions, BasicNackOptions, QueueDeclareOptions};
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::FieldTable;
use lapin::{Channel, ErrorKind};
use rollcall_shared::broker::{BrokerArgs, BrokerConnection, BrokerError, connect};

/// Asks about queues over a connection of its own.
///
/// The broker closes the channel of who asks about a queue that does not exist. lapin reports that to other operations of the connection
/// too, and does not use the number of such a channel again, of which a connection has few. So the connection is then opened anew.
pub(super) struct QueueDepths {
    broker: BrokerArgs,
    open: Option<(BrokerConnection, Channel)>,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Depth {
    /// Messages that wait; those that consumers hold are not among them.
    pub(super) messages: u32,
    pub(super) consumers: u32,
}

impl QueueDepths {
    pub(super) fn new(broker: &BrokerArgs) -> QueueDepths {
        QueueDepths { broker: broker.clone(), open: None }
    }

    async fn channel(&mut self) -> Result<Channel, BrokerError> {
        if let Some((_, channel)) = self.open.as_ref().filter(|(_, channel)| channel.status().connected()) {
            return Ok(channel.clone());
        }
        self.close().await;
        let connection = connect(&self.broker, "rollcall aggregator: queue depths").await?;
        let channel = connection.channel().await?;
        self.open = Some((connection, channel.clone()));
        Ok(channel)
    }

    /// `None` if there is no such queue.
    pub(super) async fn depth(&mut self, queue: &str) -> Result<Option<Depth>, BrokerError> {
        let passive = QueueDeclareOptions { passive: true, ..Default::default() };
        match self.channel().await?.queue_declare(queue.into(), passive, FieldTable::default()).await {
            Ok(queue) => Ok(Some(Depth { messages: queue.message_count(), consumers: queue.consumer_count() })),
            Err(error) if is_not_found(&error) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// As [`QueueDepths::depth`], but waits until the queue itself has answered. RabbitMQ reports one that it cannot reach as empty and without
    /// consumers.
    pub(super) async fn depth_from_queue(&mut self, queue: &str) -> Result<Option<Depth>, BrokerError> {
        let depth = self.depth(queue).await?;
        if !matches!(depth, Some(Depth { messages: 0, consumers: 0 })) {
            return Ok(depth);
        }
        let messages = u32::from(!self.is_empty_by_get(queue).await?);
        Ok(Some(Depth { messages, consumers: 0 }))
    }

    pub(super) async fn is_empty(&mut self, queue: &str) -> Result<bool, BrokerError> {
        Ok(self.depth_from_queue(queue).await?.is_none_or(|depth| depth.messages == 0))
    }

    /// If it is asked for a message, the queue itself answers, or nothing does.
    async fn is_empty_by_get(&mut self, queue: &str) -> Result<bool, BrokerError> {
        let channel = self.channel().await?;
        match channel.basic_get(queue.into(), BasicGetOptions::default()).await? {
            None => Ok(true),
            Some(message) => {
                let requeue = BasicNackOptions { multiple: false, requeue: true };
                channel.basic_nack(message.delivery.delivery_tag, requeue).await?;
                Ok(false)
            }
        }
    }

    pub(super) async fn close(&mut self) {
        if let Some((connection, _)) = self.open.take() {
            connection.close().await;
        }
    }
}

fn is_not_found(error: &lapin::Error) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(error) if *error.kind() == AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND))
}
