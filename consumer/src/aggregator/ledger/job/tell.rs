//! What is told of a job: to whoever asks, as it moves, and at its end. Once it has ended, that is what its done event says.

use roaring::RoaringBitmap;
use rollcall_shared::message::{CauseCount, Done, Job, JobStatus, Progress};

use super::JobCount;

impl JobCount {
    pub(super) fn failed(&self) -> u64 {
        self.done.as_ref().map_or(self.failures, |done| done.failed)
    }

    pub(super) fn succeeded(&self) -> u64 {
        self.done.as_ref().map_or(self.terminal.len() - self.failures, |done| done.succeeded)
    }

    /// How many companies it has; of one that was cut short before that was known, how many at least.
    pub(super) fn total(&self) -> Option<u64> {
        if let Some(done) = &self.done {
            return Some(done.total);
        }
        let cut = self.cut_short.as_ref();
        let seen = self.terminal.max().map_or(0, |last| u64::from(last) + 1);
        let at_least = || cut.map(|cut| cut.total.unwrap_or(self.enqueued).max(seen));
        self.total.or_else(at_least)
    }

    fn left_over(&self) -> u64 {
        if let Some(done) = &self.done {
            return done.cancelled;
        }
        let uncounted = self.total().unwrap_or_default().saturating_sub(self.counted());
        if self.state().is_final() { uncounted } else { 0 }
    }

    fn causes(&self) -> Vec<CauseCount> {
        if let Some(done) = &self.done {
            return done.causes.clone();
        }
        let count = |(cause, indices): (&String, &RoaringBitmap)| CauseCount { cause: cause.clone(), count: indices.len() };
        let mut causes: Vec<CauseCount> = self.failed.iter().map(count).collect();
        causes.sort_by_key(|cause| std::cmp::Reverse(cause.count));
        causes
    }

    /// The event that tells the world the job has ended: `done_at` is RFC 3339 in UTC, `duration_seconds` from its opening to then.
    pub fn done(&self, job: &Job, done_at: String, duration_seconds: f64) -> Done {
        self.status(job, Some(duration_seconds), self.first_offset).ended(done_at)
    }

    /// How the job moves: `companies_per_second` is the rate since the last such event.
    pub fn progress(&self, job: &Job, companies_per_second: f64) -> Progress {
        Progress {
            job: job.clone(),
            model: self.model().cloned(),
            state: self.state(),
            total: self.total,
            succeeded: self.succeeded(),
            failed: self.failed(),
            companies_per_second,
        }
    }

    /// How the job stands, `running_seconds` after it began if it has not ended.
    pub fn status(&self, job: &Job, running_seconds: Option<f64>, next_offset: u64) -> JobStatus {
        let duration_seconds = self.done.as_ref().map(|done| done.duration_seconds).or(running_seconds);
        let answered = self.redrive.as_ref().map_or(0, |redrive| redrive.expected - redrive.reopened.len());
        let cut_short = self.cut_short.as_ref().filter(|cut| self.state() == cut.how);
        let running = duration_seconds.map(|seconds| per_second(self.counted().saturating_sub(answered), seconds));
        // Its companies, by which the rate is reckoned, may be forgotten.
        let said = self.done.as_ref().map(|done| done.companies_per_second);
        JobStatus {
            job: job.clone(),
            model: self.model().cloned(),
            state: self.state(),
            total: self.total(),
            sealed: self.total,
            succeeded: self.succeeded(),
            failed: self.failed(),
            cancelled: self.left_over(),
            duplicates: self.done.as_ref().map_or(self.duplicates, |done| done.duplicates),
            retries: self.retries,
            opened_at: self.opened_at().map(str::to_owned),
            done_at: self.done.as_ref().map(|done| done.done_at.clone()),
            duration_seconds,
            companies_per_second: said.or(running),
            causes: self.causes(),
            reason: cut_short.and_then(|cut| cut.reason.clone()),
            source: self.opened.as_ref().map(|opened| opened.source.clone()),
            settings: self.settings(),
            enqueued: self.enqueued,
            redrives: self.round(),
            redriven_by: self.redrive.as_ref().map(|redrive| redrive.by.clone()),
            first_offset: self.first_offset,
            next_offset,
        }
    }
}

fn per_second(companies: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { (companies as f64 / seconds * 10.0).round() / 10.0 } else { 0.0 }
}
