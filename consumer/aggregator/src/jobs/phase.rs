//! The phases of a job's life, and the one function that leads from one to another.
//!
//! ```mermaid
//! stateDiagram-v2
//!     [*] --> Unsealed: opened
//!     Unsealed --> Running: sealed
//!     Unsealed --> Due: cancelled, expired, or too many failures
//!     Running --> Due: the last expected outcome, or cancelled, expired, too many failures
//!     Due --> Done: the done event is read back
//!     Done --> Running: redriven
//!     Done --> [*]: only the 1,000 jobs that ended last are kept
//!     note right of Unsealed: may be paused
//!     note right of Running: may be paused
//!     note right of Due: a seal that comes late is kept, and applied when the done event is read
//!     note right of Done: after a while without the bitmaps of companies, and then not redriven
//! ```
//!
//! What is published and shown is a [`State`]: of an unfinished job `paused`, `unsealed` or `running`; of one that is due or done, how
//! it ended.

use rollcall_shared::message::{Done, State};
use serde::{Deserialize, Serialize};

use super::record::Ignored;

/// The phase that a job is in.
///
/// `paused` is a flag of two phases and not a phase: a job is sealed while it is paused, and paused before and after it is sealed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Phase {
    /// Its total is not yet known.
    Unsealed { paused: bool },
    /// It ends with the last outcome that is expected.
    Running { paused: bool },
    /// It has ended, and the ledger has no done event of it yet.
    Due {
        end: State,
        /// The total, if its producer seals the job in this phase. The done event that was sent does not contain it, and so it is applied
        /// after the done event is read.
        late_total: Option<u64>,
    },
    /// The ledger has its done event.
    Done {
        done: Box<Done>,
        /// Where in the ledger the done event is.
        offset: u64,
        /// Whether its bitmaps were dropped: only the counts in the done event remain.
        forgotten: bool,
    },
}

/// What leads from one phase to another.
#[derive(Debug)]
pub(super) enum Step {
    Pause,
    Resume,
    /// The producer publishes the total.
    Seal {
        total: u64,
    },
    /// The job ends in this final state: every expected company has an outcome, or the job is cut short.
    End(State),
    /// The done event is read from the ledger.
    Finish {
        done: Box<Done>,
        offset: u64,
    },
    /// Some companies are enqueued again.
    Redrive,
    /// The bitmaps are dropped.
    Forget,
}

impl Phase {
    /// Makes a step, and returns whether that changed the phase: a step that is repeated or comes too late is normal, because every
    /// message may be delivered twice and senders do not know of one another, and changes nothing.
    ///
    /// # Errors
    /// [`Ignored::Contradiction`] if no correct sender could make the step.
    pub(super) fn next(&mut self, step: Step) -> Result<bool, Ignored> {
        use Phase::{Done, Due, Running, Unsealed};
        let next = match (&*self, step) {
            (Unsealed { paused: false }, Step::Pause) => Unsealed { paused: true },
            (Unsealed { paused: true }, Step::Resume) => Unsealed { paused: false },
            (&Unsealed { paused }, Step::Seal { .. }) => Running { paused },
            (Running { paused: false }, Step::Pause) => Running { paused: true },
            (Running { paused: true }, Step::Resume) => Running { paused: false },
            (Unsealed { .. } | Running { .. }, Step::End(end)) => Due { end, late_total: None },
            (&Due { end, late_total: None }, Step::Seal { total }) => Due { end, late_total: Some(total) },
            (Due { .. }, Step::Finish { done, offset }) => Done { done, offset, forgotten: false },
            (Done { forgotten: false, .. }, Step::Redrive) => Running { paused: false },
            (Done { done, offset, forgotten: false }, Step::Forget) => {
                Done { done: done.clone(), offset: *offset, forgotten: true }
            }

            (Unsealed { .. } | Running { .. }, Step::Finish { .. }) => return Err(Ignored::Contradiction),
            (Unsealed { .. } | Running { .. } | Due { .. }, Step::Forget) => return Err(Ignored::Contradiction),

            (Unsealed { .. }, Step::Pause | Step::Resume | Step::Redrive) => return Ok(false),
            (Running { .. }, Step::Pause | Step::Resume | Step::Redrive | Step::Seal { .. }) => return Ok(false),
            // Whatever ends a job first counts.
            (Due { .. }, Step::Pause | Step::Resume | Step::Redrive | Step::Seal { .. } | Step::End(_)) => return Ok(false),
            (Done { .. }, _) => return Ok(false),
        };
        *self = next;
        Ok(true)
    }

