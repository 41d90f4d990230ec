//! Moves that are deferred because their queue is full, or because the broker refuses to declare it.

use std::time::{Duration, Instant};

use rollcall_shared::message::{Job, Message};

use super::destination::Destination;
use super::ticket::{PublishTicket, into_move};
use crate::intake::work_item::WorkItem;

/// How often deferred moves are tried again.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// A queue that stays full is logged this often.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// A queue that still refuses after so long is full. One that several consumers have just declared may refuse at first.
const FULL_AFTER: Duration = Duration::from_secs(2);

/// The deferred moves.
pub(super) struct Deferred {
    moves: Vec<(PublishTicket, Message)>,
    tried_at: Instant,
    /// When a queue has refused first, and last, of a row of refusals.
    refusing: Option<(Instant, Instant)>,
    full_logged_at: Option<Instant>,
}

impl Deferred {
    pub(super) fn new() -> Deferred {
        Deferred { moves: Vec::new(), tried_at: Instant::now(), refusing: None, full_logged_at: None }
    }

    /// Adds a move whose queue cannot be declared.
    pub(super) fn add(&mut self, deferred: (PublishTicket, Message)) {
        self.moves.push(deferred);
    }

    /// Adds the moves that full queues have refused.
    pub(super) fn add_nacked(&mut self, nacked: Vec<(PublishTicket, Message)>) {
        let Some((_, first)) = nacked.first() else { return };
        let now = Instant::now();
        let (since, _) = self.refusing.filter(|(_, last)| now - *last < 2 * TRY_AGAIN_AFTER).unwrap_or((now, now));
        self.refusing = Some((since, now));
        if now - since >= FULL_AFTER && self.full_logged_at.is_none_or(|logged_at| logged_at.elapsed() >= LOG_EVERY) {
            self.full_logged_at = Some(now);
            tracing::warn!(
                event = "queue_full",
                queue = first.routing_key,
                "a queue takes no more, most likely by a policy; companies are held until it does. `rabbitmqctl list_queues name messages policy` shows it"
            );
        }
        self.moves.extend(nacked);
    }

    /// Removes and returns all, if it is time to try them again.
    pub(super) fn take_due(&mut self) -> Vec<(PublishTicket, Message)> {
        if self.moves.is_empty() || self.tried_at.elapsed() < TRY_AGAIN_AFTER {
            return Vec::new();
        }
        self.tried_at = Instant::now();
        std::mem::take(&mut self.moves)
    }

    /// Removes and returns the work items on their way to another queue that are more than `most`.
    pub(super) fn take_excess(&mut self, most: usize) -> Vec<WorkItem> {
        let is_to_leave = |(ticket, _): &(PublishTicket, Message)| {
            ticket.destination().is_some_and(|destination| destination != Destination::Republish)
        };
        let excess = self.moves.iter().filter(|deferred| is_to_leave(deferred)).count().saturating_sub(most);
        if excess == 0 {
            return Vec::new();
        }
        let excess = self.moves.extract_if(.., |deferred| is_to_leave(deferred)).take(excess);
        excess.filter_map(into_move).map(|(item, _)| item).collect()
    }

    /// Removes and returns all work items.
    pub(super) fn take_items(&mut self) -> Vec<WorkItem> {
        std::mem::take(&mut self.moves).into_iter().filter_map(into_move).map(|(item, _)| item).collect()
    }

    /// Removes and returns the work items of a job that are to move to the queue of paused companies.
    pub(super) fn take_paused(&mut self, job: &Job) -> Vec<WorkItem> {
        let is_paused = |(ticket, _): &mut (PublishTicket, Message)| {
            ticket.destination() == Some(Destination::Paused) && ticket.item().is_some_and(|item| item.work.job == *job)
        };
        self.moves.extract_if(.., is_paused).filter_map(into_move).map(|(item, _)| item).collect()
    }
}
