//! Companies of paused jobs, which consumers have put into a queue of the job. If the job is resumed, they go back to the work queue of its
//! model; if it has ended, they are deleted.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, QueueDeleteOptions};
use rollcall_shared::broker::{BrokerConnection, BrokerError, Publisher};
use rollcall_shared::message::{Job, Message, Model, Work};
use rollcall_shared::topology::Topology;

use super::subscriptions::Subscriptions;
use crate::jobs::Jobs;

/// What the broker sends ahead; as many are moved together. Each may be 16 MB.
const PREFETCH: u16 = 32;

/// A queue that stays full is logged this often.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// How often a company is sent again to a queue that has no room.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// The queues of jobs that were paused and resumed, and have not ended.
pub(super) struct PausedCompanies {
    publisher: Publisher<usize>,
    resumed: Subscriptions<Job>,
    /// Companies that a full work queue has refused, and when they were last sent.
    refused: Resumed,
    refused_at: Instant,
    logged_at: Option<Instant>,
    /// The models of those jobs. Companies of a job that is not among them are dropped: it has ended.
    models: HashMap<Job, Model>,
}

/// Companies of resumed jobs, each as it was delivered and the message to send. One without a message is only removed from its queue.
#[derive(Default)]
pub(super) struct Resumed(Vec<(Option<Message>, Delivery)>);

impl PausedCompanies {
    /// Sends companies by `publisher`.
    pub(super) fn new(publisher: Publisher<usize>) -> PausedCompanies {
        let publisher = publisher.keep_nacked();
        let (resumed, refused_at) = (Subscriptions::new(PREFETCH), Instant::now());
        PausedCompanies { publisher, resumed, refused: Resumed::default(), refused_at, logged_at: None, models: HashMap::new() }
    }

    /// Subscribes to the queues of jobs that were resumed, and ends the subscriptions to those that were paused again.
    pub(super) async fn follow(
        &mut self,
        connection: &BrokerConnection,
        topology: &Topology,
        jobs: &Jobs,
    ) -> Result<(), BrokerError> {
        for (job, state) in jobs.all().filter(|(_, state)| state.was_paused()) {
            let is_resumed = !state.state().is_final() && !state.is_paused();
            match (is_resumed, self.resumed.has(job)) {
                (true, false) => {
                    let model = state.model();
                    self.models.insert(job.clone(), model.clone());
                    let declare = async |channel: &_| topology.declare_paused(channel, model, job).await;
                    self.resumed.add(connection, job, &topology.paused_queue(job), declare).await?;
                }
                // Companies that have arrived are sent nevertheless, and set aside again: returning them would count as a delivery.
                (false, true) => self.resumed.remove(job).await?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Deletes the queue of a job that has ended, with the companies that are left in it.
    pub(super) async fn delete_queue(
        &mut self,
        connection: &BrokerConnection,
        topology: &Topology,
        job: &Job,
    ) -> Result<(), BrokerError> {
        self.models.remove(job);
        self.resumed.remove(job).await?;
        let queue = topology.paused_queue(job);
        let deleted = connection
            .on_own_channel(async |channel| {
                Ok(channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await?)
            })
            .await;
        match deleted {
            Err(error) if !connection.is_connected() => Err(error),
            Err(error) => {
                tracing::warn!(event = "queue_refused", %error, queue, "cannot delete the queue of a job that was paused and has ended");
                Ok(())
            }
            Ok(_) => Ok(()),
        }
    }

    /// Waits for a company of a resumed job, and returns it with others that have already arrived. Cancel-safe.
    pub(super) async fn next(&mut self, topology: &Topology) -> Resumed {
        let arrived = self.resumed.next(PREFETCH.into()).await;
        let mut resumed = Resumed::default();
        for (job, delivery) in arrived {
            resumed.add(delivery, self.models.get(&job), topology);
        }
        resumed
    }

    /// Sends companies to the work queue of their model, and then removes them from the queue of their job. If that one's channel is closed,
    /// they are delivered again. Those that the work queue refuses are kept for [`PausedCompanies::retry_refused`].
    pub(super) async fn put_back(&mut self, Resumed(companies): Resumed) -> Result<(), BrokerError> {
        let (messages, deliveries): (Vec<Option<Message>>, Vec<Delivery>) = companies.into_iter().unzip();
        let messages = messages.into_iter().enumerate().filter_map(|(at, message)| Some((at, message?)));
        self.publisher.publish(messages.collect()).await?;
        self.publisher.flush().await?;
        let mut refused: HashMap<usize, Message> = self.publisher.take_nacked().into_iter().collect();
        if let Some(message) = refused.values().next()
            && self.logged_at.is_none_or(|logged_at| logged_at.elapsed() >= LOG_EVERY)
        {
            self.logged_at = Some(Instant::now());
            tracing::warn!(
                event = "queue_full",
                exchange = message.exchange,
                routing_key = message.routing_key,
                "a queue is full, most likely by a policy; resumed companies wait until it has room. `rabbitmqctl list_queues name messages policy` shows the policy"
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
                tracing::debug!(%error, "cannot acknowledge a resumed company; it is delivered again");
            }
        }
        Ok(())
    }

    /// Sends the companies again that a work queue has refused.
    pub(super) async fn retry_refused(&mut self) -> Result<(), BrokerError> {
        if self.refused.0.is_empty() || self.refused_at.elapsed() < RETRY_AFTER {
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
                tracing::error!(event = "malformed_work", %error, "a message in the queue of a paused job is not a work message; it is dropped");
                None
            }
        };
        self.0.push((message, delivery));
    }
}
