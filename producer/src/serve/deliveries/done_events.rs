//! Takes done events from a queue, several at a time, and does something about each until it has succeeded or is given up.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use lapin::message::Delivery;
use lapin::options::BasicAckOptions;
use rollcall_shared::broker::{BrokerConnection, BrokerError, Subscription, connect, supervise};
use rollcall_shared::lifecycle::Shutdown;
use rollcall_shared::message::{Done, Event, JobEvent, JobStatus};

use super::redelivery::{Attempts, again_after};
use crate::error::ProducerError;
use crate::serve::gateway::Gateway;
use crate::serve::refusals::Refusal;

/// What follows from a done event.
pub(super) enum Followed {
    /// Nothing is left to be done.
    Finished,
    /// It has failed, and is to be tried again.
    Failed(String),
    /// It has failed, and will fail again.
    Hopeless(String),
}

/// Something that follows from done events.
pub(super) struct Follower<'a> {
    /// The name of its refusals.
    pub(super) trigger: &'static str,
    /// Its queue.
    pub(super) queue: String,
    /// Events that are dealt with at a time.
    pub(super) at_a_time: u16,
    pub(super) gateway: &'a Arc<Gateway>,
}

impl Follower<'_> {
    /// Takes events until an error that no new connection mends. `follow` is told the delay before the next attempt if this one fails.
    pub(super) async fn run(
        &self,
        follow: impl AsyncFn(Done, JobStatus, &Event, &[u8], Option<Duration>) -> Followed,
    ) -> Result<(), BrokerError> {
        let session = async || self.session(&follow).await;
        supervise(&self.gateway.broker, &Shutdown::never(), Duration::ZERO, || {}, session).await
    }

    async fn session(
        &self,
        follow: &impl AsyncFn(Done, JobStatus, &Event, &[u8], Option<Duration>) -> Followed,
    ) -> Result<(), BrokerError> {
        let link = connect(&self.gateway.broker, &format!("rollcall gateway: {}", self.trigger)).await?;
        let channel = link.channel().await?;
        let topology = self.gateway.broker.topology();
        topology.declare_gateway(&channel).await?;
        topology.declare_done_events(&channel, &self.queue).await?;
        let mut events = Subscription::open(&channel, &self.queue, self.trigger, self.at_a_time).await?;
        let mut at_work = FuturesUnordered::new();
        loop {
            tokio::select! {
                delivery = events.next() => at_work.push(self.handle(delivery?, follow, &link)),
                Some(handled) = at_work.next() => handled?,
            }
        }
    }

    async fn handle(
        &self,
        delivery: Delivery,
        follow: &impl AsyncFn(Done, JobStatus, &Event, &[u8], Option<Duration>) -> Followed,
        link: &BrokerConnection,
    ) -> Result<(), BrokerError> {
        if let Ok(event @ Event { event: JobEvent::Done(_), .. }) = Event::read(&delivery.data) {
            let JobEvent::Done(done) = event.event.clone() else { return Ok(()) };
            let (subject, attempts) = (done.job.to_string(), Attempts::of(&delivery));
            let delay = attempts.next_delay();
            let followed = match self.status_if_true(&done).await {
                Ok(Some(status)) => follow(done, status, &event, &delivery.data, delay).await,
                // Somebody has made it up, or the job is long forgotten.
                Ok(None) => Followed::Hopeless(
                    "expected the done event of a job that has ended, found one that the aggregator does not know".to_owned(),
                ),
                Err(error) => Followed::Failed(error.to_string()),
            };
            match (followed, delay) {
                (Followed::Finished, _) => {}
                (Followed::Failed(reason), Some(delay)) => {
                    tracing::warn!(
                        event = "delivery_failed",
                        what = self.trigger,
                        job = subject,
                        reason,
                        again_after_seconds = delay.as_secs(),
                        "what follows from a job has failed; trying again"
                    );
                    again_after(delay, attempts, &delivery, &self.queue, &self.gateway.broker.topology(), link).await?;
                }
                (Followed::Failed(reason) | Followed::Hopeless(reason), _) => {
                    let refusal = Refusal { trigger: self.trigger, subject: &subject, reason: &reason };
                    refusal.bury(delivery.data.clone(), self.gateway).await?;
                }
            }
        }
        Ok(delivery.acker.ack(BasicAckOptions::default()).await.map(drop)?)
    }

    /// The job's status if it has ended as the event says: anybody may have published that. The leader takes a moment to read back its own event.
    async fn status_if_true(&self, done: &Done) -> Result<Option<JobStatus>, ProducerError> {
        let mut session = self.gateway.queries.session("rollcall gateway: has a job ended").await?;
        let aggregator = session.aggregator().await?;
        let is_true = |status: &JobStatus| status.done_at.is_some() || status.redrives > done.redrives;
        let found = match aggregator.wait_until(&done.job, "end", is_true).await {
            Ok(status) => Ok(Some(status)),
            Err(ProducerError::JobState(_) | ProducerError::NoSuchJob(_)) => Ok(None),
            Err(error) => Err(error),
        };
        session.close().await;
        found
    }
}
