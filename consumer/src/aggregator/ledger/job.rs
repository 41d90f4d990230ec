//! The count of one job.

mod tell;

use std::collections::BTreeMap;

use roaring::RoaringBitmap;
use rollcall_shared::message::{
    Cancelled, Counted, Done, Expired, Indices, JobEvent, Model, Opened, Outcome, Redriven, Sealed, Settings, State, Which,
};
use serde::{Deserialize, Serialize};

use super::snapshot::{bitmap, bitmaps};

/// Causes counted by name; the rest are counted together, so that a scorer that makes up causes cannot fill the memory.
const DISTINCT_CAUSES: usize = 100;
const OTHER_CAUSES: &str = "other";

/// What the ledger has said of one job so far: a bit a company, not its result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobCount {
    first_offset: u64,
    opened: Option<Opened>,
    total: Option<u64>,
    /// The broker has stored every company before this index.
    enqueued: u64,
    #[serde(with = "bitmap")]
    terminal: RoaringBitmap,
    /// The failed ones among them, by cause.
    #[serde(with = "bitmaps")]
    failed: BTreeMap<String, RoaringBitmap>,
    /// How many failed: the sum of the above.
    failures: u64,
    duplicates: u64,
    retries: u64,
    paused: bool,
    /// Whether companies of it may be waiting in its queue of paused ones.
    was_paused: bool,
    cut_short: Option<CutShort>,
    done: Option<Done>,
    redrive: Option<Redrive>,
    /// Whether the bitmaps were given up: the job ended long ago.
    forgotten: bool,
}

/// How a job ended before all its companies had an outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct CutShort {
    /// How often the job had been redriven.
    round: u32,
    how: State,
    reason: Option<String>,
    /// Companies enqueued up to then, where that is known.
    total: Option<u64>,
}

/// The latest time that companies of the job were enqueued again after its end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Redrive {
    round: u32,
    by: String,
    at: String,
    #[serde(with = "bitmap")]
    reopened: RoaringBitmap,
    /// Companies with an outcome when this round is over.
    expected: u64,
}

impl JobCount {
    /// A job whose first record is at `first_offset`.
    pub(super) fn new(first_offset: u64) -> JobCount {
        JobCount {
            first_offset,
            opened: None,
            total: None,
            enqueued: 0,
            terminal: RoaringBitmap::new(),
            failed: BTreeMap::new(),
            failures: 0,
            duplicates: 0,
            retries: 0,
            paused: false,
            was_paused: false,
            cut_short: None,
            done: None,
            redrive: None,
            forgotten: false,
        }
    }

    /// Counts an outcome. The first of a company in its newest round wins; a later one, or one of an earlier round, is a
    /// duplicate. Outcomes that come after the job was cut short, or for an index that the job does not have, are ignored.
    pub(super) fn count(&mut self, result: &Counted) {
        let index = result.index.0;
        if self.terminal.contains(index) || (self.forgotten && self.done.is_some()) {
            self.duplicates += 1;
            return;
        }
        if self.state().is_final() || self.total.is_some_and(|total| u64::from(index) >= total) {
            return;
        }
        if let Some(redrive) = &self.redrive {
            if !redrive.reopened.contains(index) {
                return;
            }
            if result.round != redrive.round {
                self.duplicates += 1;
                return;
            }
        }
        self.terminal.insert(index);
        self.retries += u64::from(result.attempt.saturating_sub(1));
        if result.outcome == Outcome::Failed {
            self.fail(index, &result.cause);
            self.cut_short_by_failures();
        }
    }

    fn fail(&mut self, index: u32, cause: &str) {
        let known = self.failed.contains_key(cause) || self.failed.len() < DISTINCT_CAUSES;
        let cause = if known { cause } else { OTHER_CAUSES };
        self.failed.entry(cause.to_owned()).or_default().insert(index);
        self.failures += 1;
    }

    /// Of a job that asks for it, the failure that is one too many is the end. What is redriven is all tried.
    fn cut_short_by_failures(&mut self) {
        let Some(Opened { settings, .. }) = &self.opened else { return };
        let tolerated = settings.tolerate_failures;
        if settings.fail_fast && self.redrive.is_none() && tolerated.is_exceeded(self.failures, self.total) {
            let reason = format!("more failures than the {tolerated} that it tolerates, at which it was to end");
            self.cut_short(State::Failed, Some(reason), None);
        }
    }

