//! What is left to score of each model, as far as the ledger tells.

use std::time::Duration;

use rollcall_shared::message::State;

use super::job_state::JobState;

/// A job that was opened this long ago, and of which nothing is known to be enqueued, may have no companies at all.
const NEW_FOR: Duration = Duration::from_secs(60);

/// What is left to score of one model.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Workload {
    /// Companies without an outcome of jobs that are not paused.
    pub unfinished: u64,
    /// Companies without an outcome of paused jobs.
    pub paused: u64,
    /// Measured seconds of one scoring thread for a company; `None` before the first.
    pub seconds_per_company: Option<f64>,
}

impl Workload {
    /// Adds what is left of an unfinished job of the model.
    pub(super) fn add(&mut self, state: &JobState, clock_us: u64) {
        let outstanding = match state.outstanding() {
            // Its producer says how many companies it has enqueued only after a second, and a fleet that has no consumer should start one
            // now.
            0 if state.is_just_opened(clock_us, NEW_FOR) => 1,
            outstanding => outstanding,
        };
        let of = if state.state() == State::Paused { &mut self.paused } else { &mut self.unfinished };
        *of = of.saturating_add(outstanding);
    }
}
