//! Subscriptions to many queues on one channel: a connection has only so many channels, and models and paused jobs are not so few.
//!
//! A queue that the broker refuses is that queue's trouble: it is tried again from time to time, and the others go on.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

use futures_util::stream::{BoxStream, SelectAll};
use futures_util::{FutureExt, StreamExt};
use lapin::Channel;
use lapin::message::Delivery;
use lapin::options::BasicCancelOptions;
use rollcall_shared::broker::{BrokerConnection, BrokerError, Subscription};

/// A queue that was refused is tried again after so long, and told of again after so many times that.
const AGAIN_AFTER: Duration = Duration::from_secs(5);
const TOLD_EVERY: u32 = 12;

/// The subscriptions, each known by its `K`.
pub(super) struct Subscriptions<K> {
    prefetch: u16,
    channel: Option<Channel>,
    /// The consumer tag of each.
    live: HashMap<K, String>,
    deliveries: SelectAll<Deliveries<K>>,
    refused: HashMap<K, Refused>,
    opened: u64,
}

/// The deliveries of a subscription, with its tag; an error once it has ended.
type Deliveries<K> = BoxStream<'static, (K, String, Result<Delivery, BrokerError>)>;

/// A queue that cannot be had.
struct Refused {
    at: Instant,
    times: u32,
}

impl<K: Clone + Eq + Hash + Send + std::fmt::Display + 'static> Subscriptions<K> {
    /// None yet; the broker sends `prefetch` messages of each ahead of their acknowledgements.
    pub(super) fn new(prefetch: u16) -> Subscriptions<K> {
        Subscriptions {
            prefetch,
            channel: None,
            live: HashMap::new(),
            deliveries: SelectAll::new(),
            refused: HashMap::new(),
            opened: 0,
        }
    }

    /// Whether `key` has a subscription.
    pub(super) fn has(&self, key: &K) -> bool {
        self.live.contains_key(key)
    }

    /// Subscribes to a queue that `declare` declares, unless there is a subscription of that `key`, or it was refused just now.
    pub(super) async fn add(
        &mut self,
        link: &BrokerConnection,
        key: &K,
        queue: &str,
        declare: impl AsyncFnOnce(&Channel) -> Result<(), BrokerError>,
    ) -> Result<(), BrokerError> {
        let is_due = self.refused.get(key).is_none_or(|refused| refused.at.elapsed() >= AGAIN_AFTER);
        if self.has(key) || !is_due {
            return Ok(());
        }
        // What is refused closes its channel.
        let added = match link.on_own_channel(declare).await {
            Ok(()) => self.subscribe(link, key, queue).await,
            Err(error) => Err(error),
        };
        match added {
            Ok(()) => {
                self.refused.remove(key);
                Ok(())
            }
            Err(error) if link.is_connected() => {
                self.note_refusal(key, queue, &error);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    async fn subscribe(&mut self, link: &BrokerConnection, key: &K, queue: &str) -> Result<(), BrokerError> {
        let channel = match self.channel.as_ref().filter(|channel| channel.status().connected()) {
            Some(channel) => channel.clone(),
            None => {
                self.forget_all();
                self.channel.insert(link.channel().await?).clone()
            }
        };
        self.opened += 1;
        let tag = format!("{queue}#{}", self.opened);
        let subscription = Subscription::open(&channel, queue, &tag, self.prefetch).await?;
        let label = (key.clone(), tag.clone());
        let deliveries = subscription.into_deliveries();
        self.deliveries.push(deliveries.map(move |delivery| (label.0.clone(), label.1.clone(), delivery)).boxed());
        self.live.insert(key.clone(), tag);
        Ok(())
    }

    fn note_refusal(&mut self, key: &K, queue: &str, error: &BrokerError) {
        let refused = self.refused.entry(key.clone()).or_insert(Refused { at: Instant::now(), times: 0 });
        if refused.times.is_multiple_of(TOLD_EVERY) {
            tracing::error!(
                event = "queue_refused",
                %error,
                queue,
                of = %key,
                "a queue cannot be had; it is tried until it can, and everything else goes on"
            );
        }
        (refused.at, refused.times) = (Instant::now(), refused.times + 1);
    }

    /// With its channel the broker takes back what was on its way.
    fn forget_all(&mut self) {
        self.channel = None;
        self.live.clear();
        self.deliveries = SelectAll::new();
    }

    /// Ends a subscription. What of it has arrived still comes by [`Subscriptions::next`].
    pub(super) async fn remove(&mut self, key: &K) -> Result<(), BrokerError> {
        self.refused.remove(key);
        if let (Some(tag), Some(channel)) = (self.live.remove(key), &self.channel)
            && channel.status().connected()
        {
            channel.basic_cancel(tag.as_str().into(), BasicCancelOptions::default()).await?;
        }
        Ok(())
    }

    /// Waits for messages, and takes with them what has already arrived, up to `most`. Safe to cancel.
    pub(super) async fn next(&mut self, most: usize) -> Vec<(K, Delivery)> {
        let mut arrived = Vec::new();
        while arrived.is_empty() {
            match self.deliveries.next().await {
                Some(next) => self.sort(&mut arrived, next),
                None => return std::future::pending().await,
            }
            // Nothing is awaited after the first: what has been taken would be lost with the future.
            while arrived.len() < most
                && let Some(next) = self.deliveries.next().now_or_never().flatten()
            {
                self.sort(&mut arrived, next);
            }
        }
        arrived
    }

    fn sort(&mut self, arrived: &mut Vec<(K, Delivery)>, next: (K, String, Result<Delivery, BrokerError>)) {
        match next {
            (key, _, Ok(delivery)) => arrived.push((key, delivery)),
            // Its queue was deleted, or the channel was closed: whoever wants it subscribes anew.
            (key, tag, _) if self.live.get(&key) == Some(&tag) => drop(self.live.remove(&key)),
            _ => {}
        }
    }
}
