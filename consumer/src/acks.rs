//! Which deliveries are settled, and which acknowledgements say so in the fewest frames.

use std::collections::{HashMap, VecDeque};

use crate::in_hand::AttemptId;

/// Companies acknowledged together, at most. What a consumer that is killed has not acknowledged is scored again.
const ACKNOWLEDGED_TOGETHER: usize = 64;

/// A subscription on the channel; the broker sends no more of it than its prefetch before an acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SubscriptionId(pub(crate) u64);

/// The deliveries of one channel, by tag. Tags begin at 1 and leave no gap.
#[derive(Debug)]
pub(crate) struct Acks {
    /// Unsettled or settled and not yet covered by an acknowledgement, from the tag `first` on.
    slots: VecDeque<Slot>,
    first: u64,
    /// Finished, and not yet acknowledged.
    ahead: usize,
    ahead_most: usize,
    together: usize,
    open: usize,
    /// Deliveries of each subscription that no acknowledgement has been sent for.
    unacknowledged: HashMap<SubscriptionId, usize>,
}

#[derive(Debug)]
struct Slot {
    state: State,
    /// `None` until the delivery is known: those of several subscriptions may be handed out of order.
    subscription: Option<SubscriptionId>,
    /// The company, and whether it came from the quarantine; `None` if the message is no work.
    company: Option<(AttemptId, bool)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Being scored, or its result not yet confirmed.
    Open,
    /// Its result is confirmed; not yet acknowledged.
    Finished,
    /// Acknowledged, given back or refused on its own.
    Settled,
}

/// An acknowledgement to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ack {
    pub(crate) tag: u64,
    /// It stands for every earlier tag too.
    pub(crate) multiple: bool,
}

impl Acks {
    /// Nothing delivered yet, and no finished delivery waits for another before [`Acks::allow`] says so.
    pub(crate) fn new() -> Acks {
        Acks { slots: VecDeque::new(), first: 1, ahead: 0, ahead_most: 0, together: 0, open: 0, unacknowledged: HashMap::new() }
    }

    /// Says how many deliveries are held beyond those that are being scored. An acknowledgement is work for the broker and its queue,
    /// and so finished deliveries wait for each other, and for an earlier unfinished one to be acknowledged with it: but only as many
    /// as leave enough to be scored in the meantime.
    pub(crate) fn allow(&mut self, spare: usize) {
        self.ahead_most = spare / 2;
        self.together = (spare / 4).min(ACKNOWLEDGED_TOGETHER);
    }

    /// A delivery has arrived.
    pub(crate) fn arrived(&mut self, tag: u64, subscription: SubscriptionId) {
        while self.first + (self.slots.len() as u64) <= tag {
            self.slots.push_back(Slot { state: State::Open, subscription: None, company: None });
            self.open += 1;
        }
        if let Some(slot) = self.slot(tag) {
            slot.subscription = Some(subscription);
            *self.unacknowledged.entry(subscription).or_default() += 1;
        }
    }

    /// Notes which company a delivery is of, and whether it came from the quarantine.
    pub(crate) fn identify(&mut self, tag: u64, attempt: AttemptId, quarantined: bool) {
        if let Some(slot) = self.slot(tag) {
            slot.company = Some((attempt, quarantined));
        }
    }

    /// The companies of all deliveries that the broker will deliver again if the connection is lost now, each with whether it came from
    /// the quarantine.
    pub(crate) fn unacknowledged_companies(&self) -> impl Iterator<Item = &(AttemptId, bool)> {
        self.slots.iter().filter(|slot| slot.state != State::Settled).filter_map(|slot| slot.company.as_ref())
    }

    /// Deliveries neither finished nor settled.
    pub(crate) fn open(&self) -> usize {
        self.open
    }

    /// Deliveries of a subscription for which no acknowledgement has been sent.
    pub(crate) fn unacknowledged(&self, subscription: SubscriptionId) -> usize {
        self.unacknowledged.get(&subscription).copied().unwrap_or_default()
    }