    fn cut_short(&mut self, how: State, reason: Option<String>, total: Option<u64>) {
        if !self.state().is_final() {
            self.cut_short = Some(CutShort { round: self.round(), how, reason, total });
        }
    }

    /// Takes in a job event. Of those that are said once, the first counts; a repetition changes nothing.
    pub(super) fn hear(&mut self, event: JobEvent) {
        match event {
            JobEvent::Opened(opened) => {
                self.opened.get_or_insert(opened);
            }
            JobEvent::Enqueued(enqueued) => self.enqueued = self.enqueued.max(enqueued.position),
            JobEvent::Sealed(sealed) => self.seal(&sealed),
            JobEvent::Cancelled(Cancelled { reason, total, redrives, .. }) => {
                // One that was said again may come after what it ended has been redriven.
                if redrives == self.round() {
                    self.cut_short(State::Cancelled, Some(reason), total);
                }
            }
            JobEvent::Expired(Expired { deadline_at, .. }) => {
                self.cut_short(State::Expired, Some(format!("it was to be done by {deadline_at}")), None);
            }
            JobEvent::Paused(_) if !self.state().is_final() => (self.paused, self.was_paused) = (true, true),
            JobEvent::Paused(_) | JobEvent::Progress(_) => {}
            JobEvent::Resumed(_) => self.paused = false,
            JobEvent::Redriven(redriven) => self.reopen(redriven),
            JobEvent::Done(done) => self.finish(done),
        }
    }

    /// A producer that does not know that its job was cut short says the truth all the same.
    fn seal(&mut self, sealed: &Sealed) {
        if self.total.is_none() {
            self.set_total(sealed.total);
            self.cut_short_by_failures();
        }
    }

    fn set_total(&mut self, total: u64) {
        self.total = Some(total);
        self.enqueued = total;
        // Outcomes of companies that the job turns out not to have were never this job's.
        if let Ok(end) = u32::try_from(total) {
            self.take_out(&|indices| indices.remove_range(end..));
        }
    }

    /// Takes indices out of every bitmap.
    fn take_out(&mut self, from: &dyn Fn(&mut RoaringBitmap) -> u64) {
        from(&mut self.terminal);
        self.failures -= self.failed.values_mut().map(from).sum::<u64>();
        self.failed.retain(|_, indices| !indices.is_empty());
    }

    /// Enqueues companies of a job that has ended again. Of two that try, the first does; and nothing is redriven whose
    /// companies are no longer known.
    fn reopen(&mut self, redriven: Redriven) {
        let is_next = self.done.is_some() && redriven.round == self.round() + 1;
        if !is_next || self.forgotten {
            return;
        }
        let Redriven { round, by, indices: Indices(mut reopened), total, redriven_at, .. } = redriven;
        if let (None, Some(total)) = (self.total, total) {
            self.set_total(total);
        }
        // No company has them: the round would wait for ever.
        if let Ok(end) = u32::try_from(self.total.or(self.total()).unwrap_or_default()) {
            reopened.remove_range(end..);
        }
        self.take_out(&|indices| {
            let before = indices.len();
            *indices -= &reopened;
            before - indices.len()
        });
        self.done = None;
        self.paused = false;
        let expected = self.terminal.len() + reopened.len();
        self.redrive = Some(Redrive { round, by, at: redriven_at, reopened, expected });
    }

    fn finish(&mut self, done: Done) {
        if self.done.is_none() && done.redrives == self.round() {
            self.done = Some(done);
            self.paused = false;
            self.optimize();
        }
    }

    /// Most of what is known is whole runs of companies, which take next to nothing.
    pub(super) fn optimize(&mut self) {
        self.terminal.optimize();
        for indices in self.failed.values_mut() {
            indices.optimize();
        }
        if let Some(redrive) = &mut self.redrive {
            redrive.reopened.optimize();
        }
    }

    /// Bytes that its bitmaps take in a checkpoint.
    pub(super) fn bitmap_bytes(&self) -> usize {
        let reopened = self.redrive.as_ref().map_or(0, |redrive| redrive.reopened.serialized_size());
        self.terminal.serialized_size() + self.failed.values().map(RoaringBitmap::serialized_size).sum::<usize>() + reopened
    }

