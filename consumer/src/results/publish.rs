//! Publishes each result, or moves the work item to another queue, and acknowledges the work once the broker has confirmed that.

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
use rollcall_shared::topology::Topology;

use super::acks::Acks;
use super::declarations::QueueDeclarations;
use super::deferred::Deferred;
use super::destination::Destination;
use super::disposition::{DecidedItem, Disposition};
use super::ticket::{Content, PublishTicket, SettledDelivery, into_move};
use super::unconfirmed::{Redelivery, UnconfirmedAttempts};
use crate::intake::subscriptions::MalformedWork;
use crate::intake::work_item::{AttemptId, WorkItem};

/// Publishes results, moves work items, and acknowledges work.
pub(crate) struct ResultPublisher {
    publisher: Publisher<PublishTicket>,
    /// The channel that the work came on.
    work: Channel,
    /// The session that the channel belongs to.
    session: u64,
    pub(crate) acks: Acks,
    /// What earlier sessions left.
    pub(crate) unconfirmed: UnconfirmedAttempts,
    topology: Topology,
    model: Model,
    declarations: QueueDeclarations,
    /// Items whose disposition is not carried out yet.
    pub(crate) decided: VecDeque<DecidedItem>,
    deferred: Deferred,
    /// How many results subscribers' queues have refused in this session, and when the last of them.
    refusals: u64,
    refused_at: Option<Instant>,
    metrics: Arc<ConsumerMetrics>,
}

impl ResultPublisher {
    /// Publishes by `publisher`, a channel of `connection`; acknowledges on `work`, the channel of that `session`.
    pub(crate) fn open(
        publisher: Publisher<PublishTicket>,
        connection: BrokerConnection,
        (work, session): (Channel, u64),
        topology: Topology,
        model: &Model,
        metrics: Arc<ConsumerMetrics>,
    ) -> ResultPublisher {
        ResultPublisher {
            publisher: publisher.keep_nacked(),
            work,
            session,
            acks: Acks::new(),
            unconfirmed: UnconfirmedAttempts::default(),
            topology,
            model: model.clone(),
            declarations: QueueDeclarations::new(connection),
            decided: VecDeque::new(),
            deferred: Deferred::new(),
            refusals: 0,
            refused_at: None,
            metrics,
        }
    }

    /// Whether it can take as many messages now as are published together.
    pub(crate) fn has_capacity(&self) -> bool {
        self.publisher.room() >= COALESCE
    }

    /// Waits until it has capacity.
    pub(crate) async fn wait_for_capacity(&mut self) -> Result<(), BrokerError> {
        while !self.has_capacity() && self.pending() > 0 {
            let confirmed = self.confirmed().await?;
            self.settle(confirmed).await?;
        }
        Ok(())
    }

    /// Whether the broker reads nothing that is published, because it is short of memory or disk.
    pub(crate) fn is_blocked(&self) -> bool {
        self.publisher.is_blocked()
    }

    /// The number of messages published and not yet confirmed.
    pub(crate) fn pending(&self) -> usize {
        self.publisher.pending()
    }

    /// How many results subscribers' queues have refused in this session; 0 if none within the last minute.
    pub(crate) fn recent_refusals(&self) -> u64 {
        const RECENT: Duration = Duration::from_secs(60);
        if self.refused_at.is_some_and(|at| at.elapsed() <= RECENT) { self.refusals } else { 0 }
    }

    /// Publishes some of the decided items, each by its disposition.
    pub(crate) async fn publish_decided(&mut self) -> Result<(), BrokerError> {
        let mut messages = Vec::new();
        while messages.len() < COALESCE
            && let Some(decided) = self.decided.pop_front()
        {
            let Some((settles, DecidedItem { item, disposition })) = self.delivery_of(decided) else { continue };
            match disposition {
                Disposition::Publish { scored, scored_at, duration } => {
                    messages.push(self.result(&item, settles, scored, scored_at, duration)?);
                }
                Disposition::Retry(delay) => messages.extend(self.move_message(item, Destination::Retry(delay)).await?),
                Disposition::Republish => messages.extend(self.move_message(item, Destination::Republish).await?),
            }
        }
        self.publisher.publish(messages).await
    }

    /// The delivery that a decided item settles. The result of an item of an earlier session is published like any other. If the
    /// item is to move, its delivery in this session is moved; `None` if there is none, since the broker delivers it to some
    /// consumer.
    fn delivery_of(&mut self, decided: DecidedItem) -> Option<(SettledDelivery, DecidedItem)> {
        if decided.item.session == self.session {
            return Some((SettledDelivery::of(&decided.item), decided));
        }
        let attempt = AttemptId::of(&decided.item.work);
        if matches!(decided.disposition, Disposition::Publish { .. }) {
            return Some((SettledDelivery::Earlier(Box::new(attempt)), decided));
        }
        let item = self.unconfirmed.remove(&attempt)?;
        Some((SettledDelivery::of(&item), DecidedItem { item, ..decided }))
    }

