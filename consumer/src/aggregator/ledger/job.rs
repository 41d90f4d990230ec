//! The count of one job.

use std::collections::BTreeMap;

use roaring::RoaringBitmap;
use rollcall_shared::message::{
    Cancelled, CauseCount, Counted, Done, Job, JobEvent, JobStatus, Model, Opened, Outcome, Progress, Sealed, State,
};

/// Causes counted by name; the rest are counted together, so that a scorer that makes up causes cannot fill the memory.
const DISTINCT_CAUSES: usize = 100;
const OTHER_CAUSES: &str = "other";

/// What the ledger has said of one job so far: a bit a company, not its result.
#[derive(Debug, Clone, PartialEq)]
pub struct JobCount {
    pub(super) first_offset: u64,
    pub(super) opened: Option<Opened>,
    pub(super) total: Option<u64>,
    pub(super) terminal: RoaringBitmap,
    pub(super) failed: RoaringBitmap,
    pub(super) causes: BTreeMap<String, u64>,
    pub(super) duplicates: u64,
    pub(super) retries: u64,
    pub(super) cancelled: Option<Cancelled>,
    pub(super) done: Option<Done>,
}

impl JobCount {
    /// A job whose first record is at `first_offset`.
    pub(super) fn new(first_offset: u64) -> JobCount {
        JobCount {
            first_offset,
            opened: None,
            total: None,
            terminal: RoaringBitmap::new(),
            failed: RoaringBitmap::new(),
            causes: BTreeMap::new(),
            duplicates: 0,
            retries: 0,
            cancelled: None,
            done: None,
        }
    }

    /// Counts an outcome. The first of a company wins; a later one is a duplicate. Outcomes that come after the job has
    /// ended, or for an index that the job does not have, are ignored.
    pub(super) fn count(&mut self, result: &Counted) {
        let index = result.index.0;
        // Of a job that ran to its end, every company has been counted.
        let ran_to_its_end = self.done.is_some() && self.cancelled.is_none();
        if ran_to_its_end || self.terminal.contains(index) {
            self.duplicates += 1;
            return;
        }
        if self.state().is_final() || self.total.is_some_and(|total| u64::from(index) >= total) {
            return;
        }
        self.terminal.insert(index);
        self.retries += u64::from(result.attempt.saturating_sub(1));
        if result.outcome == Outcome::Failed {
            self.failed.insert(index);
            self.count_cause(&result.cause);
        }
    }

    fn count_cause(&mut self, cause: &str) {
        let known = self.causes.contains_key(cause) || self.causes.len() < DISTINCT_CAUSES;
        let cause = if known { cause } else { OTHER_CAUSES };
        *self.causes.entry(cause.to_owned()).or_default() += 1;
    }

    /// Takes in a job event. Each is said once a job: the first counts, a repetition changes nothing.
    pub(super) fn hear(&mut self, event: JobEvent) {
        match event {
            JobEvent::Opened(opened) => {
                self.opened.get_or_insert(opened);
            }
            JobEvent::Sealed(sealed) => self.seal(&sealed),
            JobEvent::Cancelled(cancelled) if !self.state().is_final() => self.cancelled = Some(cancelled),
            JobEvent::Done(done) => self.finish(done),
            JobEvent::Cancelled(_) | JobEvent::Progress(_) => {}
        }
    }

    fn seal(&mut self, sealed: &Sealed) {
        if self.total.is_none() && self.cancelled.is_none() {
            self.total = Some(sealed.total);
            // Outcomes of companies that the job turns out not to have were never this job's.
            if let Ok(end) = u32::try_from(sealed.total) {
                self.terminal.remove_range(end..);
                self.failed.remove_range(end..);
            }
        }
    }

    fn finish(&mut self, done: Done) {
        if self.done.is_none() {
            self.done = Some(done);
            // The event has the counts: a thousand finished jobs must fit into a checkpoint.
            self.terminal.clear();
            self.failed.clear();
            self.causes.clear();
        }
    }

