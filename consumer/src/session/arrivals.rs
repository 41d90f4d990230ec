//! What arrives from the broker: notes it, triages it, and hands it to the workers or moves it to another queue.

use rollcall_shared::broker::BrokerError;
use rollcall_shared::message::Job;

use super::state::{Session, SessionState};
use crate::intake::subscriptions::Arrival;
use crate::intake::triage::{Triage, triage};
use crate::intake::work_item::{AttemptId, WorkItem};
use crate::results::acks::Acks;
use crate::results::destination::Destination;

/// After this many items in a row that were not to be scored, as when a large job was cancelled, the speed of the scorer no longer limits
/// how many are taken.
pub(super) const IGNORE_SPEED_AFTER: usize = 32;

impl Session<'_> {
    /// Takes what has arrived.
    pub(super) async fn take(&self, state: &mut SessionState, mut arrival: Arrival) -> Result<(), BrokerError> {
        self.note_arrival(state, &mut arrival).await?;
        self.context.metrics.work_taken.inc_by(arrival.items.len() as u64);
        arrival.items.iter().for_each(|item| self.context.hold.arrived(item.work.record.len()));
        // Before any of it can be acknowledged: a subscription is changed while it is full.
        self.resize_subscriptions(state).await?;
        self.triage(state, arrival.items).await
    }

    /// Notes what has arrived, and dead-letters malformed messages.
    pub(super) async fn note_arrival(&self, state: &mut SessionState, arrival: &mut Arrival) -> Result<(), BrokerError> {
        note(&mut state.publisher.acks, arrival);
        for malformed in arrival.malformed.drain(..) {
            state.publisher.dead_letter(malformed).await?;
        }
        Ok(())
    }

    /// Hands items to the workers, or moves them to another queue.
    async fn triage(&self, state: &mut SessionState, items: Vec<WorkItem>) -> Result<(), BrokerError> {
        let arrived = items.len();
        let (mut to_score, mut to_move) = (Vec::with_capacity(arrived), Vec::new());
        // An item that is finished here is acknowledged here: there may be no later confirm to send its acknowledgement with.
        let mut has_finished = false;
        for item in items {
            let decision = triage(&item, &state.directives, self.args.max_deliveries.into());
            // A redelivered item needs no further attempt if the result of an earlier session is on its way.
            let is_matched = item.deliveries > 0 && !matches!(decision, Triage::Drop | Triage::Republish);
            let unmatched = if is_matched { state.publisher.match_redelivery(item).await? } else { Some(item) };
            let Some(item) = unmatched else {
                has_finished = true;
                continue;
            };
            match decision {
                Triage::Score => to_score.push(item),
                Triage::Quarantine => to_move.push((item, Destination::Quarantine)),
                Triage::Republish => to_move.push((item, Destination::Republish)),
                Triage::Pause => to_move.push((item, Destination::Paused)),
                Triage::Drop => {
                    has_finished = true;
                    state.publisher.drop_item(item.tag);
                }
                Triage::Recheck => to_move.push(given_up(item, Destination::Recheck)),
                Triage::DeadLetter => to_move.push(given_up(item, Destination::DeadLetter)),
            }
        }
        if to_score.is_empty() {
            state.unscored_in_a_row = state.unscored_in_a_row.saturating_add(arrived);
        } else {
            state.has_overshot |= state.unscored_in_a_row >= IGNORE_SPEED_AFTER;
            state.unscored_in_a_row = 0;
        }
        self.context.queue.add(to_score);
        if !to_move.is_empty() {
            state.publisher.move_to(to_move).await?;
        }
        if has_finished { state.publisher.acknowledge().await } else { Ok(()) }
    }

    /// After a control message about `job`: triages the items of the job again that were taken and not begun.
    pub(super) async fn triage_again(&self, state: &mut SessionState, job: Option<Job>) -> Result<(), BrokerError> {
        let Some(job) = job else { return Ok(()) };
        let mut items = self.context.queue.remove(|item| self.is_ours(item) && item.work.job == job);
        items.extend(state.publisher.take_deferred_paused(&job));
        self.triage(state, items).await
    }
}

fn given_up(item: WorkItem, destination: Destination) -> (WorkItem, Destination) {
    let (job, index, deliveries) = (&item.work.job, item.work.index, item.deliveries);
    tracing::warn!(event = "given_up", %job, %index, deliveries, ?destination, "a company was delivered too often without an answer");
    (item, destination)
}

/// Notes which deliveries have arrived, and the attempts that they are about. Nothing is awaited between a delivery's arrival and this, so
/// that every delivery that a lost connection interrupts is known.
pub(super) fn note(acks: &mut Acks, arrival: &mut Arrival) {
    for (tag, subscription) in arrival.tags.drain(..) {
        acks.arrived(tag, subscription);
    }
    for item in &arrival.items {
        acks.identify(item.tag, AttemptId::of(&item.work), item.isolation.is_quarantined());
    }
}
