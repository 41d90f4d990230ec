//! Answers for companies: publishes each result, or moves the company to where it is to wait, and acknowledges the work once the
//! broker has stored that.

mod declarations;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lapin::Channel;
use lapin::options::{BasicAckOptions, BasicRejectOptions};
use rollcall_shared::broker::{BrokerError, COALESCE, Link, Publisher};
use rollcall_shared::message::{Counted, Message, Model, ScoredCompany, ScoredResult, Work, bounded_headers};
use rollcall_shared::telemetry::ConsumerMetrics;
use rollcall_shared::topology::{RECHECK_AFTER, Topology};

use self::declarations::Declarations;
use crate::acks::Acks;
use crate::batch::Scored;
use crate::in_hand::{AttemptId, InHand, Redelivery};
use crate::intake::{Malformed, Taken};
use crate::settle::Settle;

/// How often to try again to declare a queue that the broker refuses.
const DECLARE_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// Where a company is to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// For its next attempt, so long.
    Retry(Duration),
    /// To be scored by itself.
    Suspects,
    /// Until it can be decided whether consumers died of it.
    Recheck,
    /// For good: it is given up.
    Dead,
    /// Until its job is resumed.
    Paused,
    /// Where it came from, behind the others.
    Back,
}

impl Place {
    fn as_str(self) -> &'static str {
        match self {
            Place::Retry(_) => "retry",
            Place::Suspects => "suspects",
            Place::Recheck => "recheck",
            Place::Dead => "dead",
            Place::Paused => "paused",
            Place::Back => "back",
        }
    }
}

/// The way out: results to publish, companies to move, work to acknowledge.
pub(crate) struct Answers {
    publisher: Publisher<Answered>,
    /// The channel the work came on.
    work: Channel,
    /// The session that the channel belongs to.
    session: u64,
    pub(crate) acks: Acks,
    /// What earlier sessions left to be answered for.
    pub(crate) in_hand: InHand,
    topology: Topology,
    model: Model,
    declarations: Declarations,
    /// Outcomes to be published.
    pub(crate) scored: VecDeque<Scored>,
    /// Companies whose queue the broker refuses, and since when.
    deferred: Vec<(Taken, Place)>,
    deferred_at: Instant,
    refusals: u64,
    refused_at: Option<Instant>,
    metrics: Arc<ConsumerMetrics>,
}

/// A message that the broker may or may not have yet.
pub(crate) struct Answered {
    delivery: Delivery,
    what: What,
}

/// Which delivery an answer is for.
enum Delivery {
    /// One of this session.
    Here { tag: u64, suspect: bool },
    /// One of an earlier session; it may have been delivered again to this one.
    Earlier(Box<AttemptId>),
}

enum What {
    Result { outcome: &'static str, cause: String },
    Moved { place: Place, attempt: Option<Box<AttemptId>> },
}

/// What the broker had not confirmed when the connection was lost.
pub(crate) struct Unconfirmed {
    pub(crate) attempt: AttemptId,
    /// The result, which is to be published again; `None` for a company that was on its way to another queue, which the broker delivers
    /// again.
    pub(crate) result: Option<(Answered, Message)>,
    /// Whether it was delivered to the session that has ended, and from the quarantine.
    pub(crate) delivered: Option<bool>,
}

impl Answers {
    /// Publishes by `publisher`, a channel of `link`; acknowledges on `work`, the channel of that `session`.
    pub(crate) fn open(
        publisher: Publisher<Answered>,
        link: Link,
        (work, session): (Channel, u64),
        topology: Topology,
        model: &Model,
        metrics: Arc<ConsumerMetrics>,
    ) -> Answers {
        Answers {
            publisher,
            work,
            session,
            acks: Acks::new(),
            in_hand: InHand::default(),
            topology,
            model: model.clone(),
            declarations: Declarations::new(link),
            scored: VecDeque::new(),
            deferred: Vec::new(),
            deferred_at: Instant::now(),
            refusals: 0,
            refused_at: None,
            metrics,
        }
    }

