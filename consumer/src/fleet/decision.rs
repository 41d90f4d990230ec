//! How many consumers there should be.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Decides by the wanted numbers of the last while.
///
/// As the work of a job shrinks, so does the number of consumers that finish it within the target. If the fleet followed that at once, the
/// rest of a job would always take another target. So a consumer is kept after it was last wanted: for the idle time once no work is left,
/// and for the target at least while some is.
#[derive(Debug)]
pub(super) struct Decision {
    min: u16,
    max: u16,
    /// How long a consumer is kept after the last work.
    idle: Duration,
    /// How long a consumer is kept after it was last wanted, while there is work.
    kept: Duration,
    /// Since when there is no work.
    idle_since: Option<Instant>,
    /// When how many were wanted: later entries want fewer.
    wanted: VecDeque<(Instant, u64)>,
}

impl Decision {
    pub(super) fn new(min: u16, max: u16, idle: Duration, target: Duration) -> Decision {
        Decision { min, max, idle, kept: idle.max(target), idle_since: None, wanted: VecDeque::new() }
    }

    /// How many consumers there should be, if `wanted` finish the work that is left in time.
    pub(super) fn consumers(&mut self, now: Instant, wanted: u64) -> u16 {
        while self.wanted.back().is_some_and(|&(_, earlier)| earlier <= wanted) {
            self.wanted.pop_back();
        }
        self.wanted.push_back((now, wanted));
        while self.wanted.front().is_some_and(|&(at, _)| now.duration_since(at) >= self.kept) {
            self.wanted.pop_front();
        }
        self.idle_since = if wanted > 0 { None } else { self.idle_since.or(Some(now)) };
        if self.idle_since.is_some_and(|since| now.duration_since(since) >= self.idle) {
            self.wanted.clear();
        }
        let most = self.wanted.front().map_or(wanted, |&(_, most)| most);
        u16::try_from(most).unwrap_or(u16::MAX).clamp(self.min, self.max)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decide(bounds: (u16, u16), idle: u64, steps: &[(u64, u64)]) -> Vec<u16> {
        decide_with_target(bounds, (idle, 1), steps)
    }

    fn decide_with_target(bounds: (u16, u16), (idle, target): (u64, u64), steps: &[(u64, u64)]) -> Vec<u16> {
        let [idle, target] = [idle, target].map(Duration::from_secs);
        let (mut decision, began) = (Decision::new(bounds.0, bounds.1, idle, target), Instant::now());
        steps.iter().map(|&(second, wanted)| decision.consumers(began + Duration::from_secs(second), wanted)).collect()
    }

    #[test]
    fn a_fleet_grows_at_once_and_shrinks_once_a_consumer_has_been_idle() {
        let steps = [(0, 0), (1, 3), (2, 100), (10, 2), (32, 2), (41, 0), (62, 0), (71, 0)];
        assert_eq!(decide((0, 8), 30, &steps), [0, 3, 8, 8, 2, 2, 0, 0]);
    }

    #[test]
    fn a_short_idle_time_shrinks_no_fleet_that_has_work_for_its_target() {
        let steps = [(0, 13), (5, 9), (10, 5), (19, 1), (20, 1), (21, 0), (24, 0), (25, 0)];
        assert_eq!(decide_with_target((0, 20), (4, 20), &steps), [13, 13, 13, 13, 9, 9, 9, 0]);
    }

    #[test]
    fn a_fleet_keeps_its_least_consumers() {
        assert_eq!(decide((2, 8), 30, &[(0, 0), (40, 0)]), [2, 2]);
    }

    proptest! {
        #[test]
        fn there_are_as_many_as_were_wanted_at_most_within_the_idle_time(
            (wanted, idle, (min, more)) in (prop::collection::vec(0_u64..20, 1..60), 1_u64..10, (0_u16..5, 0_u16..10))
        ) {
            let steps: Vec<(u64, u64)> = (0..).zip(wanted.iter().copied()).collect();
            let found = decide((min, min + more), idle, &steps);
            for (second, &found) in found.iter().enumerate() {
                let recent = &wanted[(second + 1).saturating_sub(usize::try_from(idle).unwrap())..=second];
                let most = u16::try_from(*recent.iter().max().unwrap()).unwrap();
                prop_assert_eq!(found, most.clamp(min, min + more), "at {}", second);
            }
        }
    }
}