    /// Whether its counts are such as records lead to: others would come out below zero later.
    pub(super) fn adds_up(&self) -> bool {
        let failed = self.all_failed();
        let each_once = self.failed.values().map(RoaringBitmap::len).sum::<u64>() == failed.len();
        let expected = self.redrive.as_ref().is_none_or(|redrive| redrive.reopened.len() <= redrive.expected);
        each_once && self.failures == failed.len() && failed.is_subset(&self.terminal) && expected
    }

    fn all_failed(&self) -> RoaringBitmap {
        self.failed.values().fold(RoaringBitmap::new(), |all, indices| all | indices)
    }

    /// Gives its bitmaps up: what is left are the counts in its done event.
    pub(super) fn forget(&mut self) {
        self.forgotten = true;
        self.terminal.clear();
        self.failed.clear();
        self.failures = 0;
        if let Some(redrive) = &mut self.redrive {
            redrive.reopened.clear();
        }
    }

    /// Whether its bitmaps were given up.
    pub(super) fn is_forgotten(&self) -> bool {
        self.forgotten
    }

    fn round(&self) -> u32 {
        self.redrive.as_ref().map_or(0, |redrive| redrive.round)
    }

    /// What its owner asked for.
    pub fn settings(&self) -> Settings {
        self.opened.as_ref().map(|opened| opened.settings.clone()).unwrap_or_default()
    }

    /// Where the job stands.
    pub fn state(&self) -> State {
        if let Some(done) = &self.done {
            return done.state;
        }
        if let Some(cut) = self.cut_short.as_ref().filter(|cut| cut.round == self.round()) {
            return cut.how;
        }
        match self.redrive.as_ref().map(|redrive| redrive.expected).or(self.total) {
            Some(expected) if self.terminal.len() >= expected => self.verdict(),
            _ if self.paused => State::Paused,
            Some(_) => State::Running,
            None => State::Unsealed,
        }
    }

    /// How a job ends whose companies all have an outcome, except those that it had been cut short of before.
    fn verdict(&self) -> State {
        let is_whole = self.total.is_some_and(|total| self.terminal.len() >= total);
        match &self.cut_short {
            Some(cut) if !is_whole => cut.how,
            _ if self.tolerates_failures() => State::Succeeded,
            _ => State::Failed,
        }
    }

    fn tolerates_failures(&self) -> bool {
        let tolerance = self.opened.as_ref().map(|opened| opened.settings.tolerate_failures).unwrap_or_default();
        !tolerance.is_exceeded(self.failures, self.total)
    }

    /// Whether the job has ended and the ledger does not say so yet.
    pub fn is_due(&self) -> bool {
        self.done.is_none() && self.state().is_final()
    }

    /// Whether companies of it may be waiting in its queue of paused ones.
    pub fn was_paused(&self) -> bool {
        self.was_paused
    }

    /// Whether consumers were told to do other than score it.
    pub fn had_orders(&self) -> bool {
        self.was_paused || self.cut_short.is_some()
    }

    /// Whether it is paused, and has not ended.
    pub fn is_paused(&self) -> bool {
        self.state() == State::Paused
    }

    /// The round up to which companies without an outcome are to be forgotten; nothing where none are left over.
    pub fn dropped_round(&self) -> Option<u32> {
        self.cut_short.as_ref().filter(|cut| cut.round == self.round()).map(|cut| cut.round)
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
        self.succeeded().saturating_add(self.failed())
    }

    /// The companies that have come to `which`; nothing where they are no longer known.
    pub fn companies(&self, which: &Which) -> Option<Indices> {
        if self.forgotten {
            return None;
        }
        Some(Indices(match which {
            Which::Counted => self.terminal.clone(),
            Which::Cause(cause) => self.failed.get(cause).cloned().unwrap_or_default(),
            Which::Failed => self.all_failed(),
            Which::Redriven => self.redrive.as_ref().map(|redrive| redrive.reopened.clone()).unwrap_or_default(),
        }))
    }

    /// When the job was opened, as RFC 3339 in UTC.
    pub fn opened_at(&self) -> Option<&str> {
        self.opened.as_ref().map(|opened| opened.opened_at.as_str())
    }

    /// When the job, or the latest redrive of it, began, as RFC 3339 in UTC.
    pub fn began_at(&self) -> Option<&str> {
        self.redrive.as_ref().map(|redrive| redrive.at.as_str()).or(self.opened_at())
    }
}
