//! Companies of paused jobs: when a job is resumed, they go back to where they were taken from; when it has ended, they are forgotten.

use std::collections::HashMap;

use futures_util::future::select_all;
use futures_util::{FutureExt, StreamExt};
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Consumer};
use rollcall_shared::broker::{BrokerError, Link, Publisher};
use rollcall_shared::message::{Job, Message, Model, Work};
use rollcall_shared::topology::Topology;

use crate::aggregator::ledger::Ledger;

/// What the broker sends ahead; as many are moved together.
const PREFETCH: u16 = 500;

/// The queues of jobs that were paused, go on, and have not ended.
#[derive(Default)]
pub(super) struct PausedCompanies {
    resumed: HashMap<Job, Queue>,
}

struct Queue {
    channel: Channel,
    consumer: Consumer,
    model: Model,
}

/// Companies on their way back.
pub(super) struct Resumed {
    messages: Vec<((), Message)>,
    channel: Channel,
    last_tag: u64,
}

impl PausedCompanies {
    /// Begins to take from the queues of jobs that were resumed, and stops where they were paused again.
    pub(super) async fn follow(&mut self, link: &Link, topology: &Topology, ledger: &Ledger) -> Result<(), BrokerError> {
        for (job, count) in ledger.jobs().filter(|(_, count)| count.was_paused()) {
            let running = !count.state().is_final() && !count.is_paused();
            match (running, self.resumed.contains_key(job), count.model()) {
                (true, false, Some(model)) => {
                    let queue = Queue::open(link.channel().await?, topology, job, model.clone()).await?;
                    self.resumed.insert(job.clone(), queue);
                }
                (false, true, _) => self.leave(job).await?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Forgets the companies of a job that has ended without them.
    pub(super) async fn forget(&mut self, link: &Link, topology: &Topology, job: &Job) -> Result<(), BrokerError> {
        self.leave(job).await?;
        let channel = link.channel().await?;
        channel.queue_delete(topology.paused_queue(job).into(), QueueDeleteOptions::default()).await?;
        Ok(channel.close(200, "deleted".into()).await?)
    }

    /// What was sent ahead goes back into the queue with the end of the channel.
    async fn leave(&mut self, job: &Job) -> Result<(), BrokerError> {
        match self.resumed.remove(job) {
            Some(queue) => Ok(queue.channel.close(200, "paused or ended".into()).await?),
            None => Ok(()),
        }
    }

    /// Waits for companies of a resumed job, and takes with them what has already arrived. Safe to cancel.
    pub(super) async fn next(&mut self, topology: &Topology) -> Result<Resumed, BrokerError> {
        let waits = self.resumed.values_mut().map(|Queue { channel, consumer, model }| {
            Box::pin(async move { (consumer.next().await, consumer, channel.clone(), model.clone()) })
        });
        let waits: Vec<_> = waits.collect();
        if waits.is_empty() {
            return std::future::pending().await;
        }
        // Nothing is awaited after the first: what has been taken would be lost with the future.
        let ((first, consumer, channel, model), _, _) = select_all(waits).await;
        let mut resumed = Resumed { messages: Vec::new(), channel, last_tag: 0 };
        resumed.add(first, &model, topology)?;
        while resumed.messages.len() < usize::from(PREFETCH) {
            let Some(next) = consumer.next().now_or_never() else { break };
            resumed.add(next, &model, topology)?;
        }
        Ok(resumed)
    }
}

impl Queue {
    async fn open(channel: Channel, topology: &Topology, job: &Job, model: Model) -> Result<Queue, BrokerError> {
        topology.declare_paused(&channel, job).await?;
        channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
        let (queue, options) = (topology.paused_queue(job), BasicConsumeOptions::default());
        let consumer = channel.basic_consume(queue.into(), "paused".into(), options, FieldTable::default()).await?;
        Ok(Queue { channel, consumer, model })
    }
}

impl Resumed {
    fn add(&mut self, next: Option<lapin::Result<Delivery>>, model: &Model, topology: &Topology) -> Result<(), BrokerError> {
        let lost = || BrokerError::Lost("the broker cancelled the consumer of a resumed job's companies".to_owned());
        let delivery = next.ok_or_else(lost)??;
        self.last_tag = delivery.delivery_tag;
        match Work::read(&delivery.properties, delivery.data) {
            Ok(work) => self.messages.push((
                (),
                Message {
                    exchange: topology.work(),
                    routing_key: Topology::work_key(model, work.priority),
                    properties: work.properties(),
                    body: work.record,
                },
            )),
            Err(error) => tracing::error!(%error, "a message among paused companies is no work; it is dropped"),
        }
        Ok(())
    }

    /// Stores them where they were taken from, and then takes them out of the queue.
    pub(super) async fn put_back(self, publisher: &mut Publisher<()>) -> Result<(), BrokerError> {
        publisher.publish(self.messages).await?;
        publisher.flush().await?;
        Ok(self.channel.basic_ack(self.last_tag, BasicAckOptions { multiple: true }).await?)
    }
}
