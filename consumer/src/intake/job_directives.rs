//! What the control messages say about each job, folded from the control log.

use std::collections::{HashMap, VecDeque};

use rollcall_shared::message::{ControlMessage, Directive, Job};

use super::interruptions::Interruptions;

/// Jobs whose interrupted deliveries are remembered: no message says when they are no longer needed.
const INTERRUPTED_JOBS_AT_MOST: usize = 10_000;

/// The directives in force, by job.
#[derive(Debug, Default)]
pub(crate) struct JobDirectives {
    jobs: HashMap<Job, InForce>,
    /// Jobs with interrupted deliveries, the oldest first.
    interrupted: VecDeque<Job>,
}

/// The directives in force about one job.
#[derive(Debug, Default)]
pub(super) struct InForce {
    /// Companies up to this round are not to be scored.
    pub(super) dropped_through: Option<u32>,
    pub(super) paused: bool,
    pub(super) interruptions: Interruptions,
}

impl JobDirectives {
    /// Applies a control message.
    pub(crate) fn apply(&mut self, control: ControlMessage) {
        if control.directive == Directive::Forget {
            self.jobs.remove(&control.job);
            return;
        }
        let ControlMessage { job, directive } = control;
        let in_force = self.jobs.entry(job.clone()).or_default();
        match directive {
            Directive::Drop { round } => in_force.dropped_through = in_force.dropped_through.max(Some(round)),
            Directive::Pause => in_force.paused = true,
            Directive::Resume | Directive::Forget => in_force.paused = false,
            Directive::Interrupted(interrupted) => {
                let is_first = in_force.interruptions.is_empty();
                in_force.interruptions.add(interrupted);
                if is_first {
                    self.interrupted.push_back(job);
                    self.forget_oldest_interrupted();
                }
            }
        }
    }

    fn forget_oldest_interrupted(&mut self) {
        while self.interrupted.len() > INTERRUPTED_JOBS_AT_MOST
            && let Some(oldest) = self.interrupted.pop_front()
        {
            if let Some(in_force) = self.jobs.get_mut(&oldest) {
                in_force.interruptions = Interruptions::default();
            }
        }
    }

    pub(super) fn of(&self, job: &Job) -> Option<&InForce> {
        if self.jobs.is_empty() { None } else { self.jobs.get(job) }
    }
}
