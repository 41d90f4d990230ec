//! What is published of a job: its companies, status, progress and done event. Once it is done, the counts are those of its done event.

use roaring::RoaringBitmap;
use rollcall_shared::message::{CompanySet, Done, Indices, Job, JobStatus, Progress, Timestamp};

use super::{CutShort, JobState, ProgressMark};

impl JobState {
    /// How far it has come.
    pub fn progress_mark(&self) -> ProgressMark {
        let (counted, enqueued) = (self.outcomes.len(), self.enqueued);
        ProgressMark { counted, enqueued, round: self.round(), state: self.state() }
    }

    /// Companies that are enqueued, as far as the ledger tells, and have no outcome yet. 0 once it has ended.
    pub fn outstanding(&self) -> u64 {
        match (self.phase.has_ended(), self.expected(), u32::try_from(self.enqueued)) {
            (true, ..) => 0,
            (false, Some(expected), _) => expected.saturating_sub(self.outcomes.len()),
            (false, None, Ok(enqueued)) => u64::from(enqueued) - self.outcomes.len_before(enqueued),
            // More than there are indices.
            (false, None, Err(_)) => 0,
        }
    }

    /// The companies of this set; `None` if they were forgotten.
    pub fn companies(&self, which: &CompanySet) -> Option<Indices> {
        if self.is_forgotten() {
            return None;
        }
        let reopened = || self.redrive.as_ref().map_or_else(RoaringBitmap::new, |redrive| redrive.reopened.0.clone());
        Some(Indices(match which {
            CompanySet::Counted => self.outcomes.counted().clone(),
            CompanySet::Cause(cause) => self.outcomes.failed_for(cause),
            CompanySet::Failed => self.outcomes.failed(),
            CompanySet::Redriven => reopened(),
        }))
    }

    /// The ledger offset of its first record.
    pub fn first_offset(&self) -> u64 {
        self.first_offset
    }

    fn failed(&self) -> u64 {
        self.phase.done().map_or(self.outcomes.failures(), |done| done.failed)
    }

    fn succeeded(&self) -> u64 {
        self.phase.done().map_or(self.outcomes.len() - self.outcomes.failures(), |done| done.succeeded)
    }

    /// Companies with an outcome.
    pub fn counted(&self) -> u64 {
        self.succeeded().saturating_add(self.failed())
    }

    /// How many companies it has; at least, if it was cut short before that was known.
    fn total(&self) -> Option<u64> {
        if let Some(done) = self.phase.done() {
            return Some(done.total);
        }
        let at_least = |cut: &CutShort| match cut.round == self.round() {
            // Its done event is due, and contains what was known when it was cut short.
            true => cut.total,
            false => cut.total.max(self.enqueued).max(self.outcomes.len()),
        };
        self.total.or_else(|| self.cut_short.as_ref().map(at_least))
    }

    /// Companies without an outcome of a job that has ended.
    fn cancelled(&self) -> u64 {
        if let Some(done) = self.phase.done() {
            return done.cancelled;
        }
        let uncounted = self.total().unwrap_or_default().saturating_sub(self.counted());
        if self.phase.has_ended() { uncounted } else { 0 }
    }

    /// The done event: `duration_seconds` is the time from the opening to `done_at`, if that is known.
    pub fn done(&self, job: &Job, done_at: Timestamp, duration_seconds: Option<f64>) -> Done {
        self.status(job, duration_seconds, self.first_offset).ended(done_at)
    }

    /// A progress event: `companies_per_second` is the rate since the last one.
    pub fn progress(&self, job: &Job, companies_per_second: f64) -> Progress {
        Progress {
            job: job.clone(),
            model: Some(self.model().clone()),
            state: self.state(),
            total: self.total,
            succeeded: self.succeeded(),
            failed: self.failed(),
            companies_per_second,
        }
    }

    /// Its status. `running_seconds` is how long it has run if it is not done; `None` if that is unknown.
    pub fn status(&self, job: &Job, running_seconds: Option<f64>, next_offset: u64) -> JobStatus {
        let done = self.phase.done();
        let duration_seconds = done.map_or(running_seconds, |done| done.duration_seconds);
        let counted_before = self.redrive.as_ref().map_or(0, |redrive| redrive.expected - redrive.reopened.0.len());
        let rate = duration_seconds.map(|seconds| per_second(self.counted().saturating_sub(counted_before), seconds));
        let cut_short = self.cut_short.as_ref().filter(|cut| self.state() == cut.end);
        JobStatus {
            job: job.clone(),
            opening: self.opened.opening,
            model: Some(self.model().clone()),
            state: self.state(),
            total: self.total(),
            sealed: self.total,
            succeeded: self.succeeded(),
            failed: self.failed(),
            cancelled: self.cancelled(),
            duplicates: done.map_or(self.duplicates, |done| done.duplicates),
            retries: self.retries,
            opened_at: self.opened.opened_at,
            done_at: done.and_then(|done| done.done_at),
            duration_seconds,
            // Of a job that is done, the bitmaps that the rate is calculated from may be forgotten.
            companies_per_second: done.map_or(rate, |done| done.companies_per_second),
            causes: done.map_or_else(|| self.outcomes.causes(), |done| done.causes.clone()),
            reason: cut_short.and_then(|cut| cut.reason.clone()),
            source: Some(self.opened.source.clone()),
            settings: self.settings().clone(),
            enqueued: self.enqueued,
            redrives: self.round(),
            redriven_by: self.redrive.as_ref().map(|redrive| redrive.by.clone()),
            stalled: None,
            first_offset: self.first_offset,
            next_offset,
        }
    }
}

fn per_second(companies: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { (companies as f64 / seconds * 10.0).round() / 10.0 } else { 0.0 }
}