    /// How many messages it can take now.
    pub(crate) fn room(&self) -> usize {
        self.publisher.room()
    }

    /// Messages published and not yet confirmed.
    pub(crate) fn pending(&self) -> usize {
        self.publisher.pending()
    }

    /// How many results a subscriber's queue has refused in this session, if it has lately.
    pub(crate) fn refused_lately(&self) -> u64 {
        const LATELY: Duration = Duration::from_secs(60);
        if self.refused_at.is_some_and(|at| at.elapsed() <= LATELY) { self.refusals } else { 0 }
    }

    /// Waits until it can take as many messages as are published together.
    pub(crate) async fn make_room(&mut self) -> Result<(), BrokerError> {
        while self.room() < COALESCE && self.pending() > 0 {
            let confirmed = self.confirmed().await?;
            self.settle(confirmed).await?;
        }
        Ok(())
    }

    /// Publishes some of what is scored: results, and companies that are to be tried again.
    pub(crate) async fn publish_scored(&mut self) -> Result<(), BrokerError> {
        let mut messages = Vec::new();
        while messages.len() < COALESCE
            && let Some(scored) = self.scored.pop_front()
        {
            let Some((delivery, Scored { taken, settle, scored_at, duration })) = self.delivery_of(scored) else { continue };
            match settle {
                Settle::Answer(outcome) => messages.push(self.result(&taken, delivery, outcome, &scored_at, duration)?),
                Settle::Retry(delay) => messages.extend(self.moved(taken, Place::Retry(delay)).await?),
                Settle::GiveBack => messages.extend(self.moved(taken, Place::Back).await?),
            }
        }
        self.publisher.publish(messages).await
    }

    /// Which delivery an outcome answers. What an earlier session took is answered for too. If it is to be tried again, that is done for
    /// its delivery in this session; `None` without one, since the broker delivers it to some consumer.
    fn delivery_of(&mut self, scored: Scored) -> Option<(Delivery, Scored)> {
        let here = |taken: &Taken| Delivery::Here { tag: taken.tag, suspect: taken.suspect };
        if scored.taken.session == self.session {
            return Some((here(&scored.taken), scored));
        }
        let attempt = AttemptId::of(&scored.taken.work);
        if matches!(scored.settle, Settle::Answer(_)) {
            return Some((Delivery::Earlier(Box::new(attempt)), scored));
        }
        let taken = self.in_hand.remove(&attempt)?;
        Some((here(&taken), Scored { taken, ..scored }))
    }

    /// Publishes results again that an earlier session did not see confirmed.
    pub(crate) async fn publish_again(&mut self, results: Vec<(Answered, Message)>) -> Result<(), BrokerError> {
        let mut results = results.into_iter().peekable();
        while results.peek().is_some() {
            self.make_room().await?;
            self.publisher.publish(results.by_ref().take(COALESCE).collect()).await?;
        }
        Ok(())
    }

    /// Moves companies.
    pub(crate) async fn move_to(&mut self, companies: impl IntoIterator<Item = (Taken, Place)>) -> Result<(), BrokerError> {
        let mut messages = Vec::new();
        for (taken, place) in companies {
            messages.extend(self.moved(taken, place).await?);
        }
        self.publisher.publish(messages).await
    }

    /// Moves companies whose queue the broker has refused, in case that it no longer does.
    pub(crate) async fn move_deferred(&mut self) -> Result<(), BrokerError> {
        if self.deferred.is_empty() || self.deferred_at.elapsed() < DECLARE_AGAIN_AFTER {
            return Ok(());
        }
        self.deferred_at = Instant::now();
        for chunk in self.take_deferred().chunks(COALESCE) {
            self.make_room().await?;
            self.move_to(chunk.iter().cloned()).await?;
        }
        Ok(())
    }

