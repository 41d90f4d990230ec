//! Reads a stream, and holds little of it however large its records are.

mod window;

use futures_util::{FutureExt, StreamExt};
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable, LongString};
use lapin::{Channel, Consumer};

use super::{BrokerError, Link};
use crate::message::offset;
use window::Window;

/// A reader of a stream. The broker sends only so many records ahead of their acknowledgements, and these are what memory peaks by: few
/// at first, more where they turn out to be small, and fewer again where they become large. A subscription's prefetch is fixed, so it
/// is replaced by another.
pub struct StreamReader {
    link: Link,
    /// The subscription's own: on one that had another before, RabbitMQ may send records before it says that they come.
    channel: Channel,
    stream: String,
    consumer: Consumer,
    /// Where the next record is.
    next_offset: u64,
    /// Tags leave no gap, unlike offsets: a delivery that we lost shows here.
    last_tag: u64,
    acknowledged: u64,
    window: Window,
}

impl StreamReader {
    /// Begins to read `stream` at `first_offset`.
    ///
    /// # Errors
    /// [`BrokerError::Lost`].
    pub async fn open(link: &Link, stream: String, first_offset: u64) -> Result<StreamReader, BrokerError> {
        StreamReader::with(Window::new(), link, stream, first_offset).await
    }

    /// The same, one record at a time: where reading ends with the connection, it is known at which.
    ///
    /// # Errors
    /// [`BrokerError::Lost`].
    pub async fn one_by_one(link: &Link, stream: String, first_offset: u64) -> Result<StreamReader, BrokerError> {
        StreamReader::with(Window::of_one(), link, stream, first_offset).await
    }

    async fn with(window: Window, link: &Link, stream: String, first_offset: u64) -> Result<StreamReader, BrokerError> {
        let (channel, consumer) = subscribe(link, &stream, window.records(), first_offset).await?;
        let (link, next_offset, last_tag, acknowledged) = (link.clone(), first_offset, 0, 0);
        Ok(StreamReader { link, channel, stream, consumer, next_offset, last_tag, acknowledged, window })
    }

    /// Waits for the next record. Safe to cancel.
    ///
    /// # Errors
    /// [`BrokerError::Lost`].
    pub async fn next(&mut self) -> Result<Delivery, BrokerError> {
        let next = self.consumer.next().await;
        self.take(next)
    }

    /// The next record, where it has already arrived.
    pub fn next_by_now(&mut self) -> Option<Result<Delivery, BrokerError>> {
        let next = self.consumer.next().now_or_never()?;
        Some(self.take(next))
    }

    fn take(&mut self, next: Option<lapin::Result<Delivery>>) -> Result<Delivery, BrokerError> {
        let stream = &self.stream;
        let delivery = next.ok_or_else(|| BrokerError::Lost(format!("the broker cancelled the reader of {stream}")))??;
        let tag = delivery.delivery_tag;
        let expected = self.last_tag + 1;
        if tag != expected {
            return Err(BrokerError::Lost(format!("expected delivery {expected} of {stream}, found {tag}")));
        }
        self.last_tag = tag;
        self.next_offset = offset(&delivery.properties).map_or(self.next_offset, |offset| offset + 1);
        self.window.read(delivery.data.len());
        Ok(delivery)
    }

    /// Asks the broker for more records, where there is room: that is all that acknowledging means in a stream.
    ///
    /// # Errors
    /// [`BrokerError::Lost`].
    pub async fn ask_for_more(&mut self) -> Result<(), BrokerError> {
        if let Some(records) = self.window.change() {
            return self.subscribe_anew(records).await;
        }
        if self.last_tag - self.acknowledged >= self.window.acknowledged_together() { self.acknowledge().await } else { Ok(()) }
    }

    /// Acknowledges all that has been read: the broker takes a reader for stuck that holds a record for too long.
    ///
    /// # Errors
    /// [`BrokerError::Lost`].
    pub async fn acknowledge(&mut self) -> Result<(), BrokerError> {
        if self.last_tag > self.acknowledged {
            self.channel.basic_ack(self.last_tag, BasicAckOptions { multiple: true }).await?;
            self.acknowledged = self.last_tag;
        }
        Ok(())
    }

    /// Goes on at the same place, with so many records ahead. What has been sent ahead meanwhile is sent again.
    async fn subscribe_anew(&mut self, records: u16) -> Result<(), BrokerError> {
        self.cancel().await?;
        self.channel.close(200, "read on".into()).await?;
        (self.channel, self.consumer) = subscribe(&self.link, &self.stream, records, self.next_offset).await?;
        (self.last_tag, self.acknowledged) = (0, 0);
        Ok(())
    }

    /// Ends the subscription. The broker first sends what it has begun to; nothing of it is kept.
    async fn cancel(&mut self) -> Result<(), BrokerError> {
        let (channel, tag) = (self.channel.clone(), self.consumer.tag());
        let mut cancelled = std::pin::pin!(channel.basic_cancel(tag, BasicCancelOptions::default()));
        loop {
            tokio::select! {
                Some(late) = self.consumer.next() => drop(late?),
                done = &mut cancelled => return Ok(done?),
            }
        }
    }
}

async fn subscribe(link: &Link, stream: &str, records: u16, from: u64) -> Result<(Channel, Consumer), BrokerError> {
    let channel = link.channel().await?;
    channel.basic_qos(records, BasicQosOptions::default()).await?;
    let from = match i64::try_from(from) {
        Ok(offset) if offset > 0 => AMQPValue::LongLongInt(offset),
        _ => AMQPValue::LongString(LongString::from("first")),
    };
    let mut arguments = FieldTable::default();
    arguments.insert("x-stream-offset".into(), from);
    let consumer = channel.basic_consume(stream.into(), "reader".into(), BasicConsumeOptions::default(), arguments).await?;
    Ok((channel, consumer))
}
