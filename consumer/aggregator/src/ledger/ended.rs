//! The jobs that have ended, in the order in which their done events stand in the ledger.

use std::collections::{BTreeMap, BTreeSet};

use rollcall_shared::message::Job;

use super::JobCount;

/// Which jobs have ended, and what their bitmaps take.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Ended {
    jobs: BTreeSet<(u64, Job)>,
    /// Those of them whose bitmaps are not given up.
    with_bitmaps: BTreeSet<(u64, Job)>,
    bitmap_bytes: usize,
}

impl Ended {
    /// Those of `jobs`.
    pub(super) fn of(jobs: &BTreeMap<Job, JobCount>) -> Ended {
        let mut ended = Ended::default();
        jobs.iter().for_each(|(job, count)| ended.insert(job, count));
        ended
    }

    /// Adds a job, if it has ended.
    pub(super) fn insert(&mut self, job: &Job, count: &JobCount) {
        let Some(offset) = count.done_offset() else { return };
        self.jobs.insert((offset, job.clone()));
        if !count.is_forgotten() && self.with_bitmaps.insert((offset, job.clone())) {
            self.bitmap_bytes += count.bitmap_bytes();
        }
    }

    /// Removes a job, if it has ended: before its count changes.
    pub(super) fn remove(&mut self, job: &Job, count: &JobCount) {
        let Some(offset) = count.done_offset() else { return };
        let ended = (offset, job.clone());
        self.jobs.remove(&ended);
        if self.with_bitmaps.remove(&ended) {
            self.bitmap_bytes -= count.bitmap_bytes();
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.jobs.len()
    }

    /// What their bitmaps take.
    pub(super) fn bitmap_bytes(&self) -> usize {
        self.bitmap_bytes
    }

    /// The one that ended first.
    pub(super) fn oldest(&self) -> Option<Job> {
        self.jobs.first().map(|(_, job)| job.clone())
    }

    /// The one that ended first of those that have bitmaps.
    pub(super) fn oldest_with_bitmaps(&self) -> Option<Job> {
        self.with_bitmaps.first().map(|(_, job)| job.clone())
    }
}