    /// Takes out the companies whose queue the broker refuses, each with where it was to wait.
    pub(crate) fn take_deferred(&mut self) -> Vec<(Taken, Place)> {
        std::mem::take(&mut self.deferred)
    }

    fn result(
        &self,
        taken: &Taken,
        delivery: Delivery,
        scored: ScoredCompany,
        scored_at: &str,
        duration: Duration,
    ) -> Result<(Answered, Message), BrokerError> {
        let duration_ms = (duration.as_secs_f64() * 1e6).round() / 1e3;
        let result = ScoredResult { work: &taken.work, model: &self.model, scored: &scored, scored_at, duration_ms };
        let message = Message {
            exchange: self.topology.results(),
            routing_key: result.routing_key(),
            properties: result.properties(),
            body: result.body().map_err(|error| BrokerError::Lost(error.to_string()))?,
        };
        let outcome = scored.outcome().as_str();
        let cause = if let ScoredCompany::Error { cause, .. } = scored { cause } else { String::new() };
        Ok((Answered { delivery, what: What::Result { outcome, cause } }, message))
    }

    /// The message that moves a company; `None` if its queue cannot be had, and the company waits here until it can.
    async fn moved(&mut self, taken: Taken, place: Place) -> Result<Option<(Answered, Message)>, BrokerError> {
        if !self.declarations.declare(&self.topology, &self.model, &taken.work, place).await? {
            self.deferred.push((taken, place));
            return Ok(None);
        }
        let routing_key = self.queue(&taken, place);
        let attempt = Some(Box::new(AttemptId::of(&taken.work)));
        let delivery = Delivery::Here { tag: taken.tag, suspect: taken.suspect };
        let Taken { deliveries, deliveries_alone, .. } = taken;
        let work = match place {
            // A new attempt has killed nobody yet.
            Place::Retry(_) => {
                Work { attempt: taken.work.attempt.saturating_add(1), deliveries: 0, deliveries_alone: 0, ..taken.work }
            }
            _ => Work { deliveries, deliveries_alone, ..taken.work },
        };
        let message = Message { exchange: String::new(), routing_key, properties: work.properties(), body: work.record };
        Ok(Some((Answered { delivery, what: What::Moved { place, attempt } }, message)))
    }

    fn queue(&self, taken: &Taken, place: Place) -> String {
        let (Work { job, priority, .. }, topology, model) = (&taken.work, &self.topology, &self.model);
        match place {
            Place::Suspects => topology.suspect_queue(model),
            Place::Back if taken.suspect => topology.suspect_queue(model),
            Place::Back => topology.work_queue(model, *priority),
            Place::Retry(delay) => topology.retry_queue(model, *priority, delay),
            Place::Recheck => topology.retry_queue(model, *priority, RECHECK_AFTER),
            Place::Dead => topology.dead_queue(model),
            Place::Paused => topology.paused_queue(job),
        }
    }

    /// Sends a message that is no work to the dead queue: as it is, unless its headers are so large that the broker could not add why it
    /// is there.
    pub(crate) async fn bury(&mut self, Malformed { tag, mut message, why }: Malformed) -> Result<(), BrokerError> {
        self.metrics.malformed.inc();
        let Some(properties) = bounded_headers(&message.properties, &why) else {
            self.work.basic_reject(tag, BasicRejectOptions { requeue: false }).await?;
            self.acks.settle(tag);
            return Ok(());
        };
        message.properties = properties;
        message.routing_key = self.topology.dead_queue(&self.model);
        let delivery = Delivery::Here { tag, suspect: false };
        let answered = Answered { delivery, what: What::Moved { place: Place::Dead, attempt: None } };
        self.publisher.publish(vec![(answered, message)]).await
    }

