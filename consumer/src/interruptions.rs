//! Deliveries that ended with a connection and not with their consumer, by company: they do not count towards `--max-deliveries`.

use std::collections::HashMap;

use roaring::RoaringBitmap;
use rollcall_shared::message::{Indices, Interrupted, Work};

/// A connection that is cut more often than this during one attempt is counted no further: memory is bounded.
const MOST_TIMES: usize = 64;

/// The interrupted deliveries of one job.
#[derive(Debug, Default)]
pub(crate) struct Interruptions {
    /// By round, attempt, and whether from the quarantine. The bitmap at position `n` has the companies that were interrupted more than
    /// `n` times.
    by_attempt: HashMap<(u32, u32, bool), Vec<RoaringBitmap>>,
}

/// How many deliveries of one company in its present attempt were interrupted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Times {
    /// All of them.
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
        if !indices.is_empty() && counts.len() < MOST_TIMES {
            counts.push(indices);
        }
    }

    /// How often deliveries of this company were interrupted.
    pub(crate) fn of(&self, work: &Work) -> Times {
        let [shared, alone] = [false, true].map(|quarantined| {
            let counts = self.by_attempt.get(&(work.round, work.attempt, quarantined));
            let times = counts.into_iter().flatten().filter(|more_than| more_than.contains(work.index.0)).count();
            u32::try_from(times).unwrap_or(u32::MAX)
        });
        Times { all: shared.saturating_add(alone), alone }
    }

    /// Whether nothing was interrupted.
    pub(crate) fn is_empty(&self) -> bool {
        self.by_attempt.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rollcall_shared::message::Index;

    use super::*;
    use crate::intake::just_taken;

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
                let work = Work { round, attempt, index: Index(index), ..just_taken(0, "").work };
                prop_assert_eq!(interruptions.of(&work), Times { all: count(false), alone: count(true) });
            }
        }
    }

    #[test]
    fn the_memory_of_many_interruptions_is_bounded() {
        let mut interruptions = Interruptions::default();
        for _ in 0..10 * MOST_TIMES {
            let indices = "0-9".parse().unwrap();
            interruptions.add(Interrupted { round: 0, attempt: 1, quarantined: false, indices });
        }
        assert_eq!(interruptions.of(&just_taken(3, "").work).all as usize, MOST_TIMES);
    }
}
