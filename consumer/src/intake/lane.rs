//! The subscriptions to one queue of work: pure decisions about how many companies they let the broker send.

use super::Kind;
use crate::acks::{Acks, SubscriptionId};

/// Subscriptions beyond the first that a queue may have: each splits an acknowledgement of many companies once more.
const FURTHER_MOST: usize = 3;

/// A subscription to a queue.
#[derive(Debug, Clone)]
pub(super) struct Subscription {
    pub(super) id: SubscriptionId,
    pub(super) kind: Kind,
    pub(super) queue: String,
    /// Companies that the broker sends ahead of their acknowledgements; fixed when the subscription begins.
    pub(super) prefetch: u16,
}

impl Subscription {
    /// Its consumer tag, unique on the channel.
    pub(super) fn tag(&self) -> String {
        format!("{}#{}", self.queue, self.id.0)
    }

    /// Whether nothing of it can be on its way: all that the broker may send has come, and none of it is acknowledged.
    fn is_full(&self, acks: &Acks) -> bool {
        acks.unacknowledged(self.id) >= usize::from(self.prefetch)
    }
}

/// A queue that work comes from.
#[derive(Debug)]
pub(super) struct Lane {
    /// One company a worker, for as long as the session lasts: what is held of a slow scorer.
    pub(super) base: Subscription,
    /// What is held beyond that of a faster one.
    pub(super) further: Vec<Subscription>,
    /// Cancelled ones, which may still hold something.
    cancelled: Vec<SubscriptionId>,
}

/// What is to be done about the subscriptions beyond the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Keep,
    /// Add one with this prefetch.
    Add(u16),
    /// Cancel all, and put one with this prefetch in their place.
    Replace(u16),
    /// Cancel all.
    Cancel,
}

impl Lane {
    pub(super) fn new(base: Subscription) -> Lane {
        Lane { base, further: Vec::new(), cancelled: Vec::new() }
    }

    pub(super) fn subscriptions(&self) -> impl Iterator<Item = &Subscription> {
        std::iter::once(&self.base).chain(&self.further)
    }

    /// Decides how to come to `target` companies. As long as the broker could send more and does not, its queue is empty, and nothing
    /// is changed.
    pub(super) fn change(&self, acks: &Acks, target: usize) -> Change {
        if !self.subscriptions().all(|subscription| subscription.is_full(acks)) {
            return Change::Keep;
        }
        let wanted = target.saturating_sub(self.base.prefetch.into());
        let has: usize = self.further.iter().map(|subscription| usize::from(subscription.prefetch)).sum();
        let left: usize = self.cancelled.iter().map(|&id| acks.unacknowledged(id)).sum();
        let prefetch = |companies: usize| u16::try_from(companies).unwrap_or(u16::MAX);
        let missing = wanted.saturating_sub(has);
        if missing > has / 4 && left <= missing / 2 {
            // Where they become too many, what those hold that are replaced comes on top until it is scored.
            let many = self.further.len() >= FURTHER_MOST;
            if many { Change::Replace(prefetch(wanted - left)) } else { Change::Add(prefetch(missing - left)) }
        } else if has > 0 && wanted <= has / 2 {
            Change::Cancel
        } else {
            Change::Keep
        }
    }

    /// Takes the subscriptions beyond the first, which are to be cancelled.
    pub(super) fn take_further(&mut self, acks: &Acks) -> Vec<Subscription> {
        let further = std::mem::take(&mut self.further);
        self.cancelled.retain(|&id| acks.unacknowledged(id) > 0);
        self.cancelled.extend(further.iter().map(|subscription| subscription.id));
        further
    }
}

#[cfg(test)]
mod tests {
    use rollcall_shared::message::Priority;

    use super::*;

    fn subscription(id: u64, prefetch: u16) -> Subscription {
        Subscription { id: SubscriptionId(id), kind: Kind::Work(Priority::Normal), queue: "q".to_owned(), prefetch }
    }

    /// A lane whose subscriptions have these prefetches, and hold so many companies.
    fn lane(subscriptions: &[(u16, u64)]) -> (Lane, Acks) {
        let mut acks = Acks::new();
        let mut tag = 0;
        let mut all = subscriptions.iter().zip(1..).map(|(&(prefetch, held), id)| {
            for _ in 0..held {
                tag += 1;
                acks.arrived(tag, SubscriptionId(id));
            }
            subscription(id, prefetch)
        });
        let mut lane = Lane::new(all.next().unwrap());
        lane.further = all.collect();
        (lane, acks)
    }

    fn change(subscriptions: &[(u16, u64)], target: usize) -> Change {
        let (lane, acks) = lane(subscriptions);
        lane.change(&acks, target)
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
        assert_eq!(change(&[(2, 2), (510, 510)], 8), Change::Cancel);
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
        let (mut lane, mut acks) = lane(&[(1, 1), (8, 8)]);
        assert_eq!(lane.take_further(&acks).len(), 1);
        assert_eq!(lane.change(&acks, 8), Change::Keep);
        (2..=5).for_each(|tag| acks.settle(tag));
        assert_eq!(lane.change(&acks, 8), Change::Keep);
        acks.settle(6);
        assert_eq!(lane.change(&acks, 8), Change::Add(4));
    }
}
