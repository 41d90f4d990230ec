//! Reads one job's results from the ledger.

use lapin::message::Delivery;
use rollcall_shared::broker::{BrokerConnection, BrokerError, StreamReader};
use rollcall_shared::message::{Event, Job, JobEvent, JobStatus, Opening, RESULT_TYPE, Redriven, ResultHeaders, offset};
use rollcall_shared::topology::Topology;

/// A record of one job in the ledger.
pub(crate) enum Replayed {
    /// A result: its headers and its body.
    Result(ResultHeaders, Vec<u8>),
    /// Companies were enqueued again.
    Redriven(Redriven),
}

/// Reads the ledger from a job's first record to the last one that its status counted.
pub(crate) struct Replay {
    records: StreamReader,
    job: Job,
    opening: Option<Opening>,
    end: u64,
    ended: bool,
}

impl Replay {
    pub(crate) async fn open(link: &BrokerConnection, topology: &Topology, status: &JobStatus) -> Result<Replay, BrokerError> {
        let records = StreamReader::open(link, topology.ledger(), status.first_offset).await?;
        let (job, opening) = (status.job.clone(), status.opening);
        Ok(Replay { records, job, opening, end: status.next_offset, ended: false })
    }

    /// The job's next result or redrive; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Replayed>, BrokerError> {
        while !self.ended {
            // Yields at times: while records are always ready, no other task would run, not even the one that waits for a signal.
            tokio::task::consume_budget().await;
            let delivery = self.records.next_known().await?;
            self.ended = offset(&delivery.properties).is_some_and(|offset| offset + 1 >= self.end);
            if let Some(replayed) = self.read(delivery) {
                return Ok(Some(replayed));
            }
        }
        Ok(None)
    }

    fn read(&self, delivery: Delivery) -> Option<Replayed> {
        if delivery.properties.kind().as_ref().is_some_and(|kind| kind.as_str() == RESULT_TYPE) {
            let counted =
                ResultHeaders::read(&delivery.properties).ok().filter(|counted| self.is_of(&counted.job, counted.opening))?;
            return Some(Replayed::Result(counted, delivery.data));
        }
        match Event::read(&delivery.data).ok()?.event {
            JobEvent::Redriven(redriven) if self.is_of(&redriven.job, redriven.opening) => Some(Replayed::Redriven(redriven)),
            _ => None,
        }
    }

    /// Whether a record is of this job: one of the same name, opened by another producer, has another opening.
    fn is_of(&self, job: &Job, opening: Option<Opening>) -> bool {
        *job == self.job && (opening.is_none() || opening == self.opening)
    }
}
