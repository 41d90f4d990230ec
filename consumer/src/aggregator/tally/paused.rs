//! Companies of paused jobs: when a job is resumed, they go back to where they were taken from; when it has ended, they are forgotten.

use std::collections::HashMap;

use futures_util::future::join_all;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, QueueDeleteOptions};
use rollcall_shared::broker::{BrokerError, Link, Publisher};
use rollcall_shared::message::{Job, Message, Model, Work};
use rollcall_shared::topology::Topology;

use super::subscriptions::Subscriptions;
use crate::aggregator::ledger::Ledger;

/// What the broker sends ahead; as many are moved together. Each may have sixteen megabytes.
const PREFETCH: u16 = 32;

/// The queues of jobs that were paused, go on, and have not ended.
pub(super) struct PausedCompanies {
    resumed: Subscriptions<Job>,
    /// The models of those jobs. What still comes of a job that is not among them is no longer wanted.
    models: HashMap<Job, Model>,
}

/// Companies on their way back.
pub(super) struct Resumed {
    messages: Vec<((), Message)>,
    deliveries: Vec<Delivery>,
}

impl PausedCompanies {
    pub(super) fn new() -> PausedCompanies {
        PausedCompanies { resumed: Subscriptions::new(PREFETCH), models: HashMap::new() }
    }

    /// Begins to take from the queues of jobs that were resumed, and stops where they were paused again.
    pub(super) async fn follow(&mut self, link: &Link, topology: &Topology, ledger: &Ledger) -> Result<(), BrokerError> {
        for (job, count) in ledger.jobs().filter(|(_, count)| count.was_paused()) {
            let running = !count.state().is_final() && !count.is_paused();
            match (running, self.resumed.has(job)) {
                (true, false) => {
                    let model = count.model();
                    self.models.insert(job.clone(), model.clone());
                    let declare = async |channel: &_| topology.declare_paused(channel, model, job).await;
                    self.resumed.add(link, job, &topology.paused_queue(job), declare).await?;
                }
                // What has arrived goes on its way all the same, and is set aside again: a return would count as a delivery.
                (false, true) => self.resumed.remove(job).await?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Forgets the companies of a job that has ended without them.
    pub(super) async fn forget(&mut self, link: &Link, topology: &Topology, job: &Job) -> Result<(), BrokerError> {
        self.models.remove(job);
        self.resumed.remove(job).await?;
        let queue = topology.paused_queue(job);
        let deleted = link
            .apart(async |channel| Ok(channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await?))
            .await;
        match deleted {
            Err(error) if !link.is_connected() => Err(error),
            Err(error) => {
                tracing::warn!(event = "queue_refused", %error, queue, "the queue of a job that was paused and has ended is not deleted");
                Ok(())
            }
            Ok(_) => Ok(()),
        }
    }

    /// Waits for companies of resumed jobs, and takes with them what has already arrived. Safe to cancel.
    pub(super) async fn next(&mut self, topology: &Topology) -> Resumed {
        let arrived = self.resumed.next(PREFETCH.into()).await;
        let mut resumed = Resumed { messages: Vec::new(), deliveries: Vec::with_capacity(arrived.len()) };
        for (job, delivery) in arrived {
            resumed.add(delivery, self.models.get(&job), topology);
        }
        resumed
    }
}

impl Resumed {
    fn add(&mut self, mut delivery: Delivery, model: Option<&Model>, topology: &Topology) {
        let work = Work::read(&delivery.properties, std::mem::take(&mut delivery.data));
        match (work, model) {
            (Ok(work), Some(model)) => self.messages.push((
                (),
                Message {
                    exchange: topology.work(),
                    routing_key: Topology::work_key(model, work.priority),
                    properties: work.properties(),
                    body: work.record,
                },
            )),
            (Ok(_), None) => {}
            (Err(error), _) => tracing::error!(%error, "a message among paused companies is no work; it is dropped"),
        }
        self.deliveries.push(delivery);
    }

    /// Stores them where they were taken from, and then takes them out of the queue. Where their channel is gone, they come again.
    pub(super) async fn put_back(self, publisher: &mut Publisher<()>) -> Result<(), BrokerError> {
        publisher.publish(self.messages).await?;
        publisher.flush().await?;
        for acknowledged in join_all(self.deliveries.iter().map(|delivery| delivery.ack(BasicAckOptions::default()))).await {
            if let Err(error) = acknowledged {
                tracing::debug!(%error, "a resumed company is not acknowledged");
            }
        }
        Ok(())
    }
}
