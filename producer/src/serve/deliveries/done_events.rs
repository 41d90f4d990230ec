//! Takes done events from a queue, several at a time, and does something about each until it has succeeded or is given up.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use lapin::message::Delivery;
use lapin::options::BasicAckOptions;
use rollcall_shared::broker::{BrokerConnection, BrokerError, Subscription, connect, supervise};
use rollcall_shared::message::{Done, Event, JobEvent, JobStatus, Timestamp};

use crate::error::ProducerError;
use crate::serve::gateway::Gateway;
use crate::serve::redelivery::{Attempts, again_after};
use crate::serve::refusals::Refusal;

/// What has come of a done event.
pub(super) enum Outcome {
    /// Nothing is left to be done.
    Finished,
    /// It has failed, and is to be tried again.
    Failed(String),
    /// It has failed, and will fail again.
    Hopeless(String),
}

/// Whether a job has ended as an event says, which anybody may have published.
pub(super) enum Proof {
    /// It has.
    Ended(Box<JobStatus>),
    /// It had when this was tried before, and the aggregator may have forgotten it since.
    EndedBefore,
    /// The aggregator does not know it: somebody has made it up, or it is long forgotten.
    Missing,
}

/// Something that follows from done events.
pub(super) struct Follower<'a> {
    /// The name of its refusals.
    pub(super) trigger: &'static str,
    /// Its queue.
    pub(super) queue: String,
    /// Events that are dealt with at a time.
    pub(super) at_a_time: u16,
    /// Which events it is told of.
    pub(super) concerns: &'a (dyn Fn(&Done) -> bool + Sync),
    pub(super) gateway: &'a Arc<Gateway>,
}

/// An aggregator has read its own done event by then.
const FRESH: Duration = Duration::from_secs(60);

impl Follower<'_> {
    /// Takes events until the gateway is asked to stop, and then ends what it has begun. `follow` is told the delay before the next attempt if
    /// this one fails.
    ///
    /// # Errors
    /// One that no new connection mends.
    pub(super) async fn run(
        &self,
        follow: impl AsyncFn(Done, Proof, &Event, &[u8], Option<Duration>) -> Outcome,
    ) -> Result<(), BrokerError> {
        let session = async || self.session(&follow).await;
        // The gateway itself does not wait for longer than its grace.
        supervise(&self.gateway.broker, &self.gateway.shutdown, Duration::MAX, || {}, session).await
    }

    async fn session(
        &self,
        follow: &impl AsyncFn(Done, Proof, &Event, &[u8], Option<Duration>) -> Outcome,
    ) -> Result<(), BrokerError> {
        let link = connect(&self.gateway.broker, &format!("rollcall gateway: {}", self.trigger)).await?;
        let channel = link.channel().await?;
        let topology = self.gateway.broker.topology();
        topology.declare_gateway(&channel).await?;
        topology.declare_done_events(&channel, &self.queue).await?;
        let mut events = Subscription::open(&channel, &self.queue, self.trigger, self.at_a_time).await?;
        let (mut at_work, mut is_stopping) = (FuturesUnordered::new(), false);
        loop {
            tokio::select! {
                delivery = events.next(), if !is_stopping => at_work.push(self.handle(delivery?, follow, &link)),
                Some(handled) = at_work.next() => handled?,
                // The rest is another gateway's.
                () = self.gateway.shutdown.requested(), if !is_stopping => is_stopping = true,
                else => return Ok(()),
            }
        }
    }

    async fn handle(
        &self,
        delivery: Delivery,
        follow: &impl AsyncFn(Done, Proof, &Event, &[u8], Option<Duration>) -> Outcome,
        link: &BrokerConnection,
    ) -> Result<(), BrokerError> {
        match done_event(&delivery.data) {
            Ok((done, _)) if !(self.concerns)(&done) => {}
            Ok((done, event)) => self.handle_done(done, &event, &delivery, follow, link).await?,
            Err(reason) => self.give_up("a message", &reason, &delivery).await?,
        }
        Ok(delivery.acker.ack(BasicAckOptions::default()).await.map(drop)?)
    }

    async fn handle_done(
        &self,
        done: Done,
        event: &Event,
        delivery: &Delivery,
        follow: &impl AsyncFn(Done, Proof, &Event, &[u8], Option<Duration>) -> Outcome,
        link: &BrokerConnection,
    ) -> Result<(), BrokerError> {
        let (subject, attempts) = (done.job.to_string(), Attempts::of(delivery));
        let delay = attempts.next_delay();
        let (outcome, attempts) = match self.proof(&done, attempts).await {
            // By a clock that is ahead, an event that has just been published is an old one, which is not waited for.
            Ok(Proof::Missing) if !attempts.is_retry() => {
                (Outcome::Failed("expected a job that has ended, found none yet".to_owned()), attempts)
            }
            Ok(proof) => {
                let proved = if matches!(proof, Proof::Missing) { attempts } else { attempts.proved() };
                (follow(done, proof, event, &delivery.data, delay).await, proved)
            }
            Err(error) => (Outcome::Failed(error.to_string()), attempts),
        };
        match (outcome, delay) {
            (Outcome::Finished, _) => Ok(()),
            (Outcome::Failed(reason), Some(delay)) => {
                tracing::warn!(
                    event = "delivery_failed",
                    what = self.trigger,
                    job = subject,
                    reason,
                    again_after_seconds = delay.as_secs(),
                    "what follows from a job has failed; trying again"
                );
                again_after(delay, attempts, delivery, &self.queue, &self.gateway.broker.topology(), link).await
            }
            (Outcome::Failed(reason) | Outcome::Hopeless(reason), _) => self.give_up(&subject, &reason, delivery).await,
        }
    }

    async fn give_up(&self, subject: &str, reason: &str, delivery: &Delivery) -> Result<(), BrokerError> {
        Refusal { trigger: self.trigger, subject, reason }.dead_letter(delivery.data.clone(), self.gateway).await
    }

    /// Whether the job has ended as the event says. The leader takes a moment to read back its own event; no old event is waited for, of which
    /// there may be thousands.
    async fn proof(&self, done: &Done, attempts: Attempts) -> Result<Proof, ProducerError> {
        let mut session = self.gateway.queries.session("rollcall gateway: has a job ended").await?;
        let aggregator = session.aggregator().await?;
        let is_true = |status: &JobStatus| {
            status.redrives > done.redrives
                || status.redrives == done.redrives && status.done_at.is_some() && status.state == done.state
        };
        let age = done.done_at.and_then(|at| at.until(Timestamp::now()));
        let found = if attempts.is_retry() || age.is_some_and(|age| age > FRESH) {
            aggregator.find_job(&done.job).await.map(|found| found.filter(is_true))
        } else {
            match aggregator.wait_until(&done.job, "end", is_true).await {
                Ok(status) => Ok(Some(status)),
                Err(ProducerError::JobState(_) | ProducerError::NoSuchJob(_)) => Ok(None),
                Err(error) => Err(error),
            }
        };
        session.close().await;
        Ok(match found? {
            Some(status) => Proof::Ended(Box::new(status)),
            None if attempts.was_proved() => Proof::EndedBefore,
            None => Proof::Missing,
        })
    }
}

/// # Errors
/// Why it is none.
fn done_event(body: &[u8]) -> Result<(Done, Event), String> {
    let event = Event::read(body).map_err(|error| format!("expected a done event, found another message: {error}"))?;
    match event.event.clone() {
        JobEvent::Done(done) => Ok((done, event)),
        other => Err(format!("expected a done event, found {}", other.name())),
    }
}
