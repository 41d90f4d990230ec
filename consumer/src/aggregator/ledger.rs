//! The count: `state = fold(records)`, over the ledger's records in their order.
//!
//! A pure function. There is no broker in it, no clock and no I/O: who calls it brings the records and the time.

mod job;
mod snapshot;

pub use job::JobCount;
pub use snapshot::BadSnapshot;

use std::collections::BTreeMap;

use rollcall_shared::message::{Counted, Job, JobEvent, Model};
use serde::{Deserialize, Serialize};

/// Finished jobs remembered. Each costs a few hundred bytes in every checkpoint; the ledger keeps what is forgotten here.
const FINISHED_JOBS_KEPT: usize = 1_000;

/// What the companies of finished jobs may take in every checkpoint. Mostly they are whole runs, of a few bytes; a hundred thousand
/// failures here and there are 200 kB.
const FINISHED_BITMAP_BYTES: usize = 4 << 20;

/// One record of the ledger, as far as counting is concerned.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// The outcome of one company.
    Result(Counted),
    /// Something about a job as a whole.
    Event(JobEvent),
    /// Nothing to count: a marker, or a message that is none of ours.
    Nothing,
}

/// What is known of every job after the records read so far.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Ledger {
    next_offset: u64,
    jobs: BTreeMap<Job, JobCount>,
    /// Jobs no longer known of which consumers were told something, and not yet that it no longer holds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    forgotten: Vec<Job>,
}

impl Ledger {
    /// The offset of the record to be read next.
    pub fn next_offset(&self) -> u64 {
        self.next_offset
    }

    /// Takes in the record at `offset` and says which job it was about. A record that was taken in before changes nothing.
    pub fn apply(&mut self, offset: u64, record: Record) -> Option<Job> {
        if offset < self.next_offset {
            return None;
        }
        self.next_offset = offset + 1;
        match record {
            Record::Result(result) => {
                self.job_at(&result.job, offset).count(&result);
                Some(result.job)
            }
            Record::Event(event) => {
                let job = event.job().clone();
                let ends = matches!(event, JobEvent::Done(_));
                self.job_at(&job, offset).hear(event);
                if ends {
                    self.forget_oldest_finished();
                }
                Some(job)
            }
            Record::Nothing => None,
        }
    }

    fn job_at(&mut self, job: &Job, offset: u64) -> &mut JobCount {
        self.jobs.entry(job.clone()).or_insert_with(|| JobCount::new(offset))
    }

    fn forget_oldest_finished(&mut self) {
        self.forget_companies_of_finished();
        // A job that was never opened is a late echo of one that was forgotten: it goes first.
        let finished = || self.jobs.iter().filter(|(_, count)| count.done_at().is_some() || count.model().is_none());
        if finished().count() <= FINISHED_JOBS_KEPT {
            return;
        }
        let oldest = finished().min_by_key(|(_, count)| count.done_at()).map(|(job, _)| job.clone());
        if let Some(oldest) = oldest
            && self.jobs.remove(&oldest).is_some_and(|count| count.had_orders())
        {
            self.forgotten.push(oldest);
        }
    }

    /// Takes runs of companies together in the counts of jobs under way: most are answered for in about their order.
    pub fn optimize(&mut self) {
        self.jobs.values_mut().filter(|count| count.done_at().is_none()).for_each(JobCount::optimize);
    }

    /// The jobs that are no longer known, and of which consumers were told something. Each is given once.
    pub fn take_forgotten(&mut self) -> Vec<Job> {
        std::mem::take(&mut self.forgotten)
    }

    /// Gives up what companies of finished jobs came to, the oldest first, down to what a checkpoint can hold.
    fn forget_companies_of_finished(&mut self) {
        let kept = |count: &JobCount| count.done_at().is_some() && !count.is_forgotten();
        let mut bytes: usize = self.jobs.values().filter(|count| kept(count)).map(JobCount::bitmap_bytes).sum();
        while bytes > FINISHED_BITMAP_BYTES {
            let oldest = self.jobs.values_mut().filter(|count| kept(count)).min_by(|a, b| a.done_at().cmp(&b.done_at()));
            let Some(oldest) = oldest else { return };
            bytes -= oldest.bitmap_bytes();
            oldest.forget();
        }
    }

    /// One job's count.
    pub fn job(&self, job: &Job) -> Option<&JobCount> {
        self.jobs.get(job)
    }

    /// Every job, in the order of their names: for the names that Rollcall gives, the order in which they were made.
    pub fn jobs(&self) -> impl Iterator<Item = (&Job, &JobCount)> {
        self.jobs.iter()
    }

    /// The models of the jobs that have not ended.
    pub fn models(&self) -> impl Iterator<Item = &Model> {
        self.jobs.values().filter(|count| !count.state().is_final()).filter_map(JobCount::model)
    }
}

#[cfg(test)]
mod tests;
