//! Answers for companies: publishes each result, or moves the company to where it is to wait, and acknowledges the work once the
//! broker has stored that.

mod declarations;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lapin::Channel;
use lapin::options::{BasicAckOptions, BasicRejectOptions};
use rollcall_shared::broker::{BrokerConnection, BrokerError, COALESCE, Publisher};
use rollcall_shared::message::{
    Job, Message, Model, ResultHeaders, ResultMessage, ScoredCompany, Timestamp, Work, bounded_headers,
};
use rollcall_shared::telemetry::ConsumerMetrics;
use rollcall_shared::topology::{RECHECK_AFTER, Topology};

use self::declarations::Declarations;
use crate::acks::Acks;
use crate::batch::Scored;
use crate::in_hand::{AttemptId, InHand, Redelivery};
use crate::intake::{Malformed, Taken};
use crate::settle::Settle;

/// How often to try again where the broker refuses to declare a queue, or a queue has no room.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// A queue that stays full is logged this often.
const LOG_DEFERRALS_EVERY: Duration = Duration::from_secs(60);

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
    /// What is to go to queues that the broker refuses to declare, or that have no room, and when that was tried last.
    deferred: Vec<(Answered, Message)>,
    deferred_at: Instant,
    deferral_logged: Option<Instant>,
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
    Result {
        outcome: &'static str,
        cause: String,
    },
    /// The company without its record, which the message has; `None` if the message is no work.
    Moved {
        place: Place,
        company: Option<Box<Taken>>,
    },
}

impl Answers {
    /// Publishes by `publisher`, a channel of `link`; acknowledges on `work`, the channel of that `session`.
    pub(crate) fn open(
        publisher: Publisher<Answered>,
        link: BrokerConnection,
        (work, session): (Channel, u64),
        topology: Topology,
        model: &Model,
        metrics: Arc<ConsumerMetrics>,
    ) -> Answers {
        Answers {
            publisher: publisher.keep_nacked(),
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
            deferral_logged: None,
            refusals: 0,
            refused_at: None,
            metrics,
        }
    }

    /// How many messages it can take now.
    pub(crate) fn room(&self) -> usize {
        self.publisher.room()
    }

    /// Whether the broker reads nothing that is published, since it is short of memory or disk.
    pub(crate) fn is_blocked(&self) -> bool {
        self.publisher.is_blocked()
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
                Settle::Answer(outcome) => messages.push(self.result(&taken, delivery, outcome, scored_at, duration)?),
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

    /// Moves companies whose queue was refused or full, in case that it no longer is.
    pub(crate) async fn move_deferred(&mut self) -> Result<(), BrokerError> {
        if self.deferred.is_empty() || self.deferred_at.elapsed() < TRY_AGAIN_AFTER {
            return Ok(());
        }
        self.deferred_at = Instant::now();
        self.declarations.ask_again();
        let (companies, malformed): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.deferred).into_iter().partition(|(answered, _)| answered.place().is_some());
        for message in malformed {
            self.make_room().await?;
            self.publisher.publish(vec![message]).await?;
        }
        let companies: Vec<(Taken, Place)> = companies.into_iter().filter_map(company).collect();
        for chunk in companies.chunks(COALESCE) {
            self.make_room().await?;
            self.move_to(chunk.iter().cloned()).await?;
        }
        Ok(())
    }

    /// Gives back, behind the others of their queue, the companies whose queue is refused or full and that are more than `most`: what is
    /// held for them is missing to other jobs.
    pub(crate) async fn give_back_deferred(&mut self, most: usize) -> Result<(), BrokerError> {
        let is_away = |(answered, _): &(Answered, Message)| answered.place().is_some_and(|place| place != Place::Back);
        let excess = self.deferred.iter().filter(|deferred| is_away(deferred)).count().saturating_sub(most);
        if excess == 0 {
            return Ok(());
        }
        let back: Vec<_> = self.deferred.extract_if(.., |deferred| is_away(deferred)).take(excess).filter_map(company).collect();
        for chunk in back.chunks(COALESCE) {
            self.make_room().await?;
            self.move_to(chunk.iter().map(|(taken, _)| (taken.clone(), Place::Back))).await?;
        }
        Ok(())
    }

    /// Takes out the companies whose queue is refused or full.
    pub(crate) fn take_deferred(&mut self) -> Vec<Taken> {
        std::mem::take(&mut self.deferred).into_iter().filter_map(company).map(|(taken, _)| taken).collect()
    }

