//! Companies of paused jobs: when a job is resumed, they go back to where they were taken from; when it has ended, they are forgotten.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, QueueDeleteOptions};
use rollcall_shared::broker::{BrokerConnection, BrokerError, Publisher};
use rollcall_shared::message::{Job, Message, Model, Work};
use rollcall_shared::topology::Topology;

use super::subscriptions::Subscriptions;
use crate::ledger::Ledger;

/// What the broker sends ahead; as many are moved together. Each may have sixteen megabytes.
const PREFETCH: u16 = 32;

/// A queue that stays full is logged this often.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// How often a company is sent again to a queue that has no room.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// The queues of jobs that were paused, go on, and have not ended.
pub(super) struct PausedCompanies {
    publisher: Publisher<usize>,
    resumed: Subscriptions<Job>,
    /// Companies that their queue has no room for, and when they were tried last.
    refused: Resumed,
    refused_at: Instant,
    logged: Option<Instant>,
    /// The models of those jobs. What still comes of a job that is not among them is no longer wanted.
    models: HashMap<Job, Model>,
}

/// Companies on their way back, each as it was delivered; without a message, it is only taken out of its queue.
#[derive(Default)]
pub(super) struct Resumed(Vec<(Option<Message>, Delivery)>);

impl PausedCompanies {
    /// Moves companies by `publisher`.
    pub(super) fn new(publisher: Publisher<usize>) -> PausedCompanies {
        let publisher = publisher.keep_nacked();
        let (resumed, refused_at) = (Subscriptions::new(PREFETCH), Instant::now());
        PausedCompanies { publisher, resumed, refused: Resumed::default(), refused_at, logged: None, models: HashMap::new() }
    }

    /// Begins to take from the queues of jobs that were resumed, and stops where they were paused again.
    pub(super) async fn follow(
        &mut self,
        link: &BrokerConnection,
        topology: &Topology,
        ledger: &Ledger,
    ) -> Result<(), BrokerError> {
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
    pub(super) async fn forget(&mut self, link: &BrokerConnection, topology: &Topology, job: &Job) -> Result<(), BrokerError> {
        self.models.remove(job);
        self.resumed.remove(job).await?;
        let queue = topology.paused_queue(job);
        let deleted = link
            .on_own_channel(async |channel| {
                Ok(channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await?)
            })
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
        let mut resumed = Resumed::default();
        for (job, delivery) in arrived {
            resumed.add(delivery, self.models.get(&job), topology);
        }
        resumed
    }

    /// Stores companies where they were taken from, and then takes them out of the queue. Where their channel is gone, they come again. Those
    /// that their queue has no room for are kept, and tried again by [`PausedCompanies::try_again`].
    pub(super) async fn put_back(&mut self, Resumed(companies): Resumed) -> Result<(), BrokerError> {
        let (messages, deliveries): (Vec<Option<Message>>, Vec<Delivery>) = companies.into_iter().unzip();
        let messages = messages.into_iter().enumerate().filter_map(|(at, message)| Some((at, message?)));
        self.publisher.publish(messages.collect()).await?;
        self.publisher.flush().await?;
        let mut refused: HashMap<usize, Message> = self.publisher.take_nacked().into_iter().collect();
        if let Some(message) = refused.values().next()
            && self.logged.is_none_or(|logged| logged.elapsed() >= LOG_EVERY)
        {
            self.logged = Some(Instant::now());
            tracing::warn!(
                event = "queue_full",
                exchange = message.exchange,
                routing_key = message.routing_key,
                "a queue takes no more, most likely by a policy; resumed companies wait until it does. `rabbitmqctl list_queues name messages policy` shows it"
            );
        }
        let mut stored = Vec::with_capacity(deliveries.len());
        for (at, delivery) in deliveries.into_iter().enumerate() {
            match refused.remove(&at) {
                Some(message) => self.refused.0.push((Some(message), delivery)),
                None => stored.push(delivery),
            }
        }
        for acknowledged in join_all(stored.iter().map(|delivery| delivery.ack(BasicAckOptions::default()))).await {
            if let Err(error) = acknowledged {
                tracing::debug!(%error, "a resumed company is not acknowledged");
            }
        }
        Ok(())
    }

    /// Sends again what a queue had no room for.
    pub(super) async fn try_again(&mut self) -> Result<(), BrokerError> {
        if self.refused.0.is_empty() || self.refused_at.elapsed() < TRY_AGAIN_AFTER {
            return Ok(());
        }
        self.refused_at = Instant::now();
        let refused = std::mem::take(&mut self.refused);
        self.put_back(refused).await
    }
}

impl Resumed {
    fn add(&mut self, mut delivery: Delivery, model: Option<&Model>, topology: &Topology) {
        let work = Work::read(&delivery.properties, std::mem::take(&mut delivery.data));
        let message = match (work, model) {
            (Ok(work), Some(model)) => Some(Message {
                exchange: topology.work(),
                routing_key: Topology::work_key(model, work.priority),
                properties: work.properties(),
                body: work.record,
            }),
            (Ok(_), None) => None,
            (Err(error), _) => {
                tracing::error!(%error, "a message among paused companies is no work; it is dropped");
                None
            }
        };
        self.0.push((message, delivery));
    }
}
