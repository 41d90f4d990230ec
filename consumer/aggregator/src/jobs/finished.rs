//! An index of the jobs that are done, in the order of their done events in the ledger: clocks of machines differ.

use std::collections::{BTreeMap, BTreeSet};

use rollcall_shared::message::Job;

use super::job_state::JobState;

/// The jobs that are done, and what their bitmaps take.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct FinishedJobs {
    /// Each with the offset of its done event.
    jobs: BTreeSet<(u64, Job)>,
    /// Those whose bitmaps have not been dropped.
    with_bitmaps: BTreeSet<(u64, Job)>,
    bitmap_bytes: usize,
}

impl FinishedJobs {
    /// Those of `jobs` that are done.
    pub(super) fn of(jobs: &BTreeMap<Job, JobState>) -> FinishedJobs {
        let mut finished = FinishedJobs::default();
        jobs.iter().for_each(|(job, state)| finished.insert(job, state));
        finished
    }

    /// Adds a job if it is done.
    pub(super) fn insert(&mut self, job: &Job, state: &JobState) {
        let Some(offset) = state.done_offset() else { return };
        self.jobs.insert((offset, job.clone()));
        if !state.is_forgotten() && self.with_bitmaps.insert((offset, job.clone())) {
            self.bitmap_bytes += state.bitmap_bytes();
        }
    }

    /// Removes a job if it is done. Must be called before its state changes.
    pub(super) fn remove(&mut self, job: &Job, state: &JobState) {
        let Some(offset) = state.done_offset() else { return };
        let entry = (offset, job.clone());
        self.jobs.remove(&entry);
        if self.with_bitmaps.remove(&entry) {
            self.bitmap_bytes -= state.bitmap_bytes();
        }
    }

    pub(super) fn len(&self) -> usize {
        self.jobs.len()
    }

    /// Bytes that their bitmaps take in a checkpoint, before base64.
    pub(super) fn bitmap_bytes(&self) -> usize {
        self.bitmap_bytes
    }

    /// The job that finished first.
    pub(super) fn oldest(&self) -> Option<Job> {
        self.jobs.first().map(|(_, job)| job.clone())
    }

    /// The job that finished first among those that have bitmaps.
    pub(super) fn oldest_with_bitmaps(&self) -> Option<Job> {
        self.with_bitmaps.first().map(|(_, job)| job.clone())
    }
}
