//! What is told of a job: to whoever asks, as it moves, and at its end. Once it has ended, that is what its done event says.

use roaring::RoaringBitmap;
use rollcall_shared::message::{CauseCount, Done, Job, JobStatus, Progress, State, Timestamp};

use super::{CutShort, JobCount};

/// A point of a job's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    answered: u64,
    enqueued: u64,
    round: u32,
    state: State,
}

impl Mark {
    /// Whether the job is being done again.
    pub fn is_redriven(&self) -> bool {
        self.round > 0
    }
}

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
        let at_least = |cut: &CutShort| match cut.round == self.round() {
            // Its done event is due: what is said of its end stays as it is until that is read.
            true => cut.total,
            false => cut.total.max(self.enqueued).max(self.terminal.len()),
        };
        self.total.or_else(|| self.cut_short.as_ref().map(at_least))
    }

    fn left_over(&self) -> u64 {
        if let Some(done) = &self.done {
            return done.cancelled;
        }
        let uncounted = self.total().unwrap_or_default().saturating_sub(self.counted());
        if self.state().is_final() { uncounted } else { 0 }
    }

    /// Companies that are on their way: enqueued, as far as the ledger tells, and without an outcome.
    pub fn unanswered(&self) -> u64 {
        match (self.redrive.as_ref().map(|redrive| redrive.expected).or(self.total), u32::try_from(self.enqueued)) {
            (Some(expected), _) => expected.saturating_sub(self.terminal.len()),
            (None, Ok(enqueued)) => u64::from(enqueued) - self.terminal.range_cardinality(..enqueued),
            // More than there are indices.
            (None, Err(_)) => 0,
        }
    }

    /// How far the job has come: it moves as long as this changes.
    pub fn mark(&self) -> Mark {
        Mark { answered: self.terminal.len(), enqueued: self.enqueued, round: self.round(), state: self.state() }
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

    /// The event that tells the world the job has ended: `duration_seconds` is the time from
    /// its opening to `done_at`, if that is known.
    pub fn done(&self, job: &Job, done_at: Timestamp, duration_seconds: Option<f64>) -> Done {
        self.status(job, duration_seconds, self.first_offset).ended(done_at)
    }

    /// How the job moves: `companies_per_second` is the rate since the last such event.
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

    /// How the job stands, `running_seconds` after it began if it has not ended; nothing where that is not known.
    pub fn status(&self, job: &Job, running_seconds: Option<f64>, next_offset: u64) -> JobStatus {
        let duration_seconds = self.done.as_ref().map_or(running_seconds, |done| done.duration_seconds);
        let answered = self.redrive.as_ref().map_or(0, |redrive| redrive.expected - redrive.reopened.len());
        let cut_short = self.cut_short.as_ref().filter(|cut| self.state() == cut.how);
        let running = duration_seconds.map(|seconds| per_second(self.counted().saturating_sub(answered), seconds));
        // Its companies, by which the rate is reckoned, may be forgotten.
        JobStatus {
            job: job.clone(),
            opening: self.opened.opening,
            model: Some(self.model().clone()),
            state: self.state(),
            total: self.total(),
            sealed: self.total,
            succeeded: self.succeeded(),
            failed: self.failed(),
            cancelled: self.left_over(),
            duplicates: self.done.as_ref().map_or(self.duplicates, |done| done.duplicates),
            retries: self.retries,
            opened_at: Some(self.opened.opened_at),
            done_at: self.done.as_ref().map(|done| done.done_at),
            duration_seconds,
            companies_per_second: self.done.as_ref().map_or(running, |done| done.companies_per_second),
            causes: self.causes(),
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
