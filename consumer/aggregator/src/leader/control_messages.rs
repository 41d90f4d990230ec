//! Control messages: directives to consumers, what to do with the companies of a job other than score them.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use rollcall_shared::broker::{BrokerError, Publisher};
use rollcall_shared::message::{ControlMessage, Directive, Job};
use rollcall_shared::topology::Topology;

use crate::jobs::{JobState, Jobs};

/// Pauses are sent again this often: the control log does not keep messages for ever.
const REPEAT_EVERY: Duration = Duration::from_secs(3_600);

/// Sends control messages, and remembers which jobs this leader has paused or resumed.
pub(super) struct ControlMessages {
    exchange: String,
    paused: HashMap<Job, bool>,
    repeated_at: Instant,
}

impl ControlMessages {
    pub(super) fn new(topology: &Topology) -> ControlMessages {
        ControlMessages { exchange: topology.control(), paused: HashMap::new(), repeated_at: Instant::now() }
    }

    /// Tells consumers to set a job's companies aside, or to score them again, if that has changed.
    pub(super) async fn pause_or_resume(
        &mut self,
        publisher: &mut Publisher<()>,
        job: &Job,
        state: &JobState,
    ) -> Result<(), BrokerError> {
        let (is_paused, sent) = (state.is_paused(), self.paused.get(job).copied());
        let is_unpaused = sent.is_none() && (!state.was_paused() || state.state().is_final());
        if sent == Some(is_paused) || is_unpaused {
            return Ok(());
        }
        self.send(publisher, job, if is_paused { Directive::Pause } else { Directive::Resume }).await?;
        if is_paused || !state.state().is_final() {
            self.paused.insert(job.clone(), is_paused);
        } else {
            self.paused.remove(job);
        }
        Ok(())
    }

    /// Tells consumers to drop the remaining companies of a job that was cut short.
    pub(super) async fn drop_rest(&self, publisher: &mut Publisher<()>, job: &Job, state: &JobState) -> Result<(), BrokerError> {
        match state.dropped_round() {
            Some(round) => self.send(publisher, job, Directive::Drop { round }).await,
            None => Ok(()),
        }
    }

    /// Tells consumers to forget all directives about these jobs: other jobs may take their names.
    pub(super) async fn withdraw<'j>(
        &mut self,
        publisher: &mut Publisher<()>,
        jobs: impl IntoIterator<Item = &'j Job>,
    ) -> Result<(), BrokerError> {
        for job in jobs {
            self.paused.remove(job);
            self.send(publisher, job, Directive::Forget).await?;
        }
        Ok(())
    }

    /// Whether it is time to send the pauses again.
    pub(super) fn is_repetition_due(&self) -> bool {
        self.repeated_at.elapsed() >= REPEAT_EVERY
    }

    /// Sends the pauses that hold again.
    pub(super) async fn repeat(&mut self, publisher: &mut Publisher<()>, jobs: &Jobs) -> Result<(), BrokerError> {
        self.repeated_at = Instant::now();
        for (job, _) in jobs.all().filter(|(_, state)| state.is_paused()) {
            self.send(publisher, job, Directive::Pause).await?;
        }
        Ok(())
    }

    async fn send(&self, publisher: &mut Publisher<()>, job: &Job, directive: Directive) -> Result<(), BrokerError> {
        let control = ControlMessage { job: job.clone(), directive };
        let message = control.message(self.exchange.clone()).map_err(BrokerError::NotJson)?;
        publisher.publish_now((), message).await?;
        tracing::info!(event = "control_sent", %job, directive = ?control.directive, "sent a control message to consumers");
        Ok(())
    }
}
