//! Takes work from the broker.

use std::pin::Pin;
use std::time::Instant;

use futures_util::stream::{SelectAll, StreamExt};
use futures_util::{FutureExt, Stream};
use lapin::message::Delivery;
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions, BasicRejectOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Consumer};
use rollcall_shared::broker::{BrokerError, COALESCE};
use rollcall_shared::message::{Model, Priority, Work, earlier_deliveries};
use rollcall_shared::topology::Topology;

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
    /// Whether it came by the queue of suspects.
    pub(crate) suspect: bool,
    /// Whether it was delivered as a suspect before, and got no answer: that was its doing and no neighbour's.
    pub(crate) guilty: bool,
    /// Whether it must be scored by itself: in a batch, it or a neighbour has failed.
    pub(crate) alone: bool,
    pub(crate) taken_at: Instant,
}

/// The subscription to a model's queues, on one channel.
pub(crate) struct Intake {
    pub(crate) channel: Channel,
    lanes: Vec<Lane>,
    deliveries: SelectAll<Deliveries>,
    session: u64,
}

/// A queue that work comes from.
struct Lane {
    queue: String,
    kind: Kind,
    prefetch: u16,
}

/// What waits in a queue.
#[derive(Clone, Copy)]
enum Kind {
    /// Companies of this priority, whatever they say themselves.
    Work(Priority),
    Suspects,
}

impl Lane {
    fn tag(&self) -> &str {
        &self.queue
    }
}

type Deliveries = Pin<Box<dyn Stream<Item = Arriving> + Send>>;

/// A delivery of this kind; nothing once the broker has ended the subscription.
type Arriving = (Kind, Option<lapin::Result<Delivery>>);

/// What the broker sent: companies, and the tags of messages that are no work.
#[derive(Default)]
pub(crate) struct Arrival {
    pub(crate) taken: Vec<Taken>,
    pub(crate) malformed: Vec<u64>,
}

impl Intake {
    /// Subscribes, for at most `prefetch` unsettled companies a queue; of suspects, one: what it kills is then held with
    /// nothing else of its kind.
    pub(crate) async fn open(
        channel: Channel,
        topology: &Topology,
        model: &Model,
        prefetch: u16,
        session: u64,
    ) -> Result<Intake, BrokerError> {
        let lane = |priority| Lane { queue: topology.work_queue(model, priority), kind: Kind::Work(priority), prefetch };
        let suspects = Lane { queue: topology.suspect_queue(model), kind: Kind::Suspects, prefetch: 1 };
        let lanes = vec![lane(Priority::Normal), lane(Priority::High), suspects];
        let mut deliveries = SelectAll::new();
        for lane in &lanes {
            let consumer = subscribe(&channel, lane, FieldTable::default()).await?;
            deliveries.push(labelled(consumer, lane.kind));
        }
        Ok(Intake { channel, lanes, deliveries, session })
    }

    /// Waits for work, and takes with it what has already arrived. Safe to cancel.
    pub(crate) async fn next(&mut self) -> Result<Arrival, BrokerError> {
        let mut arrival = Arrival::default();
        // Nothing is awaited after the first: what has been taken would be lost with the future.
        let first = self.deliveries.next().await;
        self.sort(&mut arrival, first)?;
        while arrival.taken.len() < COALESCE {
            let Some(next) = self.deliveries.next().now_or_never() else { break };
            self.sort(&mut arrival, next)?;
        }
        Ok(arrival)
    }

    fn sort(&self, arrival: &mut Arrival, next: Option<Arriving>) -> Result<(), BrokerError> {
        let Some((kind, Some(delivery))) = next else {
            return Err(BrokerError::Lost("the broker cancelled the consumer of work".to_owned()));
        };
        let Delivery { delivery_tag: tag, properties, data, .. } = delivery?;
        match Work::read(&properties, data) {
            Ok(mut work) => {
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
                    work,
                    tag,
                    session: self.session,
                    suspect,
                    guilty: suspect && earlier > 0,
                    alone: suspect,
                    taken_at: Instant::now(),
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a message on the work queue is no work; it goes to the dead queue");
                arrival.malformed.push(tag);
            }
        }
        Ok(())
    }

    /// Sends a message to the dead queue.
    pub(crate) async fn refuse(&self, tag: u64) -> Result<(), BrokerError> {
        Ok(self.channel.basic_reject(tag, BasicRejectOptions { requeue: false }).await?)
    }

    /// Gives a message back, for another consumer. RabbitMQ 3.10 counts that as a delivery.
    pub(crate) async fn give_back(&self, tag: u64) -> Result<(), BrokerError> {
        Ok(self.channel.basic_nack(tag, BasicNackOptions { multiple: false, requeue: true }).await?)
    }

    /// Stops taking; returns what arrived and was not yet handed out.
    pub(crate) async fn close(&mut self) -> Result<Arrival, BrokerError> {
        for lane in &self.lanes {
            self.channel.basic_cancel(lane.tag().into(), BasicCancelOptions::default()).await?;
        }
        self.arrived_already()
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
        for lane in &self.lanes {
            let one = Lane { queue: lane.queue.clone(), kind: lane.kind, prefetch: 1 };
            self.deliveries.push(labelled(subscribe(&self.channel, &one, last.clone()).await?, one.kind));
            self.channel.basic_cancel(one.tag().into(), BasicCancelOptions::default()).await?;
        }
        self.arrived_already()
    }

    fn arrived_already(&mut self) -> Result<Arrival, BrokerError> {
        let mut arrival = Arrival::default();
        while let Some(next) = self.deliveries.next().now_or_never().flatten() {
            if next.1.is_some() {
                self.sort(&mut arrival, Some(next))?;
            }
        }
        Ok(arrival)
    }
}

async fn subscribe(channel: &Channel, lane: &Lane, arguments: FieldTable) -> Result<Consumer, BrokerError> {
    // For those who subscribe after it, each for itself.
    channel.basic_qos(lane.prefetch, BasicQosOptions::default()).await?;
    let (queue, options) = (lane.queue.as_str().into(), BasicConsumeOptions::default());
    Ok(channel.basic_consume(queue, lane.tag().into(), options, arguments).await?)
}

/// The consumer's deliveries, each with its kind, and a last nothing when the broker has ended it.
fn labelled(consumer: Consumer, kind: Kind) -> Deliveries {
    let end = futures_util::stream::once(std::future::ready((kind, None)));
    Box::pin(consumer.map(move |delivery| (kind, Some(delivery))).chain(end))
}
