//! Subscriptions to many queues on one channel: there may be many models and paused jobs, and a connection has only so many channels.
//!
//! A queue that the broker refuses is tried again from time to time, and the other subscriptions go on.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

use futures_util::stream::{BoxStream, SelectAll};
use futures_util::{FutureExt, StreamExt};
use lapin::Channel;
use lapin::message::Delivery;
use lapin::options::BasicCancelOptions;
use rollcall_shared::broker::{BrokerConnection, BrokerError, Subscription};

/// A queue that was refused is tried again after so long.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// One refusal of so many in a row is logged.
const LOG_EACH: u32 = 12;

/// The subscriptions, each with a `K` as its key.
pub(super) struct Subscriptions<K> {
    prefetch: u16,
    channel: Option<Channel>,
    /// The consumer tag of each.
    tags: HashMap<K, String>,
    deliveries: SelectAll<Deliveries<K>>,
    refused: HashMap<K, Refused>,
    /// How many there were so far, for tags that do not repeat.
    opened: u64,
}

/// The deliveries of a subscription, with its key and tag; an error when it ends.
type Deliveries<K> = BoxStream<'static, (K, String, Result<Delivery, BrokerError>)>;

/// A queue that the broker refuses.
struct Refused {
    at: Instant,
    times: u32,
}

impl<K: Clone + Eq + Hash + Send + std::fmt::Display + 'static> Subscriptions<K> {
    /// No subscriptions. For each one that is added, the broker sends `prefetch` messages ahead of their acknowledgements.
    pub(super) fn new(prefetch: u16) -> Subscriptions<K> {
        Subscriptions {
            prefetch,
            channel: None,
            tags: HashMap::new(),
            deliveries: SelectAll::new(),
            refused: HashMap::new(),
            opened: 0,
        }
    }

    /// Whether `key` has a subscription.
    pub(super) fn has(&self, key: &K) -> bool {
        self.tags.contains_key(key)
    }

    /// Subscribes to a queue that `declare` declares, unless `key` has a subscription or was refused just now.
    pub(super) async fn add(
        &mut self,
        connection: &BrokerConnection,
        key: &K,
        queue: &str,
        declare: impl AsyncFnOnce(&Channel) -> Result<(), BrokerError>,
    ) -> Result<(), BrokerError> {
        let is_due = self.refused.get(key).is_none_or(|refused| refused.at.elapsed() >= RETRY_AFTER);
        if self.has(key) || !is_due {
            return Ok(());
        }
        // On a channel of its own: the broker closes the channel of a declaration that it refuses.
        let added = match connection.on_own_channel(declare).await {
            Ok(()) => self.subscribe(connection, key, queue).await,
            Err(error) => Err(error),
        };
        match added {
            Ok(()) => {
                self.refused.remove(key);
                Ok(())
            }
            Err(error) if connection.is_connected() => {
                self.note_refusal(key, queue, &error);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    async fn subscribe(&mut self, connection: &BrokerConnection, key: &K, queue: &str) -> Result<(), BrokerError> {
        let channel = match self.channel.as_ref().filter(|channel| channel.status().connected()) {
            Some(channel) => channel.clone(),
            None => {
                self.drop_all();
                self.channel.insert(connection.channel().await?).clone()
            }
        };
        self.opened += 1;
        let tag = format!("{queue}#{}", self.opened);
        let subscription = Subscription::open(&channel, queue, &tag, self.prefetch).await?;
        let label = (key.clone(), tag.clone());
        let deliveries = subscription.into_deliveries();
        self.deliveries.push(deliveries.map(move |delivery| (label.0.clone(), label.1.clone(), delivery)).boxed());
        self.tags.insert(key.clone(), tag);
        Ok(())
    }

    fn note_refusal(&mut self, key: &K, queue: &str, error: &BrokerError) {
        let refused = self.refused.entry(key.clone()).or_insert(Refused { at: Instant::now(), times: 0 });
        if refused.times.is_multiple_of(LOG_EACH) {
            tracing::error!(
                event = "queue_refused",
                %error,
                queue,
                of = %key,
                "the broker refuses a queue; it is tried again until it is there, and everything else goes on"
            );
        }
        (refused.at, refused.times) = (Instant::now(), refused.times + 1);
    }

    /// The channel was closed, and the broker has taken its unacknowledged messages back.
    fn drop_all(&mut self) {
        self.channel = None;
        self.tags.clear();
        self.deliveries = SelectAll::new();
    }

    /// Ends a subscription. Its messages that have arrived are still returned by [`Subscriptions::next`].
    pub(super) async fn remove(&mut self, key: &K) -> Result<(), BrokerError> {
        self.refused.remove(key);
        if let (Some(tag), Some(channel)) = (self.tags.remove(key), &self.channel)
            && channel.status().connected()
        {
            channel.basic_cancel(tag.as_str().into(), BasicCancelOptions::default()).await?;
        }
        Ok(())
    }

    /// Waits for a message, and returns it with others that have already arrived, `max` in all. Cancel-safe.
    pub(super) async fn next(&mut self, max: usize) -> Vec<(K, Delivery)> {
        let mut arrived = Vec::new();
        while arrived.is_empty() {
            match self.deliveries.next().await {
                Some(next) => self.take(&mut arrived, next),
                None => return std::future::pending().await,
            }
            // Nothing is awaited after the first message: one that was taken would be lost if the future were dropped.
            while arrived.len() < max
                && let Some(next) = self.deliveries.next().now_or_never().flatten()
            {
                self.take(&mut arrived, next);
            }
        }
        arrived
    }

    fn take(&mut self, arrived: &mut Vec<(K, Delivery)>, next: (K, String, Result<Delivery, BrokerError>)) {
        match next {
            (key, _, Ok(delivery)) => arrived.push((key, delivery)),
            // Its queue was deleted, or the channel was closed: the caller may add it again.
            (key, tag, _) if self.tags.get(&key) == Some(&tag) => drop(self.tags.remove(&key)),
            _ => {}
        }
    }
}
