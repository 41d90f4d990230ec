//! Which deliveries are finished, and which acknowledgements cover them in the fewest frames.

use std::collections::{HashMap, VecDeque};

use crate::intake::work_item::AttemptId;

/// Companies acknowledged together at most: after a crash, those that are finished and not acknowledged are scored again.
const ACKNOWLEDGED_TOGETHER: usize = 64;

/// A subscription on the channel, each with its own prefetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SubscriptionId(pub(crate) u64);

/// The deliveries of one channel, by tag. Tags begin at 1 and leave no gap.
#[derive(Debug)]
pub(crate) struct Acks {
    /// From the tag `first` on; all earlier ones are acknowledged.
    deliveries: VecDeque<Delivery>,
    first: u64,
    /// How many are finished and not acknowledged.
    finished: usize,
    /// At most this many finished deliveries wait for an earlier one that is not finished.
    finished_at_most: usize,
    /// This many finished deliveries are acknowledged together.
    together: usize,
    open: usize,
    /// For each subscription, the deliveries without an acknowledgement.
    unacknowledged: HashMap<SubscriptionId, usize>,
}

#[derive(Debug)]
struct Delivery {
    state: State,
    /// `None` until the delivery is handed out: those of several subscriptions may come out of order.
    subscription: Option<SubscriptionId>,
    /// The attempt, and whether it came from the quarantine; `None` if the message is malformed.
    attempt: Option<(AttemptId, bool)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Being scored, or its result not yet confirmed.
    Open,
    /// Its result is confirmed, and it is not yet acknowledged.
    Finished,
    /// Acknowledged, returned or rejected in a frame of its own.
    Settled,
}

/// An acknowledgement to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ack {
    pub(crate) tag: u64,
    /// Whether it covers every earlier tag too.
    pub(crate) multiple: bool,
}

impl Acks {
    /// No deliveries yet. Each is acknowledged as soon as it is finished, until [`Acks::set_spare`] is called.
    pub(crate) fn new() -> Acks {
        Acks {
            deliveries: VecDeque::new(),
            first: 1,
            finished: 0,
            finished_at_most: 0,
            together: 0,
            open: 0,
            unacknowledged: HashMap::new(),
        }
    }

    /// Sets how many deliveries are held beyond those that are being scored. Acks are batched, since each is work for the broker and its
    /// queue: finished deliveries wait for each other, and for an earlier one that is not finished, but only so many that enough of the
    /// prefetch is left for scoring meanwhile.
    pub(crate) fn set_spare(&mut self, spare: usize) {
        self.finished_at_most = spare / 2;
        self.together = (spare / 4).min(ACKNOWLEDGED_TOGETHER);
    }

    /// A delivery has arrived.
    pub(crate) fn arrived(&mut self, tag: u64, subscription: SubscriptionId) {
        while self.first + (self.deliveries.len() as u64) <= tag {
            self.deliveries.push_back(Delivery { state: State::Open, subscription: None, attempt: None });
            self.open += 1;
        }
        if let Some(delivery) = self.delivery(tag) {
            delivery.subscription = Some(subscription);
            *self.unacknowledged.entry(subscription).or_default() += 1;
        }
    }

    /// Notes the attempt that a delivery is about, and whether it came from the quarantine.
    pub(crate) fn identify(&mut self, tag: u64, attempt: AttemptId, quarantined: bool) {
        if let Some(delivery) = self.delivery(tag) {
            delivery.attempt = Some((attempt, quarantined));
        }
    }

    /// The attempts of all deliveries that the broker will deliver again if the connection is lost now, each with whether it came from the
    /// quarantine.
    pub(crate) fn unacknowledged_attempts(&self) -> impl Iterator<Item = &(AttemptId, bool)> {
        self.deliveries
            .iter()
            .filter(|delivery| delivery.state != State::Settled)
            .filter_map(|delivery| delivery.attempt.as_ref())
    }

    /// The number of deliveries neither finished nor settled.
    pub(crate) fn open(&self) -> usize {
        self.open
    }

