//! The end of a session: in good order when the process is asked to stop, or by a lost connection.

use std::time::Duration;

use rollcall_shared::broker::BrokerError;
use rollcall_shared::message::ConsumerStatus;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep_until};

use super::arrivals::note;
use super::handover::Handover;
use super::state::{Session, SessionState};
use crate::intake::work_item::{AttemptId, WorkItem};
use crate::results::destination::Destination;
use crate::results::disposition::DecidedItem;

/// The part of the time to stop that is kept for republishing what is still being scored, at most.
const REPUBLISH_WITHIN: Duration = Duration::from_secs(1);

impl Session<'_> {
    /// Stops taking, republishes what no worker has begun, and settles the rest. What is not scored in time is republished unchanged: that
    /// counts as no attempt and no delivery.
    pub(super) async fn finish(
        &self,
        state: &mut SessionState,
        decided: &mut UnboundedReceiver<Vec<DecidedItem>>,
    ) -> Result<(), BrokerError> {
        let until = Instant::now() + self.patience.saturating_sub(REPUBLISH_WITHIN.min(self.patience / 2));
        if let Some(fault) = self.context.health.given_up() {
            let status = ConsumerStatus { fault: Some(fault), ..self.status(&state.publisher) };
            state.status_requests.announce_end(&state.topology, &self.args.model, &status).await?;
        }
        self.release_unbegun(state).await?;
        state.publisher.acks.set_spare(0);
        state.publisher.settle(None).await?;
        tracing::info!(event = "stopping", companies = state.publisher.acks.open(), "stopping: finishing what is being scored");
        if !self.settle_until(state, decided, until).await? {
            self.republish_begun(state).await?;
            self.settle_rest(state, decided).await?;
        }
        let mut last = state.subscriptions.flush_acks().await?;
        self.note_arrival(state, &mut last).await?;
        state.publisher.move_all(&last.items, Destination::Republish).await?;
        self.settle_rest(state, decided).await
    }

    /// Cancels the subscriptions, and gives what no worker has begun back to the broker.
    async fn release_unbegun(&self, state: &mut SessionState) -> Result<(), BrokerError> {
        let mut unseen = state.subscriptions.close().await?;
        self.note_arrival(state, &mut unseen).await?;
        let is_blocked = state.publisher.is_blocked();
        let (ours, earlier): (Vec<WorkItem>, Vec<WorkItem>) =
            self.context.queue.clear().into_iter().partition(|item| self.is_ours(item));
        let unconfirmed = &mut state.publisher.unconfirmed;
        let redelivered: Vec<WorkItem> =
            earlier.iter().filter_map(|item| unconfirmed.remove(&AttemptId::of(&item.work))).collect();
        let unbegun = unseen.items.into_iter().chain(ours).chain(redelivered);
        // RabbitMQ 3.10 counts a nack as a delivery, so only what cannot be published is returned by one.
        let (nacked, mut republished): (Vec<WorkItem>, Vec<WorkItem>) =
            unbegun.partition(|item| is_blocked && item.deliveries == 0);
        for item in nacked {
            state.subscriptions.nack(item.tag).await?;
            state.publisher.acks.settle(item.tag);
        }
        republished.extend(state.publisher.take_deferred());
        state.publisher.move_all(&republished, Destination::Republish).await
    }

    /// Settles until no delivery is open, or until `until`; returns whether none is open.
    async fn settle_until(
        &self,
        state: &mut SessionState,
        decided: &mut UnboundedReceiver<Vec<DecidedItem>>,
        until: Instant,
    ) -> Result<bool, BrokerError> {
        while state.publisher.acks.open() > 0 {
            let SessionState { publisher, status_requests, .. } = &mut *state;
            // The handlers are not cancelled: the time is looked at only between two of them.
            tokio::select! {
                items = decided.recv(), if publisher.has_capacity() => self.publish_arrived(publisher, items, decided).await?,
                confirmed = publisher.confirmed(), if publisher.pending() > 0 => publisher.settle(confirmed?).await?,
                // An aggregator that looks for missing companies must learn that these are held.
                request = status_requests.next() => status_requests.answer(&request?, &self.status(publisher)).await?,
                () = sleep_until(until) => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Settles until no delivery is open, for as long as the session may take to end.
    async fn settle_rest(
        &self,
        state: &mut SessionState,
        decided: &mut UnboundedReceiver<Vec<DecidedItem>>,
    ) -> Result<(), BrokerError> {
        self.settle_until(state, decided, Instant::now() + self.patience).await.map(drop)
    }

    /// Republishes what is still being scored.
    async fn republish_begun(&self, state: &mut SessionState) -> Result<(), BrokerError> {
        // The workers take no more.
        self.context.queue.close();
        // A batch that failed meanwhile is in the queue again.
        let begun = self.context.slots.take_all().into_iter().chain(self.context.queue.clear());
        let begun = begun.filter(|item| self.is_ours(item)).chain(state.publisher.unconfirmed.drain_redelivered());
        let begun: Vec<WorkItem> = begun.collect();
        tracing::warn!(
            event = "grace_exceeded",
            companies = begun.len(),
            "republishing companies that were not scored within --grace; they are scored again, and are charged no attempt"
        );
        state.publisher.move_all(&begun, Destination::Republish).await
    }

    /// What the next session has to settle after the connection was lost.
    pub(super) fn hand_over(&self, state: SessionState, decided: &mut UnboundedReceiver<Vec<DecidedItem>>) -> Handover {
        let SessionState { mut subscriptions, mut publisher, .. } = state;
        let mut handover = Handover::default();
        note(&mut publisher.acks, &mut subscriptions.take_arrived());
        for (attempt, quarantined) in publisher.acks.unacknowledged_attempts() {
            handover.interrupt(attempt, *quarantined);
        }
        // The broker delivers again what no worker has begun.
        self.context.queue.clear();
        let in_calls = self.context.slots.in_calls();
        handover.decided.extend(publisher.decided.drain(..));
        while let Ok(more) = decided.try_recv() {
            handover.decided.extend(more);
        }
        for item in in_calls.iter().chain(handover.decided.iter().map(|decided| &decided.item)) {
            handover.unconfirmed.insert(AttemptId::of(&item.work));
        }
        for (attempt, result) in publisher.into_unconfirmed_results() {
            handover.unconfirmed.insert(attempt);
            handover.results.push(result);
        }
        handover
    }
}