    fn result(
        &self,
        item: &WorkItem,
        settles: SettledDelivery,
        scored: ScoredCompany,
        scored_at: Timestamp,
        duration: Duration,
    ) -> Result<(PublishTicket, Message), BrokerError> {
        let duration = Some(duration);
        let result = ResultMessage { work: &item.work, model: &self.model, scored: &scored, scored_at, duration };
        let message = Message {
            exchange: self.topology.results(),
            routing_key: result.routing_key(),
            properties: result.properties(),
            body: result.body().map_err(BrokerError::NotJson)?,
        };
        let outcome = scored.outcome().as_str();
        let cause = if let ScoredCompany::Error { cause, .. } = scored { cause } else { String::new() };
        Ok((PublishTicket { settles, content: Content::Result { outcome, cause } }, message))
    }

    /// Publishes results again that an earlier session did not see confirmed.
    pub(crate) async fn publish_again(&mut self, results: Vec<(PublishTicket, Message)>) -> Result<(), BrokerError> {
        let mut results = results.into_iter().peekable();
        while results.peek().is_some() {
            self.wait_for_capacity().await?;
            self.publisher.publish(results.by_ref().take(COALESCE).collect()).await?;
        }
        Ok(())
    }

    /// Moves work items to other queues.
    pub(crate) async fn move_to(&mut self, items: impl IntoIterator<Item = (WorkItem, Destination)>) -> Result<(), BrokerError> {
        let mut messages = Vec::new();
        for (item, destination) in items {
            messages.extend(self.move_message(item, destination).await?);
        }
        self.publisher.publish(messages).await
    }

    /// Moves work items, as many at a time as there is capacity for.
    pub(crate) async fn move_all(&mut self, items: &[WorkItem], destination: Destination) -> Result<(), BrokerError> {
        for chunk in items.chunks(COALESCE) {
            self.wait_for_capacity().await?;
            self.move_to(chunk.iter().cloned().map(|item| (item, destination))).await?;
        }
        Ok(())
    }

    /// The message that moves a work item; `None` if its queue cannot be declared, and the move is deferred.
    async fn move_message(
        &mut self,
        mut item: WorkItem,
        destination: Destination,
    ) -> Result<Option<(PublishTicket, Message)>, BrokerError> {
        let routing_key = destination.queue(&self.topology, &self.model, &item);
        let is_declared = self.declarations.declare(&self.topology, &self.model, &item.work, destination, &routing_key).await?;
        let record = std::mem::take(&mut item.work.record);
        let (settles, WorkItem { work, deliveries, deliveries_alone, .. }) = (SettledDelivery::of(&item), item.clone());
        let work = match destination {
            // No consumer has crashed on the new attempt yet.
            Destination::Retry(_) => Work { attempt: work.attempt.saturating_add(1), deliveries: 0, deliveries_alone: 0, ..work },
            _ => Work { deliveries, deliveries_alone, ..work },
        };
        let content = Content::Move { destination, item: Some(Box::new(item)) };
        let message = Message { exchange: String::new(), routing_key, properties: work.properties(), body: record };
        let moved = (PublishTicket { settles, content }, message);
        if is_declared {
            Ok(Some(moved))
        } else {
            self.deferred.add(moved);
            Ok(None)
        }
    }

    /// Tries deferred moves again, if it is time to.
    pub(crate) async fn move_deferred(&mut self) -> Result<(), BrokerError> {
        let due = self.deferred.take_due();
        if due.is_empty() {
            return Ok(());
        }
        self.declarations.forget_refusals();
        let (moves, malformed): (Vec<_>, Vec<_>) = due.into_iter().partition(|(ticket, _)| ticket.destination().is_some());
        for message in malformed {
            self.wait_for_capacity().await?;
            self.publisher.publish(vec![message]).await?;
        }
        let moves: Vec<(WorkItem, Destination)> = moves.into_iter().filter_map(into_move).collect();
        for chunk in moves.chunks(COALESCE) {
            self.wait_for_capacity().await?;
            self.move_to(chunk.iter().cloned()).await?;
        }
        Ok(())
    }

    /// Republishes the deferred work items that are more than `most`: while they are held, other jobs get less of the prefetch.
    pub(crate) async fn republish_deferred(&mut self, most: usize) -> Result<(), BrokerError> {
        let excess = self.deferred.take_excess(most);
        self.move_all(&excess, Destination::Republish).await
    }

    /// Removes and returns all deferred work items.
    pub(crate) fn take_deferred(&mut self) -> Vec<WorkItem> {
        self.deferred.take_items()
    }

