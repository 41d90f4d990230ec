//! Takes work from the broker.

mod lane;

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

use self::lane::{Change, Lane, Subscription};
use crate::acks::{Acks, SubscriptionId};

/// A company taken, and what is needed to settle it.
#[derive(Debug, Clone)]
pub(crate) struct Taken {
    pub(crate) work: Work,
    /// The delivery tag on the session's channel.
    pub(crate) tag: u64,
    /// Which session's channel: a tag means nothing on another.
    pub(crate) session: u64,
    /// How often it was delivered before without an answer, in this message and in earlier ones of this attempt.
    pub(crate) deliveries: u32,
    /// How many of those deliveries came from the quarantine: it was in flight alone, so that a crash is its own.
    pub(crate) deliveries_alone: u32,
    /// How many of those deliveries were of this message: the broker has a limit of its own.
    pub(crate) earlier: u32,
    /// Whether it came by the queue of suspects.
    pub(crate) suspect: bool,
    /// Whether it must be scored by itself: in a batch, it or a neighbour has failed.
    pub(crate) alone: bool,
    pub(crate) taken_at: Instant,
}

/// A company of normal priority that has just been taken, for tests.
#[cfg(test)]
pub(crate) fn just_taken(index: u32, record: &str) -> Taken {
    let work = Work {
        job: "j".parse().unwrap(),
        index: rollcall_shared::message::Index(index),
        company_id: String::new(),
        attempt: 1,
        round: 0,
        opening: None,
        priority: Priority::Normal,
        deliveries: 0,
        deliveries_alone: 0,
        retry: None,
        traceparent: String::new(),
        record: record.as_bytes().to_vec(),
    };
    let (tag, taken_at) = (index.into(), Instant::now());
    let (deliveries, deliveries_alone, earlier) = (0, 0, 0);
    Taken { work, tag, session: 0, deliveries, deliveries_alone, earlier, suspect: false, alone: false, taken_at }
}

/// The subscriptions to a model's queues, on one channel.
pub(crate) struct Intake {
    pub(crate) channel: Channel,
    lanes: [Lane; 2],
    suspects: Subscription,
    deliveries: SelectAll<Deliveries>,
    /// An error that came behind deliveries which were handed out first.
    failed: Option<BrokerError>,
    session: u64,
    opened: u64,
}

/// What waits in a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Companies of this priority, whatever they say themselves.
    Work(Priority),
    Suspects,
}

type Deliveries = Pin<Box<dyn Stream<Item = Arriving> + Send>>;

/// A delivery of a subscription; `None` once the subscription has ended.
type Arriving = (Kind, SubscriptionId, Option<lapin::Result<Delivery>>);

/// What the broker sent: companies, and the tags of messages that are no work.
#[derive(Default)]
pub(crate) struct Arrival {
    /// The tags of all of them.
    pub(crate) tags: Vec<(u64, SubscriptionId)>,
    pub(crate) taken: Vec<Taken>,
    pub(crate) malformed: Vec<Malformed>,
}

/// A message that is no work.
pub(crate) struct Malformed {
    pub(crate) tag: u64,
    pub(crate) message: Message,
    /// What is wrong with it.
    pub(crate) why: String,
}

impl Intake {
    /// Subscribes for `base` companies of each queue; more are taken as [`Intake::resize`] says. Of suspects only one is taken: what it
    /// kills is then held with nothing else of its kind.
    pub(crate) async fn open(
        channel: Channel,
        topology: &Topology,
        model: &Model,
        base: usize,
        session: u64,
    ) -> Result<Intake, BrokerError> {
        let base = u16::try_from(base).unwrap_or(u16::MAX);
        let lane = |priority, number| {
            let queue = topology.work_queue(model, priority);
            Lane::new(Subscription { id: SubscriptionId(number), kind: Kind::Work(priority), queue, prefetch: base })
        };
        let suspects =
            Subscription { id: SubscriptionId(0), kind: Kind::Suspects, queue: topology.quarantine_queue(model), prefetch: 1 };
        let lanes = [lane(Priority::Normal, 1), lane(Priority::High, 2)];
        let mut intake = Intake { channel, lanes, suspects, deliveries: SelectAll::new(), failed: None, session, opened: 3 };
        let first: Vec<Subscription> =
            intake.lanes.iter().flat_map(Lane::subscriptions).chain([&intake.suspects]).cloned().collect();
        for subscription in &first {
            intake.subscribe(subscription, FieldTable::default()).await?;
        }
        Ok(intake)
    }