    /// The number of deliveries of a subscription without an acknowledgement.
    pub(crate) fn unacknowledged(&self, subscription: SubscriptionId) -> usize {
        self.unacknowledged.get(&subscription).copied().unwrap_or_default()
    }

    /// The result of a delivery is confirmed.
    pub(crate) fn finish(&mut self, tag: u64) {
        if self.set(tag, State::Finished) {
            self.finished += 1;
        }
    }

    /// A delivery was acknowledged, returned or rejected in a frame of its own.
    pub(crate) fn settle(&mut self, tag: u64) {
        if self.set(tag, State::Settled) {
            let subscription = self.delivery(tag).and_then(|delivery| delivery.subscription);
            self.acknowledged(subscription);
        }
    }

    fn delivery(&mut self, tag: u64) -> Option<&mut Delivery> {
        tag.checked_sub(self.first).and_then(|at| usize::try_from(at).ok()).and_then(|at| self.deliveries.get_mut(at))
    }

    /// Changes the state of an open delivery; `false` if it is not open.
    fn set(&mut self, tag: u64, to: State) -> bool {
        let Some(delivery) = self.delivery(tag).filter(|delivery| delivery.state == State::Open) else { return false };
        delivery.state = to;
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

    /// The acknowledgements to send now. If idle, flushes a partial batch: no further delivery may finish.
    pub(crate) fn due(&mut self, is_idle: bool) -> Vec<Ack> {
        let mut due = Vec::new();
        if self.finished < self.together && !is_idle {
            return due;
        }
        let mut last_finished = None;
        while self.deliveries.front().is_some_and(|delivery| delivery.state != State::Open)
            && let Some(delivery) = self.deliveries.pop_front()
        {
            if delivery.state == State::Finished {
                last_finished = Some(self.first);
                self.finished -= 1;
                self.acknowledged(delivery.subscription);
            }
            self.first += 1;
        }
        due.extend(last_finished.map(|tag| Ack { tag, multiple: true }));
        if self.finished > self.finished_at_most {
            let mut single = Vec::with_capacity(self.finished);
            for (tag, delivery) in (self.first..).zip(&mut self.deliveries) {
                if delivery.state == State::Finished {
                    delivery.state = State::Settled;
                    due.push(Ack { tag, multiple: false });
                    single.push(delivery.subscription);
                }
            }
            single.into_iter().for_each(|subscription| self.acknowledged(subscription));
            self.finished = 0;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::intake::work_item::test_item;

    const MULTIPLE: bool = true;

    const ONE: SubscriptionId = SubscriptionId(1);

    fn arrived(tags: u64, finished_at_most: usize) -> Acks {
        let mut acks = Acks { finished_at_most, together: 1, ..Acks::new() };
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
        acks.set_spare(0);
        assert_eq!(acks.due(false), [Ack { tag: 3, multiple: false }]);
    }

    #[test]
    fn what_is_finished_waits_for_more_of_its_kind_but_not_where_it_is_quiet() {
        let mut acks = Acks { finished_at_most: 100, together: 3, ..Acks::new() };
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
            acks.identify(tag, AttemptId::of(&test_item(u32::try_from(tag).unwrap(), "").work), tag == 4);
        }
        [1, 3].into_iter().for_each(|tag| acks.finish(tag));
        acks.settle(5);
        assert_eq!(acks.due(false), [Ack { tag: 1, multiple: MULTIPLE }]);
        let left = |index| AttemptId::of(&test_item(index, "").work);
        let unacknowledged: Vec<_> = acks.unacknowledged_attempts().cloned().collect();
        assert_eq!(unacknowledged, [(left(2), false), (left(3), false), (left(4), true)]);
    }

    proptest! {
        #[test]
        fn a_delivery_is_acknowledged_once_it_is_finished_and_never_before(
            (order, finished_at_most) in (Just((1..=40_u64).collect::<Vec<_>>()).prop_shuffle(), 0_usize..8)
        ) {
            let mut acks = arrived(40, finished_at_most);
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
