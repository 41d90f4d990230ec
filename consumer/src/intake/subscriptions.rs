//! Takes work from the broker: the subscriptions to a model's queues.

use std::pin::Pin;
use std::time::Instant;

use futures_util::stream::{SelectAll, StreamExt};
use futures_util::{FutureExt, Stream};
use lapin::message::Delivery;
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Consumer};
use rollcall_shared::broker::{BrokerError, COALESCE};
use rollcall_shared::message::{Message, Model, Priority, Work, earlier_deliveries};
use rollcall_shared::topology::Topology;

use super::subscription_group::{Change, QueueKind, SubscriptionGroup, WorkSubscription};
use super::work_item::{Isolation, WorkItem};
use crate::results::acks::{Acks, SubscriptionId};

/// The subscriptions to a model's queues, on one channel.
pub(crate) struct WorkSubscriptions {
    channel: Channel,
    groups: [SubscriptionGroup; 2],
    quarantine: WorkSubscription,
    deliveries: SelectAll<Deliveries>,
    /// An error that came after deliveries which are handed out first.
    failed: Option<BrokerError>,
    session: u64,
    /// The number of subscriptions so far, which gives each its id.
    opened: u64,
}

type Deliveries = Pin<Box<dyn Stream<Item = LabelledDelivery> + Send>>;

/// A delivery and the subscription that it came by; `None` once the subscription has ended.
type LabelledDelivery = (QueueKind, SubscriptionId, Option<lapin::Result<Delivery>>);

/// What the broker has sent.
#[derive(Default)]
pub(crate) struct Arrival {
    /// The tags of all deliveries, the malformed ones included.
    pub(crate) tags: Vec<(u64, SubscriptionId)>,
    pub(crate) items: Vec<WorkItem>,
    pub(crate) malformed: Vec<MalformedWork>,
}

/// A malformed work message.
pub(crate) struct MalformedWork {
    pub(crate) tag: u64,
    pub(crate) message: Message,
    /// What is wrong with it.
    pub(crate) why: String,
}

impl WorkSubscriptions {
    /// Subscribes for `first` companies of each work queue; [`WorkSubscriptions::resize`] changes that. The quarantine has a prefetch of
    /// one: if its company crashes the consumer, no other quarantined company was in flight.
    pub(crate) async fn open(
        channel: Channel,
        topology: &Topology,
        model: &Model,
        first: usize,
        session: u64,
    ) -> Result<WorkSubscriptions, BrokerError> {
        let prefetch = u16::try_from(first).unwrap_or(u16::MAX);
        let group = |priority, number| {
            let (kind, queue) = (QueueKind::Work(priority), topology.work_queue(model, priority));
            SubscriptionGroup::new(WorkSubscription { id: SubscriptionId(number), kind, queue, prefetch })
        };
        let (kind, queue) = (QueueKind::Quarantine, topology.quarantine_queue(model));
        let quarantine = WorkSubscription { id: SubscriptionId(0), kind, queue, prefetch: 1 };
        let groups = [group(Priority::Normal, 1), group(Priority::High, 2)];
        let (deliveries, failed, opened) = (SelectAll::new(), None, 3);
        let mut subscriptions = WorkSubscriptions { channel, groups, quarantine, deliveries, failed, session, opened };
        let all: Vec<WorkSubscription> = subscriptions.live().cloned().collect();
        for subscription in &all {
            subscriptions.subscribe(subscription, FieldTable::default()).await?;
        }
        Ok(subscriptions)
    }

