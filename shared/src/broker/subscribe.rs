//! A subscription: the messages that the broker sends from one queue or stream, and their acknowledgements.

use futures_util::stream::{Stream, once};
use futures_util::{FutureExt, StreamExt};
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable, LongString};
use lapin::{Channel, Consumer};

use super::error::BrokerError;

/// The pseudo-queue of RabbitMQ's direct reply-to: a reply comes on the channel that published the request.
pub const DIRECT_REPLY_TO: &str = "amq.rabbitmq.reply-to";

/// Where a subscription to a stream begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamOffset {
    /// At the record with this offset, or at the first one that retention has kept.
    At(u64),
    /// At the last chunk, which holds one or more records.
    Last,
    /// At the first chunk with a record of this second since 1970, or later; the chunk may begin with earlier ones.
    Since(u64),
    /// Behind all records.
    Next,
}

/// A subscription to one queue. It ends with its channel.
pub struct Subscription {
    channel: Channel,
    consumer: Consumer,
}

impl Subscription {
    /// Subscribes to `queue` with the consumer tag `tag`. The broker sends at most `prefetch` messages ahead of their acknowledgements.
    ///
    /// # Errors
    /// [`BrokerError::Lost`].
    pub async fn open(channel: &Channel, queue: &str, tag: &str, prefetch: u16) -> Result<Subscription, BrokerError> {
        channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
        Subscription::consume(channel, queue, tag, BasicConsumeOptions::default(), FieldTable::default()).await
    }

    /// Subscribes without acknowledgements: the broker forgets each message as it sends it. An empty `tag` lets the broker choose one.
    ///
    /// # Errors
    /// [`BrokerError::Lost`].
    pub async fn without_acks(channel: &Channel, queue: &str, tag: &str) -> Result<Subscription, BrokerError> {
        let options = BasicConsumeOptions { no_ack: true, ..Default::default() };
        Subscription::consume(channel, queue, tag, options, FieldTable::default()).await
    }

    /// Subscribes to a stream. The broker sends at most `prefetch` records ahead of their acknowledgements.
    ///
    /// # Errors
    /// [`BrokerError::Lost`].
    pub async fn to_stream(
        channel: &Channel,
        stream: &str,
        tag: &str,
        prefetch: u16,
        from: StreamOffset,
    ) -> Result<Subscription, BrokerError> {
        let from = match from {
            StreamOffset::At(offset) => match i64::try_from(offset) {
                Ok(offset) if offset > 0 => AMQPValue::LongLongInt(offset),
                _ => AMQPValue::LongString(LongString::from("first")),
            },
            StreamOffset::Last => AMQPValue::LongString(LongString::from("last")),
            StreamOffset::Since(second) => AMQPValue::Timestamp(second),
            StreamOffset::Next => AMQPValue::LongString(LongString::from("next")),
        };
        let mut arguments = FieldTable::default();
        arguments.insert("x-stream-offset".into(), from);
        channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
        Subscription::consume(channel, stream, tag, BasicConsumeOptions::default(), arguments).await
    }

    async fn consume(
        channel: &Channel,
        queue: &str,
        tag: &str,
        options: BasicConsumeOptions,
        arguments: FieldTable,
    ) -> Result<Subscription, BrokerError> {
        let consumer = channel.basic_consume(queue.into(), tag.into(), options, arguments).await?;
        Ok(Subscription { channel: channel.clone(), consumer })
    }

    /// The channel of the subscription.
    pub fn channel(&self) -> &Channel {
        &self.channel
    }

    /// The next message. Cancel-safe.
    ///
    /// # Errors
    /// [`BrokerError::Cancelled`] if the broker has ended the subscription, [`BrokerError::Lost`].
    pub async fn next(&mut self) -> Result<Delivery, BrokerError> {
        let next = self.consumer.next().await;
        self.received(next)
    }

    /// The next message if it has already arrived.
    pub fn next_by_now(&mut self) -> Option<Result<Delivery, BrokerError>> {
        let next = self.consumer.next().now_or_never()?;
        Some(self.received(next))
    }

    fn received(&self, next: Option<lapin::Result<Delivery>>) -> Result<Delivery, BrokerError> {
        match next {
            Some(delivery) => Ok(delivery?),
            None => Err(self.cancelled()),
        }
    }

    /// The messages as a stream, for merging several subscriptions. Its last item is the error that ends the subscription.
    pub fn into_deliveries(self) -> impl Stream<Item = Result<Delivery, BrokerError>> + Send + use<> {
        let end = once(std::future::ready(Err(self.cancelled())));
        self.consumer.map(|delivery| Ok(delivery?)).chain(end)
    }

    fn cancelled(&self) -> BrokerError {
        BrokerError::Cancelled { queue: self.consumer.queue().to_string() }
    }

    /// Acknowledges all messages up to this one.
    ///
    /// # Errors
    /// [`BrokerError::Lost`].
    pub async fn acknowledge_up_to(&self, delivery_tag: u64) -> Result<(), BrokerError> {
        Ok(self.channel.basic_ack(delivery_tag, BasicAckOptions { multiple: true }).await?)
    }

    /// Ends the subscription, and drops what the broker still sends meanwhile.
    ///
    /// # Errors
    /// [`BrokerError::Lost`].
    pub async fn cancel(&mut self) -> Result<(), BrokerError> {
        let tag = self.consumer.tag();
        let mut cancelled = std::pin::pin!(self.channel.basic_cancel(tag, BasicCancelOptions::default()));
        loop {
            tokio::select! {
                Some(late) = self.consumer.next() => drop(late?),
                done = &mut cancelled => return Ok(done?),
            }
        }
    }
}