    /// Looks whether a company that was delivered again is in hand; returns it where it is not.
    pub(crate) async fn take_in(&mut self, taken: Taken) -> Result<Option<Taken>, BrokerError> {
        match self.in_hand.take_in(taken) {
            Redelivery::Unknown(taken) => Ok(Some(taken)),
            Redelivery::Kept => Ok(None),
            Redelivery::Answered(taken) => {
                self.finish(taken.tag, taken.suspect).await?;
                Ok(None)
            }
        }
    }

    /// Waits until the oldest message is confirmed. Safe to cancel.
    pub(crate) async fn confirmed(&mut self) -> Result<Option<Answered>, BrokerError> {
        self.publisher.confirmed().await
    }

    /// Notes that the work behind a confirmed message is finished, and behind all that have been confirmed after it by now;
    /// acknowledges what is due.
    pub(crate) async fn settle(&mut self, oldest: Option<Answered>) -> Result<(), BrokerError> {
        let mut answered: Vec<Answered> = oldest.into_iter().collect();
        let confirmed = self.publisher.confirmed_by_now(&mut answered);
        self.note_refusals();
        for Answered { delivery, what } in answered {
            match what {
                What::Result { outcome, cause } => self.metrics.count_result(outcome, &cause),
                What::Moved { place, .. } => self.metrics.moved.with_label_values(&[place.as_str()]).inc(),
            }
            match delivery {
                Delivery::Here { tag, suspect } => self.finish(tag, suspect).await?,
                Delivery::Earlier(attempt) => {
                    if let Some(taken) = self.in_hand.answered(*attempt) {
                        self.finish(taken.tag, taken.suspect).await?;
                    }
                }
            }
        }
        confirmed?;
        self.acknowledge().await
    }

    fn note_refusals(&mut self) {
        let refusals = self.publisher.refusals();
        if refusals > self.refusals {
            self.metrics.results_refused.inc_by(refusals - self.refusals);
            (self.refusals, self.refused_at) = (refusals, Some(Instant::now()));
        }
    }

    async fn finish(&mut self, tag: u64, suspect: bool) -> Result<(), BrokerError> {
        if suspect {
            // The next suspect waits for this one's acknowledgement, whatever else is open.
            self.acks.settle(tag);
            return Ok(self.work.basic_ack(tag, BasicAckOptions::default()).await?);
        }
        self.acks.finish(tag);
        Ok(())
    }

    /// Forgets a company that nobody wants an answer for.
    pub(crate) fn forget(&mut self, tag: u64) {
        self.metrics.dropped.inc();
        self.acks.finish(tag);
    }

    /// Sends the acknowledgements that are due.
    pub(crate) async fn acknowledge(&mut self) -> Result<(), BrokerError> {
        for ack in self.acks.due(self.publisher.pending() == 0) {
            self.work.basic_ack(ack.tag, BasicAckOptions { multiple: ack.multiple }).await?;
        }
        Ok(())
    }

    /// What was published and never confirmed. Its connection is gone.
    pub(crate) fn into_unconfirmed(self) -> Vec<Unconfirmed> {
        let unconfirmed = |(answered, message): (Answered, Message)| {
            let attempt = answered.attempt(&message)?;
            let delivered = match &answered.delivery {
                Delivery::Here { suspect, .. } => Some(*suspect),
                Delivery::Earlier(_) => None,
            };
            let is_result = matches!(answered.what, What::Result { .. });
            let again = Answered { delivery: Delivery::Earlier(Box::new(attempt.clone())), ..answered };
            Some(Unconfirmed { attempt, result: is_result.then_some((again, message)), delivered })
        };
        self.publisher.into_unconfirmed().into_iter().filter_map(unconfirmed).collect()
    }
}

impl Answered {
    fn attempt(&self, message: &Message) -> Option<AttemptId> {
        match &self.what {
            What::Moved { attempt, .. } => attempt.as_deref().cloned(),
            What::Result { .. } => Counted::read(&message.properties).ok().map(AttemptId::from),
        }
    }
}
