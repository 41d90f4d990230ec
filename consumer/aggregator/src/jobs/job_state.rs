//! What is known of one job: its phase, and which of its companies have an outcome.

mod events;
mod views;

use std::time::Duration;

use rollcall_shared::message::{Model, Opened, Outcome, ResultHeaders, Settings, State, Timestamp};
use serde::{Deserialize, Serialize};

use super::bitmap::Bitmap;
use super::clock::Beginning;
use super::outcomes::Outcomes;
use super::phase::{Phase, Step};
use super::record::Ignored;

/// What the ledger's records since its opening say about one job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobState {
    /// The ledger offset of its first record.
    first_offset: u64,
    opened: Opened,
    /// When the job, or its latest redrive, began.
    beginning: Beginning,
    phase: Phase,
    /// How many companies it has, once its producer, or a redrive from its whole file, has published that.
    total: Option<u64>,
    /// The broker has stored every company before this index, by its producer's account.
    enqueued: u64,
    outcomes: Outcomes,
    duplicates: u64,
    retries: u64,
    /// Whether companies of it may be in its queue of paused companies, also after it was resumed or ended.
    was_paused: bool,
    /// The last time that it ended early. A redrive does not undo it, until every company has an outcome.
    cut_short: Option<CutShort>,
    redrive: Option<Redrive>,
}

/// How a job ended before all its companies had an outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct CutShort {
    /// How often the job had been redriven.
    round: u32,
    end: State,
    reason: Option<String>,
    /// How many companies it had then, at least.
    total: u64,
}

/// The latest time that companies of the job were enqueued again after its end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Redrive {
    round: u32,
    by: String,
    reopened: Bitmap,
    /// Companies with an outcome at the end of this round: those that kept theirs, and the reopened ones.
    expected: u64,
}

/// How far a job has come: it makes progress if this changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProgressMark {
    counted: u64,
    enqueued: u64,
    round: u32,
    state: State,
}

impl ProgressMark {
    /// Whether the job has been redriven.
    pub fn is_redriven(&self) -> bool {
        self.round > 0
    }
}

impl JobState {
    /// A job that has just been opened. `first_offset` is less than the opening's if other records of the job came before it.
    pub(super) fn new(first_offset: u64, opened: Opened, beginning: Beginning) -> JobState {
        JobState {
            first_offset,
            opened,
            beginning,
            phase: Phase::Unsealed { paused: false },
            total: None,
            enqueued: 0,
            outcomes: Outcomes::default(),
            duplicates: 0,
            retries: 0,
            was_paused: false,
            cut_short: None,
            redrive: None,
        }
    }

    /// Counts an outcome. The first one of a company in its newest round counts; a later one, or one of an earlier round, is a
    /// duplicate. Outcomes that come after the end of the job are not counted.
    pub(super) fn count(&mut self, result: &ResultHeaders) -> Result<(), Ignored> {
        if result.opening.is_some() && result.opening != self.opened.opening {
            return Err(Ignored::OtherOpening);
        }
        let index = result.index.0;
        if self.outcomes.contains(index) || self.phase.is_forgotten() {
            self.duplicates += u64::from(!result.to_ledger_alone);
            return Ok(());
        }
        if self.total.is_some_and(|total| u64::from(index) >= total) {
            return Err(Ignored::Contradiction);
        }
        if self.phase.has_ended() {
            return Ok(());
        }
        if let Some(redrive) = &self.redrive {
            if !redrive.reopened.0.contains(index) {
                return Ok(());
            }
            if result.round != redrive.round {
                self.duplicates += u64::from(!result.to_ledger_alone);
                return Ok(());
            }
        }
        self.retries += u64::from(result.attempt.saturating_sub(1));
        match result.outcome {
            Outcome::Succeeded => self.outcomes.add_success(index),
            Outcome::Failed => self.outcomes.add_failure(index, &result.cause),
        }
        self.end_if_complete()?;
        if result.outcome == Outcome::Failed { self.end_if_it_fails_fast() } else { Ok(()) }
    }

    /// Ends the job if every expected company has an outcome.
    fn end_if_complete(&mut self) -> Result<(), Ignored> {
        if self.phase.is_running() && self.expected().is_some_and(|expected| self.outcomes.len() >= expected) {
            self.phase.next(Step::End(self.verdict()))?;
        }
        Ok(())
    }

    /// How many outcomes end the present round; `None` until that is known.
    fn expected(&self) -> Option<u64> {
        self.redrive.as_ref().map(|redrive| redrive.expected).or(self.total)
    }

    /// The final state of a job with all expected outcomes. One that was cut short before, and still lacks companies, stays so.
    fn verdict(&self) -> State {
        let is_whole = self.total.is_some_and(|total| self.outcomes.len() >= total);
        let tolerated = self.settings().tolerate_failures;
        match &self.cut_short {
            Some(cut) if !is_whole => cut.end,
            _ if tolerated.is_exceeded(self.outcomes.failures(), self.total) => State::Failed,
            _ => State::Succeeded,
        }
    }

    /// Ends a job with `--fail-fast` at the first failure beyond those that it tolerates. A redrive tries every company.
    fn end_if_it_fails_fast(&mut self) -> Result<(), Ignored> {
        let settings = self.settings();
        let tolerated = settings.tolerate_failures;
        if settings.fail_fast && self.redrive.is_none() && tolerated.is_exceeded(self.outcomes.failures(), self.total) {
            let reason = format!("more failures than the {tolerated} that it tolerates, at which it was to end");
            return self.cut_short(State::Failed, Some(reason), None);
        }
        Ok(())
    }

