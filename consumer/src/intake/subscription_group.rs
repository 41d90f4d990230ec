//! The subscriptions to one queue of companies, and the decision which of them to open or cancel.
//!
//! A subscription's prefetch is fixed when it begins, so a queue has several: the first is kept for as long as the session lasts, further
//! ones are opened and cancelled as the speed of the scorer changes.

use rollcall_shared::message::Priority;

use crate::results::acks::{Acks, SubscriptionId};

/// Subscriptions beyond the first that a queue may have. More of them split one acknowledgement of many companies into more frames.
const FURTHER_AT_MOST: usize = 3;

/// What a queue holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum QueueKind {
    /// Companies of this priority, whatever their headers say.
    Work(Priority),
    Quarantine,
}

/// A subscription to a queue of companies.
#[derive(Debug, Clone)]
pub(super) struct WorkSubscription {
    pub(super) id: SubscriptionId,
    pub(super) kind: QueueKind,
    pub(super) queue: String,
    /// Companies that the broker sends ahead of their acknowledgements.
    pub(super) prefetch: u16,
}

impl WorkSubscription {
    /// Its consumer tag, unique on the channel.
    pub(super) fn tag(&self) -> String {
        format!("{}#{}", self.queue, self.id.0)
    }

    /// Whether no delivery can be on its way: all that the broker may send has arrived, and none of it is acknowledged.
    fn is_full(&self, acks: &Acks) -> bool {
        acks.unacknowledged(self.id) >= usize::from(self.prefetch)
    }
}

/// The subscriptions to one queue; their prefetches add up.
#[derive(Debug)]
pub(super) struct SubscriptionGroup {
    /// One company per worker, never cancelled: enough for a slow scorer.
    pub(super) first: WorkSubscription,
    /// What a faster scorer holds beyond that.
    pub(super) further: Vec<WorkSubscription>,
    /// Cancelled subscriptions, some of whose companies may still be held.
    cancelled: Vec<SubscriptionId>,
}

/// A change of the subscriptions beyond the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Keep,
    /// Open one more, with this prefetch.
    Add(u16),
    /// Cancel all, and open one with this prefetch.
    Replace(u16),
    /// Cancel all.
    CancelFurther,
}

impl SubscriptionGroup {
    pub(super) fn new(first: WorkSubscription) -> SubscriptionGroup {
        SubscriptionGroup { first, further: Vec::new(), cancelled: Vec::new() }
    }

    pub(super) fn subscriptions(&self) -> impl Iterator<Item = &WorkSubscription> {
        std::iter::once(&self.first).chain(&self.further)
    }

    /// Decides how to hold `target` companies. Nothing changes while the broker could send more and does not: the queue is empty then.
    pub(super) fn change(&self, acks: &Acks, target: usize) -> Change {
        if !self.subscriptions().all(|subscription| subscription.is_full(acks)) {
            return Change::Keep;
        }
        let wanted = target.saturating_sub(self.first.prefetch.into());
        let has: usize = self.further.iter().map(|subscription| usize::from(subscription.prefetch)).sum();
        let left: usize = self.cancelled.iter().map(|&id| acks.unacknowledged(id)).sum();
        let prefetch = |companies: usize| u16::try_from(companies).unwrap_or(u16::MAX);
        let missing = wanted.saturating_sub(has);
        if missing > has / 4 && left <= missing / 2 {
            // Companies of replaced subscriptions are held in addition to the target until they are scored.
            let many = self.further.len() >= FURTHER_AT_MOST;
            if many { Change::Replace(prefetch(wanted - left)) } else { Change::Add(prefetch(missing - left)) }
        } else if has > 0 && wanted <= has / 2 {
            Change::CancelFurther
        } else {
            Change::Keep
        }
    }

    /// Removes and returns the subscriptions beyond the first, for the caller to cancel.
    pub(super) fn take_further(&mut self, acks: &Acks) -> Vec<WorkSubscription> {
        let further = std::mem::take(&mut self.further);
        self.cancelled.retain(|&id| acks.unacknowledged(id) > 0);
        self.cancelled.extend(further.iter().map(|subscription| subscription.id));
        further
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscription(id: u64, prefetch: u16) -> WorkSubscription {
        WorkSubscription { id: SubscriptionId(id), kind: QueueKind::Work(Priority::Normal), queue: "q".to_owned(), prefetch }
    }

    /// A group whose subscriptions have these prefetches, and hold so many companies.
    fn group(subscriptions: &[(u16, u64)]) -> (SubscriptionGroup, Acks) {
        let mut acks = Acks::new();
        let mut tag = 0;
        let mut all = subscriptions.iter().zip(1..).map(|(&(prefetch, held), id)| {
            for _ in 0..held {
                tag += 1;
                acks.arrived(tag, SubscriptionId(id));
            }
            subscription(id, prefetch)
        });
        let mut group = SubscriptionGroup::new(all.next().unwrap());
        group.further = all.collect();
        (group, acks)
    }

    fn change(subscriptions: &[(u16, u64)], target: usize) -> Change {
        let (group, acks) = group(subscriptions);
        group.change(&acks, target)
    }

    #[test]
    fn a_queue_that_has_no_more_to_send_changes_nothing() {
        assert_eq!(change(&[(2, 1)], 512), Change::Keep);
        assert_eq!(change(&[(2, 2), (510, 400)], 2), Change::Keep);
    }

    #[test]
    fn a_faster_scorer_gets_what_is_missing_and_a_slower_one_only_its_base() {
        assert_eq!(change(&[(2, 2)], 512), Change::Add(510));
        assert_eq!(change(&[(2, 2), (6, 6)], 512), Change::Add(504));
        assert_eq!(change(&[(2, 2), (510, 510)], 512), Change::Keep);
        assert_eq!(change(&[(2, 2), (510, 510)], 8), Change::CancelFurther);
        assert_eq!(change(&[(2, 2)], 2), Change::Keep);
    }

    #[test]
    fn a_small_change_of_the_speed_changes_nothing() {
        assert_eq!(change(&[(1, 1), (100, 100)], 120), Change::Keep);
        assert_eq!(change(&[(1, 1), (100, 100)], 60), Change::Keep);
    }

    #[test]
    fn many_small_subscriptions_become_one() {
        assert_eq!(change(&[(1, 1), (1, 1), (2, 2), (4, 4)], 512), Change::Replace(511));
    }

    #[test]
    fn what_cancelled_subscriptions_hold_is_scored_before_more_is_taken() {
        let (mut group, mut acks) = group(&[(1, 1), (8, 8)]);
        assert_eq!(group.take_further(&acks).len(), 1);
        assert_eq!(group.change(&acks, 8), Change::Keep);
        (2..=5).for_each(|tag| acks.settle(tag));
        assert_eq!(group.change(&acks, 8), Change::Keep);
        acks.settle(6);
        assert_eq!(group.change(&acks, 8), Change::Add(4));
    }
}
