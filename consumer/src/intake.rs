//! Takes work from the broker.

use std::pin::Pin;

use futures_util::stream::{SelectAll, StreamExt};
use futures_util::{FutureExt, Stream};
use lapin::message::Delivery;
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions, BasicRejectOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Consumer};
use rollcall_shared::broker::{BrokerError, COALESCE};
use rollcall_shared::message::{Model, Work};
use rollcall_shared::topology::Topology;

/// A company taken, and what is needed to settle it.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) work: Work,
    /// The delivery tag on the session's channel.
    pub(crate) tag: u64,
    /// Which session's channel: a tag means nothing on another.
    pub(crate) session: u64,
    pub(crate) express: bool,
}

/// The subscription to a model's two queues, on one channel.
pub(crate) struct Intake {
    pub(crate) channel: Channel,
    deliveries: SelectAll<Deliveries>,
    session: u64,
}

type Deliveries = Pin<Box<dyn Stream<Item = Arriving> + Send>>;

/// Whether it is express, and a delivery; nothing once the broker has ended the subscription.
type Arriving = (bool, Option<lapin::Result<Delivery>>);

/// What the broker sent: companies, and the tags of messages that are no work.
pub(crate) struct Arrival {
    pub(crate) taken: Vec<Taken>,
    pub(crate) malformed: Vec<u64>,
}

const QUEUES: [(&str, bool); 2] = [("work", false), ("express", true)];

impl Intake {
    /// Subscribes, for at most `prefetch` unsettled companies a queue.
    pub(crate) async fn open(
        channel: Channel,
        topology: &Topology,
        model: &Model,
        prefetch: u16,
        session: u64,
    ) -> Result<Intake, BrokerError> {
        channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
        let mut deliveries = SelectAll::new();
        for (tag, express) in QUEUES {
            let queue = if express { topology.express_queue(model) } else { topology.work_queue(model) };
            let options = BasicConsumeOptions::default();
            let consumer = channel.basic_consume(queue.into(), tag.into(), options, FieldTable::default()).await?;
            deliveries.push(labelled(consumer, express));
        }
        Ok(Intake { channel, deliveries, session })
    }

    /// Waits for work, and takes with it what has already arrived. Safe to cancel.
    pub(crate) async fn next(&mut self) -> Result<Arrival, BrokerError> {
        let mut arrival = Arrival { taken: Vec::new(), malformed: Vec::new() };
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
        let Some((express, Some(delivery))) = next else {
            return Err(BrokerError::Lost("the broker cancelled the consumer of work".to_owned()));
        };
        let Delivery { delivery_tag: tag, properties, data, .. } = delivery?;
        match Work::read(&properties, data) {
            Ok(work) => arrival.taken.push(Taken { work, tag, session: self.session, express }),
            Err(error) => {
                tracing::warn!(%error, "a message on the work queue is no work; it goes to the dead queue");
                arrival.malformed.push(tag);
            }
        }
        Ok(())
    }

    /// Sends a message that is no work to the dead queue.
    pub(crate) async fn refuse(&self, tag: u64) -> Result<(), BrokerError> {
        Ok(self.channel.basic_reject(tag, BasicRejectOptions { requeue: false }).await?)
    }

    /// Gives a company back, for another consumer.
    pub(crate) async fn give_back(&self, tag: u64) -> Result<(), BrokerError> {
        Ok(self.channel.basic_nack(tag, BasicNackOptions { multiple: false, requeue: true }).await?)
    }

    /// Stops taking; returns the tags of what arrived and was not yet handed out.
    pub(crate) async fn close(&mut self) -> Result<Vec<u64>, BrokerError> {
        for (tag, _) in QUEUES {
            self.channel.basic_cancel(tag.into(), BasicCancelOptions::default()).await?;
        }
        let mut tags = Vec::new();
        while let Some((_, delivery)) = self.deliveries.next().now_or_never().flatten() {
            if let Some(delivery) = delivery {
                tags.push(delivery?.delivery_tag);
            }
        }
        Ok(tags)
    }
}

/// The consumer's deliveries, each with which queue it is from, and a last nothing when the broker has ended it.
fn labelled(consumer: Consumer, express: bool) -> Deliveries {
    let end = futures_util::stream::once(std::future::ready((express, None)));
    Box::pin(consumer.map(move |delivery| (express, Some(delivery))).chain(end))
}