    /// Removes and returns the deferred work items of a job that are to move to the queue of paused companies.
    pub(crate) fn take_deferred_paused(&mut self, job: &Job) -> Vec<WorkItem> {
        self.deferred.take_paused(job)
    }

    /// Moves a malformed work message to the dead letters: unchanged, unless its headers are so large that the broker could not add the
    /// reason to them.
    pub(crate) async fn dead_letter(&mut self, malformed: MalformedWork) -> Result<(), BrokerError> {
        let MalformedWork { tag, mut message, why } = malformed;
        self.metrics.malformed.inc();
        let Some(properties) = bounded_headers(&message.properties, &why) else {
            self.work.basic_reject(tag, BasicRejectOptions { requeue: false }).await?;
            self.acks.settle(tag);
            return Ok(());
        };
        message.properties = properties;
        message.routing_key = self.topology.dead_queue(&self.model);
        let settles = SettledDelivery::Current { tag, quarantined: false };
        let content = Content::Move { destination: Destination::DeadLetter, item: None };
        self.publisher.publish(vec![(PublishTicket { settles, content }, message)]).await
    }

    /// Matches a redelivered work item with what earlier sessions left. Returns it if it is to be triaged; otherwise it is kept until its
    /// result is confirmed, or finished if it is already.
    pub(crate) async fn match_redelivery(&mut self, item: WorkItem) -> Result<Option<WorkItem>, BrokerError> {
        match self.unconfirmed.match_redelivery(item) {
            Redelivery::Unknown(item) => Ok(Some(item)),
            Redelivery::Kept => Ok(None),
            Redelivery::Confirmed(item) => {
                self.finish(item.tag, item.isolation.is_quarantined()).await?;
                Ok(None)
            }
        }
    }

    /// Waits until the oldest message is confirmed. Cancel-safe.
    pub(crate) async fn confirmed(&mut self) -> Result<Option<PublishTicket>, BrokerError> {
        self.publisher.confirmed().await
    }

    /// Finishes the work of a confirmed message, and of all messages after it that are confirmed by now; sends the acknowledgements that are
    /// due.
    pub(crate) async fn settle(&mut self, oldest: Option<PublishTicket>) -> Result<(), BrokerError> {
        let mut tickets: Vec<PublishTicket> = oldest.into_iter().collect();
        let confirmed = self.publisher.confirmed_by_now(&mut tickets);
        self.count_refusals();
        self.deferred.add_nacked(self.publisher.take_nacked());
        for PublishTicket { settles, content } in tickets {
            match content {
                Content::Result { outcome, cause } => self.metrics.count_result(outcome, &cause),
                Content::Move { destination, .. } => self.metrics.moved.with_label_values(&[destination.label()]).inc(),
            }
            match settles {
                SettledDelivery::Current { tag, quarantined } => self.finish(tag, quarantined).await?,
                SettledDelivery::Earlier(attempt) => {
                    if let Some(item) = self.unconfirmed.confirm(*attempt) {
                        self.finish(item.tag, item.isolation.is_quarantined()).await?;
                    }
                }
            }
        }
        confirmed?;
        self.acknowledge().await
    }

    fn count_refusals(&mut self) {
        let refusals = self.publisher.refusals();
        if refusals > self.refusals {
            self.metrics.results_refused.inc_by(refusals - self.refusals);
            (self.refusals, self.refused_at) = (refusals, Some(Instant::now()));
        }
    }

    async fn finish(&mut self, tag: u64, quarantined: bool) -> Result<(), BrokerError> {
        if quarantined {
            // The next quarantined company is delivered only after this acknowledgement, so it is not batched.
            self.acks.settle(tag);
            return Ok(self.work.basic_ack(tag, BasicAckOptions::default()).await?);
        }
        self.acks.finish(tag);
        Ok(())
    }

    /// Finishes a work item that gets no result.
    pub(crate) fn drop_item(&mut self, tag: u64) {
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

    /// The results that were published and not confirmed before the connection was lost, each with its attempt. Moves are not among them:
    /// the broker delivers those companies again.
    pub(crate) fn into_unconfirmed_results(self) -> Vec<(AttemptId, (PublishTicket, Message))> {
        let result = |(ticket, message): (PublishTicket, Message)| {
            if !matches!(ticket.content, Content::Result { .. }) {
                return None;
            }
            let attempt = AttemptId::from(ResultHeaders::read(&message.properties).ok()?);
            let settles = SettledDelivery::Earlier(Box::new(attempt.clone()));
            Some((attempt, (PublishTicket { settles, ..ticket }, message)))
        };
        self.publisher.into_unconfirmed().into_iter().filter_map(result).collect()
    }
}
