//! The queues that a work item moves to without a result.

use std::time::Duration;

use rollcall_shared::message::{Model, Work};
use rollcall_shared::topology::{RECHECK_AFTER, Topology};

use crate::intake::work_item::WorkItem;

/// Where a work item moves to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Destination {
    /// The retry queue of this delay, for its next attempt.
    Retry(Duration),
    /// The quarantine.
    Quarantine,
    /// The retry queue of [`RECHECK_AFTER`], for another triage.
    Recheck,
    /// The dead letters.
    DeadLetter,
    /// The queue of its paused job.
    Paused,
    /// The end of the queue that it came from.
    Republish,
}

impl Destination {
    /// The label of the metric that counts moves.
    pub(super) fn label(self) -> &'static str {
        match self {
            Destination::Retry(_) => "retry",
            Destination::Quarantine => "quarantine",
            Destination::Recheck => "recheck",
            Destination::DeadLetter => "dead",
            Destination::Paused => "paused",
            Destination::Republish => "back",
        }
    }

    /// The name of the queue.
    pub(super) fn queue(self, topology: &Topology, model: &Model, item: &WorkItem) -> String {
        let Work { job, priority, .. } = &item.work;
        match self {
            Destination::Quarantine => topology.quarantine_queue(model),
            Destination::Republish if item.isolation.is_quarantined() => topology.quarantine_queue(model),
            Destination::Republish => topology.work_queue(model, *priority),
            Destination::Retry(delay) => topology.retry_queue(model, *priority, delay),
            Destination::Recheck => topology.retry_queue(model, *priority, RECHECK_AFTER),
            Destination::DeadLetter => topology.dead_queue(model),
            Destination::Paused => topology.paused_queue(job),
        }
    }
}