    /// The state that is published and shown.
    pub(super) fn state(&self) -> State {
        match self {
            Phase::Unsealed { paused: true } | Phase::Running { paused: true } => State::Paused,
            Phase::Unsealed { paused: false } => State::Unsealed,
            Phase::Running { paused: false } => State::Running,
            Phase::Due { end, .. } => *end,
            Phase::Done { done, .. } => done.state,
        }
    }

    /// Whether the job has ended.
    pub(super) fn has_ended(&self) -> bool {
        matches!(self, Phase::Due { .. } | Phase::Done { .. })
    }

    pub(super) fn is_running(&self) -> bool {
        matches!(self, Phase::Running { .. })
    }

    pub(super) fn is_due(&self) -> bool {
        matches!(self, Phase::Due { .. })
    }

    /// Whether the bitmaps were dropped.
    pub(super) fn is_forgotten(&self) -> bool {
        matches!(self, Phase::Done { forgotten: true, .. })
    }

    pub(super) fn late_total(&self) -> Option<u64> {
        if let Phase::Due { late_total, .. } = self { *late_total } else { None }
    }

    /// The done event, once the ledger has it.
    pub(super) fn done(&self) -> Option<&Done> {
        if let Phase::Done { done, .. } = self { Some(done) } else { None }
    }

    /// Where in the ledger the done event is.
    pub(super) fn done_offset(&self) -> Option<u64> {
        if let Phase::Done { offset, .. } = self { Some(*offset) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(offset: u64) -> Step {
        let state = State::Succeeded;
        let done = Done {
            job: "j".parse().unwrap(),
            model: None,
            state,
            total: 1,
            succeeded: 1,
            failed: 0,
            cancelled: 0,
            duplicates: 0,
            retries: 0,
            opened_at: None,
            done_at: Some("2026-01-01T00:00:00Z".parse().unwrap()),
            duration_seconds: None,
            companies_per_second: None,
            causes: Vec::new(),
            reason: None,
            redrives: 0,
            results_to: None,
        };
        Step::Finish { done: Box::new(done), offset }
    }

    #[test]
    fn a_step_changes_the_phase_once_and_a_repetition_or_a_late_one_changes_nothing() {
        let mut phase = Phase::Unsealed { paused: false };
        for (step, changed, state) in [
            (Step::Pause, true, State::Paused),
            (Step::Pause, false, State::Paused),
            (Step::Seal { total: 1 }, true, State::Paused),
            (Step::Seal { total: 1 }, false, State::Paused),
            (Step::Resume, true, State::Running),
            (Step::Redrive, false, State::Running),
            (Step::End(State::Succeeded), true, State::Succeeded),
            (Step::End(State::Cancelled), false, State::Succeeded),
            (Step::Pause, false, State::Succeeded),
            (Step::Redrive, false, State::Succeeded),
            (done(7), true, State::Succeeded),
            (done(8), false, State::Succeeded),
            (Step::End(State::Expired), false, State::Succeeded),
            (Step::Redrive, true, State::Running),
            (Step::End(State::Failed), true, State::Failed),
            (done(9), true, State::Succeeded),
            (Step::Forget, true, State::Succeeded),
            (Step::Redrive, false, State::Succeeded),
        ] {
            let said = format!("{step:?} in {phase:?}");
            assert_eq!((phase.next(step), phase.state()), (Ok(changed), state), "{said}");
        }
        assert_eq!(phase.done_offset(), Some(9));
    }

    #[test]
    fn a_job_that_has_not_ended_is_not_finished_and_only_one_that_is_finished_is_forgotten() {
        let open = [Phase::Unsealed { paused: false }, Phase::Running { paused: true }];
        for phase in open {
            for step in [done(1), Step::Forget] {
                let mut after = phase.clone();
                assert_eq!((after.next(step), &after), (Err(Ignored::Contradiction), &phase));
            }
        }
        let mut due = Phase::Due { end: State::Cancelled, late_total: None };
        assert_eq!(due.next(Step::Forget), Err(Ignored::Contradiction));
    }

    #[test]
    fn a_total_that_is_told_while_the_done_event_is_awaited_is_kept_until_then() {
        let mut due = Phase::Due { end: State::Cancelled, late_total: None };
        assert_eq!(due.next(Step::Seal { total: 3 }), Ok(true));
        assert_eq!((due.late_total(), due.state()), (Some(3), State::Cancelled));
    }
}
