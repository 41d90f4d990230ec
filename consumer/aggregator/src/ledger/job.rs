//! The count of one job.

mod hear;
mod tell;

pub use tell::Mark;

use std::collections::BTreeMap;

use roaring::RoaringBitmap;
use rollcall_shared::message::{CompanySet, Done, Indices, Model, Opened, Outcome, ResultHeaders, Settings, State, Timestamp};
use serde::{Deserialize, Serialize};

use super::Ignored;
use super::clock::Times;
use super::snapshot::{bitmap, bitmaps};

/// Causes counted by name; the rest are counted together, so that a scorer that makes up causes cannot fill the memory.
const DISTINCT_CAUSES: usize = 100;
const OTHER_CAUSES: &str = "other";

/// What the ledger has said of one job since its opening: a bit a company, not its result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobCount {
    first_offset: u64,
    opened: Opened,
    times: Times,
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
    /// The total that its producer told after it was cut short, and before its done event was read: that says what was known before.
    late_total: Option<u64>,
    done: Option<Done>,
    /// The ledger offset of its done event.
    done_offset: Option<u64>,
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
    /// How many companies it had then, at least.
    total: u64,
}

/// The latest time that companies of the job were enqueued again after its end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Redrive {
    round: u32,
    by: String,
    #[serde(with = "bitmap")]
    reopened: RoaringBitmap,
    /// Companies with an outcome when this round is over.
    expected: u64,
}

impl JobCount {
    /// A job of which no record comes before `first_offset`.
    pub(super) fn new(first_offset: u64, opened: Opened, times: Times) -> JobCount {
        JobCount {
            first_offset,
            opened,
            times,
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
            late_total: None,
            done: None,
            done_offset: None,
            redrive: None,
            forgotten: false,
        }
    }

    /// Counts an outcome. The first of a company in its newest round wins; a later one, or one of an earlier round, is a
    /// duplicate. Outcomes that come after the job was cut short change nothing.
    pub(super) fn count(&mut self, result: &ResultHeaders) -> Result<(), Ignored> {
        if result.opening.is_some() && result.opening != self.opened.opening {
            return Err(Ignored::OtherOpening);
        }
        let index = result.index.0;
        if self.terminal.contains(index) || (self.forgotten && self.done.is_some()) {
            self.duplicates += u64::from(!result.republished);
            return Ok(());
        }
        if self.total.is_some_and(|total| u64::from(index) >= total) {
            return Err(Ignored::Contradiction);
        }
        if self.state().is_final() {
            return Ok(());
        }
        if let Some(redrive) = &self.redrive {
            if !redrive.reopened.contains(index) {
                return Ok(());
            }
            if result.round != redrive.round {
                self.duplicates += u64::from(!result.republished);
                return Ok(());
            }
        }
        self.terminal.insert(index);
        self.retries += u64::from(result.attempt.saturating_sub(1));
        if result.outcome == Outcome::Failed {
            self.fail(index, &result.cause);
            self.cut_short_by_failures();
        }
        Ok(())
    }

    fn fail(&mut self, index: u32, cause: &str) {
        let known = self.failed.contains_key(cause) || self.failed.len() < DISTINCT_CAUSES;
        let cause = if known { cause } else { OTHER_CAUSES };
        self.failed.entry(cause.to_owned()).or_default().insert(index);
        self.failures += 1;
    }

    /// Of a job that asks for it, the failure that is one too many is the end. What is redriven is all tried.
    fn cut_short_by_failures(&mut self) {
        let settings = &self.opened.settings;
        let tolerated = settings.tolerate_failures;
        if settings.fail_fast && self.redrive.is_none() && tolerated.is_exceeded(self.failures, self.total) {
            let reason = format!("more failures than the {tolerated} that it tolerates, at which it was to end");
            self.cut_short(State::Failed, Some(reason), None);
        }
    }

    /// Ends the job with what it has come to. How many companies it has at least is said by its producer, `told` or before; or by
    /// how many have an outcome, and never by an index, which anybody may have made up.
    fn cut_short(&mut self, how: State, reason: Option<String>, told: Option<u64>) {
        if self.state().is_final() {
            return;
        }
        if let (None, Some(told)) = (self.total, told) {
            self.take_out_from(told.max(self.enqueued));
        }
        let total = told.unwrap_or_default().max(self.enqueued).max(self.terminal.len());
        self.cut_short = Some(CutShort { round: self.round(), how, reason, total });
    }

    /// Takes the companies from index `end` on out of every bitmap.
    fn take_out_from(&mut self, end: u64) {
        if let Ok(end) = u32::try_from(end) {
            self.take_out(&|indices| indices.remove_range(end..));
        }
    }

    /// Takes indices out of every bitmap.
    fn take_out(&mut self, from: &dyn Fn(&mut RoaringBitmap) -> u64) {
        from(&mut self.terminal);
        self.failures -= self.failed.values_mut().map(from).sum::<u64>();
        self.failed.retain(|_, indices| !indices.is_empty());
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
        let ended = self.done.is_some() == self.done_offset.is_some();
        each_once && self.failures == failed.len() && failed.is_subset(&self.terminal) && expected && ended
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
    pub fn settings(&self) -> &Settings {
        &self.opened.settings
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
        !self.settings().tolerate_failures.is_exceeded(self.failures, self.total)
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

    /// When the job ended, once the ledger says so.
    pub fn done_at(&self) -> Option<Timestamp> {
        self.done.as_ref().map(|done| done.done_at)
    }

    /// Where in the ledger its done event is, once it is there.
    pub(super) fn done_offset(&self) -> Option<u64> {
        self.done_offset
    }

    /// The model that scores the job.
    pub fn model(&self) -> &Model {
        &self.opened.model
    }

    /// Companies with an outcome.
    pub fn counted(&self) -> u64 {
        self.succeeded().saturating_add(self.failed())
    }

    /// The companies that have come to `which`; nothing where they are no longer known.
    pub fn companies(&self, which: &CompanySet) -> Option<Indices> {
        if self.forgotten {
            return None;
        }
        Some(Indices(match which {
            CompanySet::Counted => self.terminal.clone(),
            CompanySet::Cause(cause) => self.failed.get(cause).cloned().unwrap_or_default(),
            CompanySet::Failed => self.all_failed(),
            CompanySet::Redriven => self.redrive.as_ref().map(|redrive| redrive.reopened.clone()).unwrap_or_default(),
        }))
    }

    /// Since when it runs, by the ledger's clock.
    pub(super) fn times(&self) -> &Times {
        &self.times
    }

    /// The same, to be changed.
    pub(super) fn times_mut(&mut self) -> &mut Times {
        &mut self.times
    }

    /// Whether its deadline has passed, `micros` by the ledger's clock and `now` by this machine's. What is redriven has none.
    pub(super) fn is_overdue(&self, micros: u64, now: Timestamp) -> bool {
        let Settings { deadline_at, deadline_seconds, .. } = self.settings();
        let passed = match deadline_seconds {
            Some(span) => self.times.read_for(micros) >= span.length(),
            None => deadline_at.is_some_and(|deadline_at| deadline_at <= now),
        };
        passed && self.redrive.is_none() && !self.state().is_final()
    }
}