    /// The result of a delivery is confirmed.
    pub(crate) fn finish(&mut self, tag: u64) {
        if self.set(tag, State::Finished) {
            self.ahead += 1;
        }
    }

    /// A delivery was given back or refused on its own.
    pub(crate) fn settle(&mut self, tag: u64) {
        if self.set(tag, State::Settled) {
            let subscription = self.slot(tag).and_then(|slot| slot.subscription);
            self.acknowledged(subscription);
        }
    }

    fn slot(&mut self, tag: u64) -> Option<&mut Slot> {
        tag.checked_sub(self.first).and_then(|at| usize::try_from(at).ok()).and_then(|at| self.slots.get_mut(at))
    }

    /// Changes the state of an open delivery; `false` if it is not open.
    fn set(&mut self, tag: u64, to: State) -> bool {
        let Some(slot) = self.slot(tag).filter(|slot| slot.state == State::Open) else { return false };
        slot.state = to;
        self.open -= 1;
        true
    }

    fn acknowledged(&mut self, subscription: Option<SubscriptionId>) {
        let Some(subscription) = subscription else { return };
        if let Some(count) = self.unacknowledged.get_mut(&subscription) {
            *count -= 1;
            if *count == 0 {
                self.unacknowledged.remove(&subscription);
            }
        }
    }

