//! Which deliveries are settled, and which acknowledgements say so in the fewest frames.

use std::collections::VecDeque;

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
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slot {
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
    /// Nothing delivered yet. Up to `ahead_most` finished deliveries wait for an earlier unfinished one, to be acknowledged
    /// with it; more would keep the broker from sending work while one slow company is scored. And `together` of them wait for each
    /// other: each acknowledgement is work for the broker and its queue.
    pub(crate) fn new(ahead_most: usize, together: usize) -> Acks {
        Acks { slots: VecDeque::new(), first: 1, ahead: 0, ahead_most, together, open: 0 }
    }

    /// From now on nothing finished waits for anything: there may be no time for it.
    pub(crate) fn wait_no_more(&mut self) {
        (self.ahead_most, self.together) = (0, 0);
    }

    /// A delivery has arrived.
    pub(crate) fn arrived(&mut self, tag: u64) {
        while self.first + (self.slots.len() as u64) <= tag {
            self.slots.push_back(Slot::Open);
            self.open += 1;
        }
    }

    /// Deliveries neither finished nor settled.
    pub(crate) fn open(&self) -> usize {
        self.open
    }

    /// The result of a delivery is confirmed.
    pub(crate) fn finish(&mut self, tag: u64) {
        if self.set(tag, Slot::Finished) {
            self.ahead += 1;
        }
    }

    /// A delivery was given back or refused on its own.
    pub(crate) fn settle(&mut self, tag: u64) {
        self.set(tag, Slot::Settled);
    }

    fn set(&mut self, tag: u64, to: Slot) -> bool {
        let slot = tag.checked_sub(self.first).and_then(|at| usize::try_from(at).ok()).and_then(|at| self.slots.get_mut(at));
        match slot {
            Some(slot) if *slot == Slot::Open => {
                *slot = to;
                self.open -= 1;
                true
            }
            _ => false,
        }
    }

    /// The acknowledgements to send now. Where it `is_quiet`, nobody finished waits for others to be: none may come.
    pub(crate) fn due(&mut self, is_quiet: bool) -> Vec<Ack> {
        let mut due = Vec::new();
        if self.ahead < self.together && !is_quiet {
            return due;
        }
        let mut last_finished = None;
        while let Some(slot) = self.slots.front().filter(|slot| **slot != Slot::Open) {
            if *slot == Slot::Finished {
                last_finished = Some(self.first);
                self.ahead -= 1;
            }
            self.slots.pop_front();
            self.first += 1;
        }
        due.extend(last_finished.map(|tag| Ack { tag, multiple: true }));
        if self.ahead > self.ahead_most {
            for (tag, slot) in (self.first..).zip(&mut self.slots) {
                if *slot == Slot::Finished {
                    *slot = Slot::Settled;
                    due.push(Ack { tag, multiple: false });
                }
            }
            self.ahead = 0;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MULTIPLE: bool = true;

    fn arrived(tags: u64, ahead_most: usize) -> Acks {
        let mut acks = Acks::new(ahead_most, 1);
        (1..=tags).for_each(|tag| acks.arrived(tag));
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
        acks.wait_no_more();
        assert_eq!(acks.due(false), [Ack { tag: 3, multiple: false }]);
    }

    #[test]
    fn what_is_finished_waits_for_more_of_its_kind_but_not_where_it_is_quiet() {
        let mut acks = Acks::new(100, 3);
        (1..=5).for_each(|tag| acks.arrived(tag));
        [1, 2].into_iter().for_each(|tag| acks.finish(tag));
        assert_eq!(acks.due(false), []);
        acks.finish(3);
        assert_eq!(acks.due(false), [Ack { tag: 3, multiple: MULTIPLE }]);
        acks.finish(4);
        assert_eq!(acks.due(true), [Ack { tag: 4, multiple: MULTIPLE }]);
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
            prop_assert_eq!(acks.open(), 0);
        }
    }
}