    /// Ends the job with the outcomes that it has. How many companies it has at least is the number that its producer published, here as
    /// `producer_total` or before, or the number of outcomes; never an index, which any process can invent.
    fn cut_short(&mut self, end: State, reason: Option<String>, producer_total: Option<u64>) -> Result<(), Ignored> {
        if !self.phase.next(Step::End(end))? {
            return Ok(());
        }
        if let (None, Some(total)) = (self.total, producer_total) {
            self.outcomes.remove_from(total.max(self.enqueued));
        }
        let total = producer_total.unwrap_or_default().max(self.enqueued).max(self.outcomes.len());
        self.cut_short = Some(CutShort { round: self.round(), end, reason, total });
        Ok(())
    }

    /// Sets how many companies it has. Outcomes of others were never this job's, and others are not waited for.
    fn set_total(&mut self, total: u64) {
        self.total = Some(total);
        self.enqueued = total;
        self.outcomes.remove_from(total);
        if let Some(redrive) = &mut self.redrive {
            if let Ok(total) = u32::try_from(total) {
                redrive.reopened.0.remove_range(total..);
            }
            redrive.expected = self.outcomes.counted().union_len(&redrive.reopened.0);
        }
    }
}

/// What a checkpoint contains of it.
impl JobState {
    /// Compresses its bitmaps.
    pub(super) fn optimize(&mut self) {
        self.outcomes.optimize();
        if let Some(redrive) = &mut self.redrive {
            redrive.reopened.0.optimize();
        }
    }

    /// Bytes that its bitmaps take in a checkpoint, before base64.
    pub(super) fn bitmap_bytes(&self) -> usize {
        let reopened = self.redrive.as_ref().map_or(0, |redrive| redrive.reopened.0.serialized_size());
        self.outcomes.serialized_size() + reopened
    }

    /// Drops the bitmaps of a job that is done: the counts in its done event remain.
    pub(super) fn forget_companies(&mut self) -> Result<(), Ignored> {
        if self.phase.next(Step::Forget)? {
            self.outcomes = Outcomes::default();
            if let Some(redrive) = &mut self.redrive {
                redrive.reopened = Bitmap::default();
            }
        }
        Ok(())
    }

    /// Whether its bitmaps were dropped.
    pub(super) fn is_forgotten(&self) -> bool {
        self.phase.is_forgotten()
    }

    /// Whether its parts agree, as they do after any records. From others the counts would go wrong, or the job would never end.
    pub(super) fn adds_up(&self) -> bool {
        let redrive = self.redrive.as_ref().is_none_or(|redrive| redrive.reopened.0.len() <= redrive.expected);
        let phase = match self.phase {
            Phase::Unsealed { .. } => self.expected().is_none(),
            Phase::Running { .. } => self.expected().is_some_and(|expected| self.outcomes.len() < expected),
            Phase::Due { end, .. } => end.is_final(),
            Phase::Done { .. } => true,
        };
        self.outcomes.adds_up() && redrive && phase
    }
}

/// Queries.
impl JobState {
    fn round(&self) -> u32 {
        self.redrive.as_ref().map_or(0, |redrive| redrive.round)
    }

    /// The settings that its producer chose.
    pub fn settings(&self) -> &Settings {
        &self.opened.settings
    }

    /// The model that scores it.
    pub fn model(&self) -> &Model {
        &self.opened.model
    }

    /// Its state.
    pub fn state(&self) -> State {
        self.phase.state()
    }

    /// Whether it has ended and the ledger has no done event of it yet.
    pub fn is_due(&self) -> bool {
        self.phase.is_due()
    }

    /// Whether the ledger has its done event.
    pub fn is_done(&self) -> bool {
        self.phase.done().is_some()
    }

    /// The ledger offset of its done event, once it is there.
    pub(super) fn done_offset(&self) -> Option<u64> {
        self.phase.done_offset()
    }

    /// Whether companies of it may be in its queue of paused companies.
    pub fn was_paused(&self) -> bool {
        self.was_paused
    }

    /// Whether it is paused, and has not ended.
    pub fn is_paused(&self) -> bool {
        self.state() == State::Paused
    }

    /// Whether consumers were sent a control message about it.
    pub fn had_control_messages(&self) -> bool {
        self.was_paused || self.cut_short.is_some()
    }

    /// If it was cut short in its latest round, that round: consumers drop its companies of this and earlier rounds.
    pub fn dropped_round(&self) -> Option<u32> {
        self.cut_short.as_ref().map(|cut| cut.round).filter(|round| *round == self.round())
    }

    /// When it, or its latest redrive, began.
    pub(super) fn beginning(&self) -> &Beginning {
        &self.beginning
    }

    pub(super) fn beginning_mut(&mut self) -> &mut Beginning {
        &mut self.beginning
    }

    /// Whether it was opened less than `new_for` ago, and nothing is known yet of what was enqueued.
    pub(super) fn is_just_opened(&self, clock_us: u64, new_for: Duration) -> bool {
        let is_untouched = self.enqueued == 0 && self.outcomes.len() == 0 && self.total.is_none();
        is_untouched && self.beginning.since_read(clock_us) < new_for
    }

    /// Whether its deadline has passed: a span by the ledger's clock, a point in time by this machine's. A redrive has none.
    pub(super) fn is_overdue(&self, clock_us: u64, now: Timestamp) -> bool {
        let Settings { deadline_at, deadline_seconds, .. } = self.settings();
        let has_passed = match deadline_seconds {
            Some(span) => self.beginning.since_read(clock_us) >= span.length(),
            None => deadline_at.is_some_and(|deadline_at| deadline_at <= now),
        };
        has_passed && self.redrive.is_none() && !self.phase.has_ended()
    }
}
