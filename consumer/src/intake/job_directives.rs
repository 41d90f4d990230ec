//! What the control messages say about each job, folded from the control log.

use std::collections::{HashMap, VecDeque};

use rollcall_shared::message::{ControlCommand, ControlMessage, Job};

use super::interruptions::Interruptions;

/// Jobs whose interrupted deliveries are remembered: no message says when they are no longer needed.
const INTERRUPTED_JOBS_AT_MOST: usize = 10_000;

/// The directives in force, by job.
#[derive(Debug, Default)]
pub(crate) struct JobDirectives {
    jobs: HashMap<Job, JobDirective>,
    /// Jobs with interrupted deliveries, the oldest first.
    interrupted: VecDeque<Job>,
}

/// The directives about one job.
#[derive(Debug, Default)]
pub(super) struct JobDirective {
    /// Companies up to this round are not to be scored.
    pub(super) dropped_through: Option<u32>,
    pub(super) paused: bool,
    pub(super) interruptions: Interruptions,
}

impl JobDirectives {
    /// Applies a control message.
    pub(crate) fn apply(&mut self, control: ControlMessage) {
        if control.command == ControlCommand::Forget {
            self.jobs.remove(&control.job);
            return;
        }
        let ControlMessage { job, command } = control;
        let directive = self.jobs.entry(job.clone()).or_default();
        match command {
            ControlCommand::Drop { round } => directive.dropped_through = directive.dropped_through.max(Some(round)),
            ControlCommand::Pause => directive.paused = true,
            ControlCommand::Resume | ControlCommand::Forget => directive.paused = false,
            ControlCommand::Interrupted(interrupted) => {
                let is_first = directive.interruptions.is_empty();
                directive.interruptions.add(interrupted);
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
            if let Some(directive) = self.jobs.get_mut(&oldest) {
                directive.interruptions = Interruptions::default();
            }
        }
    }

    pub(super) fn of(&self, job: &Job) -> Option<&JobDirective> {
        if self.jobs.is_empty() { None } else { self.jobs.get(job) }
    }
}
