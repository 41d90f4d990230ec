//! Reads a stream with bounded memory, whatever the size of its records.

mod window;

use std::time::Duration;

use lapin::message::Delivery;
use scopeguard::ScopeGuard;

use super::connect::{BrokerConnection, close, close_in_background};
use super::error::BrokerError;
use super::subscribe::{StreamOffset, Subscription};
use crate::message::{marker_id, offset};
use window::Window;

/// The broker has so long to send a record that the stream is known to hold.
const NEXT_WITHIN: Duration = Duration::from_secs(30);

/// A reader of a stream. The records that the broker sends ahead of their acknowledgements bound its memory: few at first, more once they
/// turn out to be small, and fewer again once they become large. The prefetch of a subscription is fixed, so the reader replaces its
/// subscription to change it.
pub struct StreamReader {
    connection: BrokerConnection,
    /// Each subscription has a channel of its own: if a channel had another one before, RabbitMQ may send records before it announces
    /// the new one.
    subscription: Subscription,
    stream: String,
    /// Where it reads on.
    next: StreamOffset,
    /// Delivery tags leave no gap, unlike offsets: a gap shows that the client lost a delivery.
    last_tag: u64,
    acknowledged: u64,
    window: Window,
    /// The prefetch of the subscription that is to replace the current one.
    replacing_with: Option<u16>,
}

impl StreamReader {
    /// Begins to read `stream` at `first_offset`.
    ///
    /// # Errors
    /// [`BrokerError::Lost`].
    pub async fn open(connection: &BrokerConnection, stream: String, first_offset: u64) -> Result<StreamReader, BrokerError> {
        StreamReader::open_at(connection, stream, StreamOffset::At(first_offset)).await
    }

    /// Begins to read `stream` at any of the places where a subscription may begin.
    ///
    /// # Errors
    /// [`BrokerError::Lost`].
    pub async fn open_at(connection: &BrokerConnection, stream: String, from: StreamOffset) -> Result<StreamReader, BrokerError> {
        StreamReader::with(Window::new(), connection, stream, from).await
    }

    /// The same, one record at a time: if a record ends the connection, it is known which.
    ///
    /// # Errors
    /// [`BrokerError::Lost`].
    pub async fn one_by_one(
        connection: &BrokerConnection,
        stream: String,
        first_offset: u64,
    ) -> Result<StreamReader, BrokerError> {
        StreamReader::with(Window::of_one(), connection, stream, StreamOffset::At(first_offset)).await
    }

    async fn with(
        window: Window,
        connection: &BrokerConnection,
        stream: String,
        from: StreamOffset,
    ) -> Result<StreamReader, BrokerError> {
        let subscription = subscribe(connection, &stream, window.records(), from).await?;
        let (connection, last_tag, acknowledged) = (connection.clone(), 0, 0);
        Ok(StreamReader { connection, subscription, stream, next: from, last_tag, acknowledged, window, replacing_with: None })
    }

    /// The next record. Cancel-safe.
    ///
    /// # Errors
    /// [`BrokerError::Lost`], [`BrokerError::Cancelled`].
    pub async fn next(&mut self) -> Result<Delivery, BrokerError> {
        let next = self.subscription.next().await;
        self.received(next)
    }

    /// The next record if it has already arrived.
    pub fn next_by_now(&mut self) -> Option<Result<Delivery, BrokerError>> {
        let next = self.subscription.next_by_now()?;
        Some(self.received(next))
    }

    /// The next record, which the stream is known to hold; asks the broker for more first.
    ///
    /// # Errors
    /// [`BrokerError::Lost`], also if it does not come within 30 s; [`BrokerError::Cancelled`].
    pub async fn next_known(&mut self) -> Result<Delivery, BrokerError> {
        self.ask_for_more().await?;
        match tokio::time::timeout(NEXT_WITHIN, self.next()).await {
            Ok(next) => next,
            Err(_) => Err(BrokerError::Lost(format!(
                "expected the records of {} up to now, found no more from {:?} on for {NEXT_WITHIN:?}",
                self.stream, self.next
            ))),
        }
    }