    /// Cancels the subscriptions beyond the base to the queue of a priority, of which nothing waits on the broker. What is put into it at
    /// this very moment may come to a cancelled subscription, and goes back.
    pub(crate) async fn release(&mut self, priority: Priority, acks: &Acks) -> Result<(), BrokerError> {
        let lane = self.lanes.iter_mut().find(|lane| lane.base.kind == Kind::Work(priority));
        let cancelled = lane.map(|lane| lane.take_further(acks)).unwrap_or_default();
        self.unsubscribe_all(&cancelled).await
    }

    /// Subscribes for more or for fewer companies of each queue, where that is much more or fewer and the queue has enough for it to
    /// matter; `acks` knows what is held.
    ///
    /// The prefetch of a subscription is fixed when it begins, so there are several, and they are added and cancelled. One is
    /// cancelled only while all of its prefetch is held: what the broker sends to a subscription that is being cancelled goes back,
    /// which RabbitMQ 3.10 counts as a delivery.
    pub(crate) async fn resize(&mut self, acks: &Acks, companies: usize) -> Result<(), BrokerError> {
        for at in 0..self.lanes.len() {
            let Some(lane) = self.lanes.get_mut(at) else { continue };
            let change = lane.change(acks, companies);
            if change != Change::Keep {
                tracing::debug!(queue = lane.base.queue, companies, ?change, "changing how much is held");
            }
            let (cancelled, added) = match change {
                Change::Keep => continue,
                Change::Cancel => (lane.take_further(acks), None),
                Change::Add(prefetch) => (Vec::new(), Some(prefetch)),
                Change::Replace(prefetch) => (lane.take_further(acks), Some(prefetch)),
            };
            if let Some(prefetch) = added {
                self.opened += 1;
                let subscription = Subscription { id: SubscriptionId(self.opened), prefetch, ..lane.base.clone() };
                lane.further.push(subscription.clone());
                self.subscribe(&subscription, FieldTable::default()).await?;
            }
            self.unsubscribe_all(&cancelled).await?;
        }
        Ok(())
    }

    /// Waits for work, and takes with it what has already arrived. Safe to cancel.
    pub(crate) async fn next(&mut self) -> Result<Arrival, BrokerError> {
        if let Some(failed) = self.failed.take() {
            return Err(failed);
        }
        let mut arrival = Arrival::default();
        // Nothing is awaited after the first: what has been taken would be lost with the future.
        let first = self.deliveries.next().await;
        self.sort(&mut arrival, first)?;
        while arrival.taken.len() < COALESCE {
            let Some(next) = self.deliveries.next().now_or_never() else { break };
            if let Err(failed) = self.sort(&mut arrival, next) {
                // What has come before it is noted first, as held when the connection was lost.
                self.failed = Some(failed);
                break;
            }
        }
        Ok(arrival)
    }

    fn sort(&self, arrival: &mut Arrival, next: Option<Arriving>) -> Result<(), BrokerError> {
        let Some((kind, subscription, delivery)) = next else { return Err(cancelled_by_broker(&self.suspects)) };
        let Some(delivery) = delivery else {
            // The end of one that was cancelled here comes too.
            let live = self.live().find(|live| live.id == subscription);
            return live.map_or(Ok(()), |live| Err(cancelled_by_broker(live)));
        };
        self.add(arrival, kind, subscription, delivery?);
        Ok(())
    }

    fn add(&self, arrival: &mut Arrival, kind: Kind, subscription: SubscriptionId, delivery: Delivery) {
        let Delivery { delivery_tag: tag, properties, data, .. } = delivery;
        arrival.tags.push((tag, subscription));
        match Work::read(&properties, Vec::new()) {
            Ok(mut work) => {
                work.record = data;
                let suspect = match kind {
                    Kind::Work(priority) => {
                        work.priority = priority;
                        false
                    }
                    Kind::Suspects => true,
                };
                let earlier = earlier_deliveries(&properties);
                arrival.taken.push(Taken {
                    deliveries: work.deliveries.saturating_add(earlier),
                    deliveries_alone: work.deliveries_alone.saturating_add(if suspect { earlier } else { 0 }),
                    earlier,
                    work,
                    tag,
                    session: self.session,
                    suspect,
                    alone: suspect,
                    taken_at: Instant::now(),
                });
            }
            Err(error) => {
                tracing::warn!(event = "malformed_work", %error, "a message on the work queue is no work; it goes to the dead queue");
                let message = Message { exchange: String::new(), routing_key: String::new(), properties, body: data };
                arrival.malformed.push(Malformed { tag, message, why: error.to_string() });
            }
        }
    }

