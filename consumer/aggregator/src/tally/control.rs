//! Orders to consumers: what the ledger says of a job that is not simply to be scored.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use rollcall_shared::broker::{BrokerError, Publisher};
use rollcall_shared::message::{ControlCommand, ControlMessage, Job};
use rollcall_shared::topology::Topology;

use crate::ledger::{JobCount, Ledger};

/// Standing orders are said again this often: the log of orders does not keep its past for ever.
const REPEAT_EVERY: Duration = Duration::from_secs(3_600);

/// The orders that consumers were given by this aggregator.
pub(super) struct Orders {
    exchange: String,
    paused: HashMap<Job, bool>,
    repeated: Instant,
}

impl Orders {
    pub(super) fn new(topology: &Topology) -> Orders {
        Orders { exchange: topology.control(), paused: HashMap::new(), repeated: Instant::now() }
    }

    /// Tells consumers to set a job's companies aside, or to go on with them, where that has changed.
    pub(super) async fn pause_or_resume(
        &mut self,
        publisher: &mut Publisher<()>,
        job: &Job,
        count: &JobCount,
    ) -> Result<(), BrokerError> {
        let (paused, known) = (count.is_paused(), self.paused.get(job).copied());
        let never_mattered = known.is_none() && (!count.was_paused() || count.state().is_final());
        if known == Some(paused) || never_mattered {
            return Ok(());
        }
        self.give(publisher, job, if paused { ControlCommand::Pause } else { ControlCommand::Resume }).await?;
        if paused || !count.state().is_final() {
            self.paused.insert(job.clone(), paused);
        } else {
            self.paused.remove(job);
        }
        Ok(())
    }

    /// Tells consumers to drop what is left of a job that has ended without it.
    pub(super) async fn drop_rest(&self, publisher: &mut Publisher<()>, job: &Job, count: &JobCount) -> Result<(), BrokerError> {
        match count.dropped_round() {
            Some(round) => self.give(publisher, job, ControlCommand::Drop { round }).await,
            None => Ok(()),
        }
    }

    /// Tells consumers that what they were told of these jobs no longer holds: others may come by the same names.
    pub(super) async fn lift<'j>(
        &mut self,
        publisher: &mut Publisher<()>,
        jobs: impl IntoIterator<Item = &'j Job>,
    ) -> Result<(), BrokerError> {
        for job in jobs {
            self.paused.remove(job);
            self.give(publisher, job, ControlCommand::Forget).await?;
        }
        Ok(())
    }

    /// Whether it is time to say the standing orders again.
    pub(super) fn is_time_to_repeat(&self) -> bool {
        self.repeated.elapsed() >= REPEAT_EVERY
    }

    /// Says the standing orders again.
    pub(super) async fn repeat(&mut self, publisher: &mut Publisher<()>, ledger: &Ledger) -> Result<(), BrokerError> {
        self.repeated = Instant::now();
        for (job, _) in ledger.jobs().filter(|(_, count)| count.is_paused()) {
            self.give(publisher, job, ControlCommand::Pause).await?;
        }
        Ok(())
    }

    async fn give(&self, publisher: &mut Publisher<()>, job: &Job, command: ControlCommand) -> Result<(), BrokerError> {
        let control = ControlMessage { job: job.clone(), command };
        let message = control.message(self.exchange.clone())?;
        publisher.publish_now((), message).await?;
        tracing::info!(%job, order = ?control.command, "told consumers");
        Ok(())
    }
}