    /// Takes out the companies of a paused job whose queue is refused or full.
    pub(crate) fn take_deferred_pauses(&mut self, job: &Job) -> Vec<Taken> {
        let is_one = |(answered, _): &mut (Answered, Message)| {
            answered.place() == Some(Place::Paused) && answered.company().is_some_and(|taken| taken.work.job == *job)
        };
        self.deferred.extract_if(.., is_one).filter_map(company).map(|(taken, _)| taken).collect()
    }

    /// Sets aside what full queues have refused.
    fn defer_nacked(&mut self) {
        let nacked = self.publisher.take_nacked();
        let Some((_, first)) = nacked.first() else { return };
        if self.deferral_logged.is_none_or(|logged| logged.elapsed() >= LOG_DEFERRALS_EVERY) {
            self.deferral_logged = Some(Instant::now());
            tracing::warn!(
                event = "queue_full",
                queue = first.routing_key,
                "a queue takes no more, most likely by a policy; companies are held until it does. `rabbitmqctl list_queues name messages policy` shows it"
            );
        }
        self.deferred.extend(nacked);
    }

    fn result(
        &self,
        taken: &Taken,
        delivery: Delivery,
        scored: ScoredCompany,
        scored_at: Timestamp,
        duration: Duration,
    ) -> Result<(Answered, Message), BrokerError> {
        let duration_ms = (duration.as_secs_f64() * 1e6).round() / 1e3;
        let result = ResultMessage { work: &taken.work, model: &self.model, scored: &scored, scored_at, duration_ms };
        let message = Message {
            exchange: self.topology.results(),
            routing_key: result.routing_key(),
            properties: result.properties(),
            body: result.body()?,
        };
        let outcome = scored.outcome().as_str();
        let cause = if let ScoredCompany::Error { cause, .. } = scored { cause } else { String::new() };
        Ok((Answered { delivery, what: What::Result { outcome, cause } }, message))
    }

    /// The message that moves a company; `None` if its queue cannot be had, and the company waits here until it can.
    async fn moved(&mut self, taken: Taken, place: Place) -> Result<Option<(Answered, Message)>, BrokerError> {
        let routing_key = self.queue(&taken, place);
        let is_declared = self.declarations.declare(&self.topology, &self.model, &taken.work, place, &routing_key).await?;
        let company = Taken { work: Work { record: Vec::new(), ..taken.work.clone() }, ..taken.clone() };
        let what = What::Moved { place, company: Some(Box::new(company)) };
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
        let moved = (Answered { delivery, what }, message);
        if is_declared {
            Ok(Some(moved))
        } else {
            self.deferred.push(moved);
            Ok(None)
        }
    }

    fn queue(&self, taken: &Taken, place: Place) -> String {
        let (Work { job, priority, .. }, topology, model) = (&taken.work, &self.topology, &self.model);
        match place {
            Place::Suspects => topology.quarantine_queue(model),
            Place::Back if taken.suspect => topology.quarantine_queue(model),
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
        let answered = Answered { delivery, what: What::Moved { place: Place::Dead, company: None } };
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
        self.defer_nacked();
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

    /// The results that were published and never confirmed, each with its attempt. Their connection is gone. A company that was on its way
    /// to another queue is not among them: the broker delivers it again.
    pub(crate) fn into_unconfirmed_results(self) -> Vec<(AttemptId, (Answered, Message))> {
        let result = |(answered, message): (Answered, Message)| {
            if !matches!(answered.what, What::Result { .. }) {
                return None;
            }
            let attempt = AttemptId::from(ResultHeaders::read(&message.properties).ok()?);
            let delivery = Delivery::Earlier(Box::new(attempt.clone()));
            Some((attempt, (Answered { delivery, ..answered }, message)))
        };
        self.publisher.into_unconfirmed().into_iter().filter_map(result).collect()
    }
}

impl Answered {
    /// Where a company was to be moved to; `None` for anything else.
    fn place(&self) -> Option<Place> {
        match &self.what {
            What::Moved { place, company: Some(_) } => Some(*place),
            _ => None,
        }
    }

    fn company(&self) -> Option<&Taken> {
        match &self.what {
            What::Moved { company, .. } => company.as_deref(),
            What::Result { .. } => None,
        }
    }
}

/// The company of a message that was to move it, and where to.
fn company((answered, message): (Answered, Message)) -> Option<(Taken, Place)> {
    match answered.what {
        What::Moved { place, company: Some(mut taken) } => {
            taken.work.record = message.body;
            Some((*taken, place))
        }
        _ => None,
    }
}