    /// Where the job stands.
    pub fn state(&self) -> State {
        if let Some(done) = &self.done {
            return done.state;
        }
        match (&self.cancelled, self.total) {
            (Some(_), _) => State::Cancelled,
            (None, None) => State::Unsealed,
            (None, Some(total)) if self.terminal.len() < total => State::Running,
            (None, Some(_)) if self.failed.is_empty() => State::Succeeded,
            (None, Some(_)) => State::Failed,
        }
    }

    /// Whether the job has ended and the ledger does not say so yet.
    pub fn is_due(&self) -> bool {
        self.done.is_none() && self.state().is_final()
    }

    /// The ledger offset of the job's first record.
    pub fn first_offset(&self) -> u64 {
        self.first_offset
    }

    /// When the job ended, as RFC 3339 in UTC, once the ledger says so.
    pub fn done_at(&self) -> Option<&str> {
        self.done.as_ref().map(|done| done.done_at.as_str())
    }

    /// The model that scores the job, once its opening has been read.
    pub fn model(&self) -> Option<&Model> {
        self.opened.as_ref().map(|opened| &opened.model)
    }

    /// Companies with an outcome.
    pub fn counted(&self) -> u64 {
        self.succeeded() + self.failed()
    }

    fn failed(&self) -> u64 {
        self.done.as_ref().map_or(self.failed.len(), |done| done.failed)
    }

    fn succeeded(&self) -> u64 {
        self.done.as_ref().map_or(self.terminal.len() - self.failed.len(), |done| done.succeeded)
    }

    fn total(&self) -> Option<u64> {
        let enqueued = self.cancelled.as_ref().and_then(|cancelled| cancelled.total);
        let total = self.total.or(enqueued)?;
        Some(total.max(self.counted()))
    }

    fn left_over(&self) -> u64 {
        let uncounted = self.total().unwrap_or_default().saturating_sub(self.counted());
        if self.state() == State::Cancelled { uncounted } else { 0 }
    }

    fn causes(&self) -> Vec<CauseCount> {
        if let Some(done) = &self.done {
            return done.causes.clone();
        }
        let mut causes: Vec<CauseCount> =
            self.causes.iter().map(|(cause, &count)| CauseCount { cause: cause.clone(), count }).collect();
        causes.sort_by_key(|cause| std::cmp::Reverse(cause.count));
        causes
    }

    /// The event that tells the world the job has ended: `done_at` is RFC 3339 in UTC, `duration_seconds` from its opening to then.
    pub fn done(&self, job: &Job, done_at: String, duration_seconds: f64) -> Done {
        self.status(job, Some(duration_seconds), self.first_offset).ended(done_at)
    }

    /// When the job was opened, as RFC 3339 in UTC.
    pub fn opened_at(&self) -> Option<&str> {
        self.opened.as_ref().map(|opened| opened.opened_at.as_str())
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

    /// How the job stands, `running_seconds` after its opening if it has not ended.
    pub fn status(&self, job: &Job, running_seconds: Option<f64>, next_offset: u64) -> JobStatus {
        let duration_seconds = self.done.as_ref().map(|done| done.duration_seconds).or(running_seconds);
        JobStatus {
            job: job.clone(),
            model: self.model().cloned(),
            state: self.state(),
            total: self.total(),
            succeeded: self.succeeded(),
            failed: self.failed(),
            cancelled: self.left_over(),
            duplicates: self.duplicates,
            retries: self.retries,
            opened_at: self.opened_at().map(str::to_owned),
            done_at: self.done.as_ref().map(|done| done.done_at.clone()),
            duration_seconds,
            companies_per_second: duration_seconds.map(|seconds| per_second(self.counted(), seconds)),
            causes: self.causes(),
            reason: self.cancelled.as_ref().map(|cancelled| cancelled.reason.clone()),
            source: self.opened.as_ref().map(|opened| opened.source.clone()),
            first_offset: self.first_offset,
            next_offset,
        }
    }
}

fn per_second(companies: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { (companies as f64 / seconds * 10.0).round() / 10.0 } else { 0.0 }
}