    /// The acknowledgements to send now. Where it `is_quiet`, nobody finished waits for others to be: none may come.
    pub(crate) fn due(&mut self, is_quiet: bool) -> Vec<Ack> {
        let mut due = Vec::new();
        if self.ahead < self.together && !is_quiet {
            return due;
        }
        let mut last_finished = None;
        while self.slots.front().is_some_and(|slot| slot.state != State::Open)
            && let Some(slot) = self.slots.pop_front()
        {
            if slot.state == State::Finished {
                last_finished = Some(self.first);
                self.ahead -= 1;
                self.acknowledged(slot.subscription);
            }
            self.first += 1;
        }
        due.extend(last_finished.map(|tag| Ack { tag, multiple: true }));
        if self.ahead > self.ahead_most {
            let mut alone = Vec::with_capacity(self.ahead);
            for (tag, slot) in (self.first..).zip(&mut self.slots) {
                if slot.state == State::Finished {
                    slot.state = State::Settled;
                    due.push(Ack { tag, multiple: false });
                    alone.push(slot.subscription);
                }
            }
            alone.into_iter().for_each(|subscription| self.acknowledged(subscription));
            self.ahead = 0;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::intake::just_taken;

    const MULTIPLE: bool = true;

    const ONE: SubscriptionId = SubscriptionId(1);

    fn arrived(tags: u64, ahead_most: usize) -> Acks {
        let mut acks = Acks { ahead_most, together: 1, ..Acks::new() };
        (1..=tags).for_each(|tag| acks.arrived(tag, ONE));
        acks
    }

    #[test]
    fn one_acknowledgement_covers_all_up_to_the_first_unfinished() {
        let mut acks = arrived(5, 100);
        [2, 1, 4].into_iter().for_each(|tag| acks.finish(tag));
        assert_eq!(acks.due(false), [Ack { tag: 2, multiple: MULTIPLE }]);
        assert_eq!(acks.due(false), []);
        acks.finish(3);
        assert_eq!(acks.due(false), [Ack { tag: 4, multiple: MULTIPLE }]);
        assert_eq!(acks.open(), 1);
    }

    #[test]
    fn a_slow_company_does_not_hold_back_the_rest_for_ever() {
        let mut acks = arrived(4, 1);
        [2, 3].into_iter().for_each(|tag| acks.finish(tag));
        assert_eq!(acks.due(false), [Ack { tag: 2, multiple: false }, Ack { tag: 3, multiple: false }]);
        acks.finish(1);
        assert_eq!(acks.due(false), [Ack { tag: 1, multiple: MULTIPLE }]);
    }

    #[test]
    fn in_a_hurry_nothing_finished_waits_for_a_slow_company() {
        let mut acks = arrived(3, 100);
        acks.finish(3);
        assert_eq!(acks.due(false), []);
        acks.allow(0);
        assert_eq!(acks.due(false), [Ack { tag: 3, multiple: false }]);
    }

    #[test]
    fn what_is_finished_waits_for_more_of_its_kind_but_not_where_it_is_quiet() {
        let mut acks = Acks { ahead_most: 100, together: 3, ..Acks::new() };
        (1..=5).for_each(|tag| acks.arrived(tag, ONE));
        [1, 2].into_iter().for_each(|tag| acks.finish(tag));
        assert_eq!(acks.due(false), []);
        acks.finish(3);
        assert_eq!(acks.due(false), [Ack { tag: 3, multiple: MULTIPLE }]);
        acks.finish(4);
        assert_eq!(acks.due(true), [Ack { tag: 4, multiple: MULTIPLE }]);
    }

    #[test]
    fn each_subscription_has_its_own_count_of_what_is_not_acknowledged() {
        let mut acks = Acks::new();
        let other = SubscriptionId(2);
        // The second subscription's delivery is handed out first.
        [(2, other), (1, ONE), (3, ONE)].into_iter().for_each(|(tag, subscription)| acks.arrived(tag, subscription));
        assert_eq!((acks.unacknowledged(ONE), acks.unacknowledged(other)), (2, 1));
        acks.finish(1);
        acks.settle(3);
        assert_eq!((acks.unacknowledged(ONE), acks.unacknowledged(other)), (1, 1));
        assert_eq!(acks.due(false), [Ack { tag: 1, multiple: MULTIPLE }]);
        assert_eq!((acks.unacknowledged(ONE), acks.unacknowledged(other)), (0, 1));
        acks.finish(2);
        assert_eq!(acks.due(false), [Ack { tag: 2, multiple: MULTIPLE }]);
        assert_eq!(acks.unacknowledged(other), 0);
    }

    #[test]
    fn what_is_delivered_again_after_a_lost_connection_is_what_no_acknowledgement_was_sent_for() {
        let mut acks = arrived(5, 100);
        for tag in 1..=5 {
            acks.identify(tag, AttemptId::of(&just_taken(u32::try_from(tag).unwrap(), "").work), tag == 4);
        }
        [1, 3].into_iter().for_each(|tag| acks.finish(tag));
        acks.settle(5);
        assert_eq!(acks.due(false), [Ack { tag: 1, multiple: MULTIPLE }]);
        let left = |index| AttemptId::of(&just_taken(index, "").work);
        let unacknowledged: Vec<_> = acks.unacknowledged_companies().cloned().collect();
        assert_eq!(unacknowledged, [(left(2), false), (left(3), false), (left(4), true)]);
    }

    proptest! {
        #[test]
        fn a_delivery_is_acknowledged_once_it_is_finished_and_never_before(
            (order, ahead_most) in (Just((1..=40_u64).collect::<Vec<_>>()).prop_shuffle(), 0_usize..8)
        ) {
            let mut acks = arrived(40, ahead_most);
            let (mut finished, mut acknowledged) = (std::collections::BTreeSet::new(), std::collections::BTreeSet::new());
            for tag in order {
                acks.finish(tag);
                finished.insert(tag);
                for ack in acks.due(false) {
                    let from = if ack.multiple { 1 } else { ack.tag };
                    acknowledged.extend(from..=ack.tag);
                }
                prop_assert!(acknowledged.is_subset(&finished));
            }
            prop_assert_eq!(acknowledged, finished);
            prop_assert_eq!((acks.open(), acks.unacknowledged(ONE)), (0, 0));
        }
    }
}