    /// Reads up to the [`marker`](crate::message::marker()) with this id, which must have been stored. Passes the records to `apply` in
    /// batches of those that have arrived, the marker and those behind it in the last batch included. Cancel-safe: every record that was
    /// taken has been applied.
    ///
    /// # Errors
    /// As [`StreamReader::next_known`].
    pub async fn until_marker(&mut self, id: &str, mut apply: impl FnMut(Vec<Delivery>)) -> Result<(), BrokerError> {
        loop {
            // Records that have already arrived never suspend this task, and other tasks need a turn.
            tokio::task::consume_budget().await;
            let mut batch = vec![self.next_known().await?];
            // From here on nothing is awaited: a future that is dropped would lose the batch.
            let drained = loop {
                match self.next_by_now() {
                    Some(Ok(record)) => batch.push(record),
                    Some(Err(error)) => break Err(error),
                    None => break Ok(()),
                }
            };
            let is_reached = batch.iter().any(|record| marker_id(&record.properties) == Some(id));
            apply(batch);
            drained?;
            if is_reached {
                return Ok(());
            }
        }
    }

    fn received(&mut self, next: Result<Delivery, BrokerError>) -> Result<Delivery, BrokerError> {
        let delivery = next?;
        let (tag, expected) = (delivery.delivery_tag, self.last_tag + 1);
        if tag != expected {
            return Err(BrokerError::Lost(format!("expected delivery {expected} of {}, found {tag}", self.stream)));
        }
        self.last_tag = tag;
        self.next = offset(&delivery.properties).map_or(self.next, |offset| StreamOffset::At(offset + 1));
        self.window.read(delivery.data.len());
        Ok(delivery)
    }

    /// Asks the broker for more records if there is room: in a stream, an acknowledgement means nothing else. Cancel-safe: the next call goes
    /// on.
    ///
    /// # Errors
    /// [`BrokerError::Lost`].
    pub async fn ask_for_more(&mut self) -> Result<(), BrokerError> {
        self.replacing_with = self.window.change().or(self.replacing_with);
        if let Some(records) = self.replacing_with {
            self.resubscribe(records).await?;
            self.replacing_with = None;
            return Ok(());
        }
        if self.last_tag - self.acknowledged >= self.window.acknowledged_together() { self.acknowledge().await } else { Ok(()) }
    }

    /// Acknowledges all records that have been read: the broker closes the channel of a reader that leaves one unacknowledged for too
    /// long.
    ///
    /// # Errors
    /// [`BrokerError::Lost`].
    pub async fn acknowledge(&mut self) -> Result<(), BrokerError> {
        if self.last_tag > self.acknowledged {
            // First: if this is dropped in the middle, the next acknowledgement covers it, and none is sent twice.
            self.acknowledged = self.last_tag;
            self.subscription.acknowledge_up_to(self.last_tag).await?;
        }
        Ok(())
    }

    /// Closes its channel: its connection would keep it open.
    pub async fn close(self) {
        close(self.subscription.channel()).await;
    }

    /// Continues at the same offset with another prefetch. The broker sends again what it had sent ahead.
    async fn resubscribe(&mut self, records: u16) -> Result<(), BrokerError> {
        // An earlier call may have been dropped in the middle.
        if self.subscription.channel().status().connected() {
            self.subscription.cancel().await?;
            self.subscription.channel().close(200, "read on".into()).await?;
        }
        self.subscription = subscribe(&self.connection, &self.stream, records, self.next).await?;
        (self.last_tag, self.acknowledged) = (0, 0);
        Ok(())
    }
}

async fn subscribe(
    connection: &BrokerConnection,
    stream: &str,
    records: u16,
    from: StreamOffset,
) -> Result<Subscription, BrokerError> {
    let channel = connection.channel().await?;
    let close_if_cancelled = scopeguard::guard(channel.clone(), close_in_background);
    let subscription = Subscription::to_stream(&channel, stream, "reader", records, from).await?;
    ScopeGuard::into_inner(close_if_cancelled);
    Ok(subscription)
}