    /// Waits for work, and returns it with what else has already arrived. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Result<Arrival, BrokerError> {
        if let Some(failed) = self.failed.take() {
            return Err(failed);
        }
        let mut arrival = Arrival::default();
        // Nothing is awaited after the first delivery: a cancelled future would lose what it has taken.
        let first = self.deliveries.next().await;
        self.sort(&mut arrival, first)?;
        while arrival.items.len() < COALESCE {
            let Some(next) = self.deliveries.next().now_or_never() else { break };
            if let Err(failed) = self.sort(&mut arrival, next) {
                // The session first notes the deliveries before it, as held when the connection was lost.
                self.failed = Some(failed);
                break;
            }
        }
        Ok(arrival)
    }

    fn sort(&self, arrival: &mut Arrival, next: Option<LabelledDelivery>) -> Result<(), BrokerError> {
        let Some((kind, subscription, delivery)) = next else { return Err(cancelled_by_broker(&self.quarantine)) };
        let Some(delivery) = delivery else {
            // A subscription that was cancelled here ends in the same way.
            let live = self.live().find(|live| live.id == subscription);
            return live.map_or(Ok(()), |live| Err(cancelled_by_broker(live)));
        };
        self.add(arrival, kind, subscription, delivery?);
        Ok(())
    }

    fn add(&self, arrival: &mut Arrival, kind: QueueKind, subscription: SubscriptionId, delivery: Delivery) {
        let Delivery { delivery_tag: tag, properties, data, .. } = delivery;
        arrival.tags.push((tag, subscription));
        match Work::read(&properties, Vec::new()) {
            Ok(mut work) => {
                work.record = data;
                let isolation = match kind {
                    QueueKind::Work(priority) => {
                        work.priority = priority;
                        Isolation::Batched
                    }
                    QueueKind::Quarantine => Isolation::Quarantined,
                };
                let deliveries_of_message = earlier_deliveries(&properties);
                let alone = if isolation.is_quarantined() { deliveries_of_message } else { 0 };
                arrival.items.push(WorkItem {
                    deliveries: work.deliveries.saturating_add(deliveries_of_message),
                    deliveries_alone: work.deliveries_alone.saturating_add(alone),
                    deliveries_of_message,
                    work,
                    tag,
                    session: self.session,
                    isolation,
                    taken_at: Instant::now(),
                });
            }
            Err(error) => {
                tracing::warn!(event = "malformed_work", %error, "malformed work message; dead-lettered");
                let message = Message { exchange: String::new(), routing_key: String::new(), properties, body: data };
                arrival.malformed.push(MalformedWork { tag, message, why: error.to_string() });
            }
        }
    }

    /// Subscribes for more or for fewer companies of each queue, if the difference is large and the queue has enough companies for it to
    /// matter; `acks` knows what is held.
    ///
    /// A subscription is cancelled only while all of its prefetch is held: a delivery to a subscription that is being cancelled goes back to
    /// the queue, which RabbitMQ 3.10 counts as a delivery.
    pub(crate) async fn resize(&mut self, acks: &Acks, companies: usize) -> Result<(), BrokerError> {
        for at in 0..self.groups.len() {
            let Some(group) = self.groups.get_mut(at) else { continue };
            let change = group.change(acks, companies);
            if change != Change::Keep {
                tracing::debug!(queue = group.first.queue, companies, ?change, "changing how many companies are held");
            }
            let (cancelled, added) = match change {
                Change::Keep => continue,
                Change::CancelFurther => (group.take_further(acks), None),
                Change::Add(prefetch) => (Vec::new(), Some(prefetch)),
                Change::Replace(prefetch) => (group.take_further(acks), Some(prefetch)),
            };
            if let Some(prefetch) = added {
                self.opened += 1;
                let subscription = WorkSubscription { id: SubscriptionId(self.opened), prefetch, ..group.first.clone() };
                group.further.push(subscription.clone());
                self.subscribe(&subscription, FieldTable::default()).await?;
            }
            self.unsubscribe_all(&cancelled).await?;
        }
        Ok(())
    }

    /// Cancels the subscriptions beyond the first to the work queue of a priority, which is to be empty. A company that is put into it at
    /// this very moment may come to a cancelled subscription, and goes back to the queue.
    pub(crate) async fn cancel_further(&mut self, priority: Priority, acks: &Acks) -> Result<(), BrokerError> {
        let group = self.groups.iter_mut().find(|group| group.first.kind == QueueKind::Work(priority));
        let cancelled = group.map(|group| group.take_further(acks)).unwrap_or_default();
        self.unsubscribe_all(&cancelled).await
    }

    /// Returns a delivery to its queue, for another consumer. RabbitMQ 3.10 counts that as a delivery.
    pub(crate) async fn nack(&self, tag: u64) -> Result<(), BrokerError> {
        Ok(self.channel.basic_nack(tag, BasicNackOptions { multiple: false, requeue: true }).await?)
    }

    /// Cancels all subscriptions; returns what has arrived and was not yet handed out.
    pub(crate) async fn close(&mut self) -> Result<Arrival, BrokerError> {
        for subscription in self.live() {
            self.unsubscribe(subscription).await?;
        }
        Ok(self.take_arrived())
    }

    /// Waits until the broker's queues have applied every acknowledgement that was sent. Returns what has arrived meanwhile; it must be
    /// acknowledged too, but so few acknowledgements are applied at once.
    ///
    /// The broker's channel holds acknowledgements back while a quorum queue has many commands in flight, and drops them when it is closed.
    /// It waits for the commands to subscribe and to unsubscribe, in the order of the queue's log: the reply to the first comes after all
    /// commands in flight, and releases what was held back; the reply to the second comes after that.
    pub(crate) async fn flush_acks(&mut self) -> Result<Arrival, BrokerError> {
        // The lowest priority of all consumers, so that a message comes only if no other has room for it.
        let mut lowest = FieldTable::default();
        lowest.insert("x-priority".into(), AMQPValue::LongInt(-1_000));
        let firsts = self.groups.iter().map(|group| &group.first).chain([&self.quarantine]);
        let firsts: Vec<WorkSubscription> = firsts.cloned().collect();
        for first in firsts {
            self.opened += 1;
            let one = WorkSubscription { id: SubscriptionId(self.opened), prefetch: 1, ..first };
            self.subscribe(&one, lowest.clone()).await?;
            self.unsubscribe(&one).await?;
        }
        Ok(self.take_arrived())
    }

    /// Takes what has arrived and was not handed out. When the connection is lost, each subscription ends with an error after its last
    /// delivery.
    pub(crate) fn take_arrived(&mut self) -> Arrival {
        let mut arrival = Arrival::default();
        while let Some((kind, subscription, delivery)) = self.deliveries.next().now_or_never().flatten() {
            if let Some(Ok(delivery)) = delivery {
                self.add(&mut arrival, kind, subscription, delivery);
            }
        }
        arrival
    }

    fn live(&self) -> impl Iterator<Item = &WorkSubscription> {
        self.groups.iter().flat_map(SubscriptionGroup::subscriptions).chain([&self.quarantine])
    }

    async fn subscribe(&mut self, subscription: &WorkSubscription, arguments: FieldTable) -> Result<(), BrokerError> {
        // It holds for each subscription that begins after it on this channel, separately.
        self.channel.basic_qos(subscription.prefetch, BasicQosOptions::default()).await?;
        let (queue, tag, options) = (subscription.queue.as_str().into(), subscription.tag(), BasicConsumeOptions::default());
        let consumer = self.channel.basic_consume(queue, tag.as_str().into(), options, arguments).await?;
        self.deliveries.push(labelled(consumer, subscription));
        Ok(())
    }

    async fn unsubscribe_all(&self, subscriptions: &[WorkSubscription]) -> Result<(), BrokerError> {
        for subscription in subscriptions {
            self.unsubscribe(subscription).await?;
        }
        Ok(())
    }

    async fn unsubscribe(&self, subscription: &WorkSubscription) -> Result<(), BrokerError> {
        Ok(self.channel.basic_cancel(subscription.tag().as_str().into(), BasicCancelOptions::default()).await?)
    }
}

/// The subscription's deliveries, labelled with where they come from, and a last `None` when it has ended.
fn labelled(consumer: Consumer, subscription: &WorkSubscription) -> Deliveries {
    let (kind, id) = (subscription.kind, subscription.id);
    let end = futures_util::stream::once(std::future::ready((kind, id, None)));
    Box::pin(consumer.map(move |delivery| (kind, id, Some(delivery))).chain(end))
}

fn cancelled_by_broker(subscription: &WorkSubscription) -> BrokerError {
    BrokerError::Cancelled { queue: subscription.queue.clone() }
}