    /// Gives a message back, for another consumer. RabbitMQ 3.10 counts that as a delivery.
    pub(crate) async fn give_back(&self, tag: u64) -> Result<(), BrokerError> {
        Ok(self.channel.basic_nack(tag, BasicNackOptions { multiple: false, requeue: true }).await?)
    }

    fn live(&self) -> impl Iterator<Item = &Subscription> {
        self.lanes.iter().flat_map(Lane::subscriptions).chain([&self.suspects])
    }

    /// Stops taking; returns what arrived and was not yet handed out.
    pub(crate) async fn close(&mut self) -> Result<Arrival, BrokerError> {
        for subscription in self.live() {
            self.unsubscribe(subscription).await?;
        }
        Ok(self.arrived_already())
    }

    /// Waits until the broker's queues have taken in every acknowledgement that was sent. Returns what arrived with that: it is
    /// to be acknowledged too, and so few acknowledgements get through at once.
    ///
    /// The broker's channel holds acknowledgements back while a quorum queue has many commands on their way, and forgets them
    /// when it is closed. To subscribe and to unsubscribe are commands that it waits for, in the order of the queue's log: the
    /// first comes back after all that was on its way, which lets go of what was held back; the second after that.
    pub(crate) async fn settled(&mut self) -> Result<Arrival, BrokerError> {
        // Behind every other consumer, so that a message comes only where nobody else has room for it.
        let mut last = FieldTable::default();
        last.insert("x-priority".into(), AMQPValue::LongInt(-1_000));
        let bases: Vec<Subscription> = self.lanes.iter().map(|lane| &lane.base).chain([&self.suspects]).cloned().collect();
        for base in bases {
            self.opened += 1;
            let one = Subscription { id: SubscriptionId(self.opened), prefetch: 1, ..base };
            self.subscribe(&one, last.clone()).await?;
            self.unsubscribe(&one).await?;
        }
        Ok(self.arrived_already())
    }

    /// Takes what has arrived and was not handed out. Where the connection is lost, each subscription ends with an error, behind what it
    /// has delivered.
    pub(crate) fn arrived_already(&mut self) -> Arrival {
        let mut arrival = Arrival::default();
        while let Some((kind, subscription, delivery)) = self.deliveries.next().now_or_never().flatten() {
            if let Some(Ok(delivery)) = delivery {
                self.add(&mut arrival, kind, subscription, delivery);
            }
        }
        arrival
    }

    async fn subscribe(&mut self, subscription: &Subscription, arguments: FieldTable) -> Result<(), BrokerError> {
        // For those who subscribe after it, each for itself.
        self.channel.basic_qos(subscription.prefetch, BasicQosOptions::default()).await?;
        let (queue, tag, options) = (subscription.queue.as_str().into(), subscription.tag(), BasicConsumeOptions::default());
        let consumer = self.channel.basic_consume(queue, tag.as_str().into(), options, arguments).await?;
        self.deliveries.push(labelled(consumer, subscription));
        Ok(())
    }

    async fn unsubscribe_all(&self, subscriptions: &[Subscription]) -> Result<(), BrokerError> {
        for subscription in subscriptions {
            self.unsubscribe(subscription).await?;
        }
        Ok(())
    }

    async fn unsubscribe(&self, subscription: &Subscription) -> Result<(), BrokerError> {
        Ok(self.channel.basic_cancel(subscription.tag().as_str().into(), BasicCancelOptions::default()).await?)
    }
}

/// The subscription's deliveries, each with what they are, and a last `None` when it has ended.
fn labelled(consumer: Consumer, subscription: &Subscription) -> Deliveries {
    let (kind, id) = (subscription.kind, subscription.id);
    let end = futures_util::stream::once(std::future::ready((kind, id, None)));
    Box::pin(consumer.map(move |delivery| (kind, id, Some(delivery))).chain(end))
}

fn cancelled_by_broker(subscription: &Subscription) -> BrokerError {
    BrokerError::Cancelled { queue: subscription.queue.clone() }
}
