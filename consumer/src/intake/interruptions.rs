//! Deliveries that ended because a connection was lost, while their consumer lived. They do not count towards `--max-deliveries`.

use std::collections::HashMap;

use roaring::RoaringBitmap;
use rollcall_shared::message::{Indices, Interrupted, Work};

/// Interruptions of one company in one attempt that are counted: bounds the memory.
const COUNTED_AT_MOST: usize = 64;

/// The interrupted deliveries of one job.
#[derive(Debug, Default)]
pub(crate) struct Interruptions {
    /// By round, attempt, and whether from the quarantine. The bitmap at position `n` has the companies with more than `n` interruptions.
    by_attempt: HashMap<(u32, u32, bool), Vec<RoaringBitmap>>,
}

/// How many deliveries of one company were interrupted in its present attempt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct InterruptedDeliveries {
    pub(crate) all: u32,
    /// Those from the quarantine.
    pub(crate) alone: u32,
}

impl Interruptions {
    /// Adds one interruption of each of these companies.
    pub(crate) fn add(&mut self, interrupted: Interrupted) {
        let Interrupted { round, attempt, quarantined, indices: Indices(mut indices) } = interrupted;
        let counts = self.by_attempt.entry((round, attempt, quarantined)).or_default();
        for more_than in counts.iter_mut() {
            let again = &*more_than & &indices;
            *more_than |= indices;
            indices = again;
        }
        if !indices.is_empty() && counts.len() < COUNTED_AT_MOST {
            counts.push(indices);
        }
    }

    /// Counts the interrupted deliveries of a company.
    pub(crate) fn of(&self, work: &Work) -> InterruptedDeliveries {
        let [batched, alone] = [false, true].map(|quarantined| {
            let counts = self.by_attempt.get(&(work.round, work.attempt, quarantined));
            let times = counts.into_iter().flatten().filter(|more_than| more_than.contains(work.index.0)).count();
            u32::try_from(times).unwrap_or(u32::MAX)
        });
        InterruptedDeliveries { all: batched.saturating_add(alone), alone }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_attempt.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rollcall_shared::message::Index;

    use super::*;
    use crate::intake::work_item::test_item;

    proptest! {
        #[test]
        fn each_company_has_as_many_interruptions_as_were_added_for_its_attempt(
            added in prop::collection::vec((0_u32..2, 1_u32..3, any::<bool>(), prop::collection::btree_set(0_u32..6, 0..5)), 0..20)
        ) {
            let mut interruptions = Interruptions::default();
            for (round, attempt, quarantined, indices) in added.clone() {
                let indices = Indices(indices.into_iter().collect());
                interruptions.add(Interrupted { round, attempt, quarantined, indices });
            }
            for (round, attempt, index) in [(0, 1, 0), (0, 2, 3), (1, 1, 5), (1, 2, 1)] {
                let count = |alone_only: bool| {
                    let is_of = |(r, a, alone, indices): &&(u32, u32, bool, std::collections::BTreeSet<u32>)| {
                        (*r, *a) == (round, attempt) && (*alone || !alone_only) && indices.contains(&index)
                    };
                    u32::try_from(added.iter().filter(is_of).count()).unwrap()
                };
                let work = Work { round, attempt, index: Index(index), ..test_item(0, "").work };
                prop_assert_eq!(interruptions.of(&work), InterruptedDeliveries { all: count(false), alone: count(true) });
            }
        }
    }

    #[test]
    fn the_memory_of_many_interruptions_is_bounded() {
        let mut interruptions = Interruptions::default();
        for _ in 0..10 * COUNTED_AT_MOST {
            let indices = "0-9".parse().unwrap();
            interruptions.add(Interrupted { round: 0, attempt: 1, quarantined: false, indices });
        }
        assert_eq!(interruptions.of(&test_item(3, "").work).all as usize, COUNTED_AT_MOST);
    }
}
