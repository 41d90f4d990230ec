//! What is left to score of each model, as far as the ledger tells.

use std::time::Duration;

use rollcall_shared::message::{Model, ScaleSignal, State};

use super::job_state::JobState;

/// A job that was opened this long ago, and of which nothing is known to be enqueued, may have no companies at all.
const NEW_FOR: Duration = Duration::from_secs(60);

/// What is left to score of one model.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Workload {
    /// Companies without an outcome of jobs that are neither paused nor stalled.
    pub unfinished: u64,
    /// Companies without an outcome of paused jobs.
    pub paused: u64,
    /// Companies without an outcome of stalled jobs.
    pub stalled: u64,
    /// Measured seconds of one scoring thread for a company; `None` before the first.
    pub seconds_per_company: Option<f64>,
}

/// Where companies of a model are, as its queues and consumers say. They also have companies of jobs that were cancelled, and of paused ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueCounts {
    /// In the work queues and the quarantine, or held by consumers.
    pub ready_or_held: u64,
    /// In the retry queues: their next attempt is not due yet.
    pub in_retry: u64,
}

impl Workload {
    /// Adds what is left of an unfinished job of the model.
    pub(super) fn add(&mut self, state: &JobState, is_stalled: bool, clock_us: u64) {
        let outstanding = match state.outstanding() {
            // Its producer says how many companies it has enqueued only after a second, and a fleet that has no consumer should start one
            // now.
            0 if state.is_just_opened(clock_us, NEW_FOR) => 1,
            outstanding => outstanding,
        };
        let of = match state.state() {
            State::Paused => &mut self.paused,
            _ if is_stalled => &mut self.stalled,
            _ => &mut self.unfinished,
        };
        *of = of.saturating_add(outstanding);
    }

    /// Companies whose next attempt is not due yet: never one that may be ready or held.
    ///
    /// `due_later = min(max(0, in_retry − paused), max(0, unfinished − ready_or_held))`, since any company in a retry queue may be of a paused job,
    /// and any that is ready or held of a job that goes on.
    fn due_later(&self, counts: QueueCounts) -> u64 {
        let QueueCounts { ready_or_held, in_retry } = counts;
        in_retry.saturating_sub(self.paused).min(self.unfinished.saturating_sub(ready_or_held))
    }

    /// The scale signal. Without `counts`, each company without an outcome counts as one that can be scored now.
    pub(super) fn signal(&self, model: Model, counts: Option<QueueCounts>) -> ScaleSignal {
        let due_later = counts.map_or(0, |counts| self.due_later(counts));
        let signal = ScaleSignal::new(model, self.unfinished.saturating_sub(due_later), self.seconds_per_company);
        ScaleSignal { paused: self.paused, due_later, stalled: self.stalled, ..signal }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn signal(unfinished: u64, paused: u64, ready_or_held: u64, in_retry: u64) -> ScaleSignal {
        let workload = Workload { unfinished, paused, ..Workload::default() };
        workload.signal("m".parse().unwrap(), Some(QueueCounts { ready_or_held, in_retry }))
    }

    #[test]
    fn a_company_between_two_attempts_is_work_once_the_next_is_due() {
        for (unfinished, paused, ready_or_held, in_retry, left, later) in [
            (2, 0, 0, 2, 0, 2),
            (2, 0, 1, 1, 1, 1),
            (2, 0, 2, 0, 2, 0),
            // Results of some are on their way.
            (5, 0, 0, 2, 3, 2),
            // Companies of a cancelled job lie in the retry queues, and those of another job are held.
            (5, 0, 5, 100, 5, 0),
            // Those in the retry queue may be of the paused job.
            (2, 2, 0, 2, 2, 0),
            (2, 2, 0, 3, 1, 1),
            (0, 0, 7, 7, 0, 0),
        ] {
            let found = signal(unfinished, paused, ready_or_held, in_retry);
            let given = format!("{unfinished} unfinished, {paused} paused, {ready_or_held} ready or held, {in_retry} in retry");
            assert_eq!((found.unfinished, found.due_later, found.paused), (left, later, paused), "{given}");
        }
    }

    proptest! {
        #[test]
        fn a_signal_tells_of_each_unfinished_company_once_and_hides_none_that_is_ready_or_held(
            (unfinished, paused, ready_or_held, in_retry) in (0_u64..50, 0_u64..50, 0_u64..50, 0_u64..50)
        ) {
            let found = signal(unfinished, paused, ready_or_held, in_retry);
            prop_assert_eq!(found.unfinished + found.due_later, unfinished);
            prop_assert!(found.unfinished >= unfinished.min(ready_or_held));
            prop_assert!(found.due_later <= in_retry);
            prop_assert_eq!(found.work_seconds == 0.0, found.unfinished == 0);
        }
    }
}
