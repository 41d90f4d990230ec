//! Applies job events: an event that agrees with what is known changes the job, and one that contradicts it is ignored.

use rollcall_shared::message::{
    Cancelled, Done, Enqueued, Indices, JobEvent, Opened, Opening, Redriven, Sealed, Settings, State, Timestamp,
};

use super::super::bitmap::Bitmap;
use super::super::clock::{Beginning, Moment};
use super::super::phase::Step;
use super::super::record::Ignored;
use super::{JobState, Redrive};

/// Indices are 32-bit numbers: no job has more companies.
const MAX_COMPANIES: u64 = 1 << 32;

impl JobState {
    /// Applies a job event that is read at `offset` and `moment`.
    pub(in super::super) fn apply(&mut self, event: JobEvent, offset: u64, moment: Moment) -> Result<(), Ignored> {
        match event {
            JobEvent::Opened(again) => self.check_same_opening(&again),
            JobEvent::Enqueued(enqueued) => self.note_enqueued(&enqueued),
            JobEvent::Sealed(sealed) => self.seal(&sealed),
            JobEvent::Cancelled(cancelled) => self.cancel(cancelled),
            JobEvent::Expired(_) => self.expire(),
            JobEvent::Paused(_) => {
                self.was_paused |= self.phase.next(Step::Pause)?;
                Ok(())
            }
            JobEvent::Resumed(_) => self.phase.next(Step::Resume).map(drop),
            JobEvent::Redriven(redriven) => self.redrive(redriven, moment),
            JobEvent::Done(done) => self.finish(&done, offset),
            JobEvent::Progress(_) | JobEvent::Stalled(_) | JobEvent::Exported(_) | JobEvent::ExportFailed(_) => Ok(()),
        }
    }

    /// The first opening of a name counts. Its producer may have published it twice, as after a lost connection.
    fn check_same_opening(&self, again: &Opened) -> Result<(), Ignored> {
        let is_same = match self.opened.opening {
            Some(opening) => again.opening == Some(opening),
            None => *again == self.opened,
        };
        if is_same { Ok(()) } else { Err(Ignored::OtherOpening) }
    }

    /// For what only the producer knows: refuses it from any other than the one that opened the job.
    fn check_own_producer(&self, opening: Option<Opening>) -> Result<(), Ignored> {
        if opening == self.opened.opening { Ok(()) } else { Err(Ignored::OtherOpening) }
    }

    /// For what any process may publish: refuses it only if it names another opening.
    fn check_no_other_opening(&self, opening: Option<Opening>) -> Result<(), Ignored> {
        if opening.is_none() || opening == self.opened.opening { Ok(()) } else { Err(Ignored::OtherOpening) }
    }

    fn note_enqueued(&mut self, enqueued: &Enqueued) -> Result<(), Ignored> {
        self.check_own_producer(enqueued.opening)?;
        if enqueued.position > self.total.unwrap_or(MAX_COMPANIES) {
            return Err(Ignored::Contradiction);
        }
        // The done event of a job that is due contains what was known when it became due.
        if !self.is_due() {
            self.enqueued = self.enqueued.max(enqueued.position);
        }
        Ok(())
    }

    /// A producer that does not know that its job was cut short seals it nevertheless, and the total is right.
    fn seal(&mut self, sealed: &Sealed) -> Result<(), Ignored> {
        let Sealed { total, opening, .. } = *sealed;
        self.check_own_producer(opening)?;
        let known = self.total.or(self.phase.late_total());
        let is_less_than_enqueued = self.opened.opening.is_some() && total < self.enqueued;
        if known.is_some_and(|known| known != total) || total > MAX_COMPANIES || is_less_than_enqueued {
            return Err(Ignored::Contradiction);
        }
        if known.is_some() {
            return Ok(());
        }
        // The done event of a job that is due contains what was known when it became due: see `Phase::Due`.
        if !self.is_due() {
            self.set_total(total);
        }
        self.phase.next(Step::Seal { total })?;
        self.end_if_complete()?;
        self.end_if_it_fails_fast()
    }

    /// A person's command ends the job, or its producer. Only the producer knows how many companies it has.
    fn cancel(&mut self, cancelled: Cancelled) -> Result<(), Ignored> {
        let Cancelled { reason, total, redrives, opening, .. } = cancelled;
        self.check_no_other_opening(opening)?;
        // A repetition may be read after the round that it ended has been redriven.
        if redrives != self.round() {
            return Ok(());
        }
        let producer_total = total.filter(|&total| opening == self.opened.opening && total <= MAX_COMPANIES);
        self.cut_short(State::Cancelled, Some(reason), producer_total)
    }

    /// A job without a deadline does not expire, even if the event is published. One with a deadline does, also if it has not passed by this
    /// leader's clock: the leader that published the event may have counted further than this one's checkpoint.
    fn expire(&mut self) -> Result<(), Ignored> {
        let Settings { deadline_at, deadline_seconds, .. } = &self.opened.settings;
        let reason = match (deadline_seconds, deadline_at) {
            _ if self.redrive.is_some() => return Err(Ignored::Contradiction),
            (Some(span), _) => format!("it was to be done within {span}"),
            (None, Some(deadline_at)) => format!("it was to be done by {deadline_at}"),
            (None, None) => return Err(Ignored::Contradiction),
        };
        self.cut_short(State::Expired, Some(reason), None)
    }

    /// Companies of a job that is done are enqueued again. Of two redrives at the same time the first counts. A job whose companies
    /// were forgotten is not redriven.
    fn redrive(&mut self, redriven: Redriven, moment: Moment) -> Result<(), Ignored> {
        let Redriven { round, by, indices: Indices(mut reopened), total, opening, .. } = redriven;
        self.check_no_other_opening(opening)?;
        let Some(done) = self.phase.done() else { return Ok(()) };
        if round.checked_sub(1) != Some(self.round()) || self.is_forgotten() {
            return Ok(());
        }
        let least = done.total.max(self.enqueued);
        match (self.total, total) {
            (None, Some(total)) if total < least || total > MAX_COMPANIES => return Err(Ignored::Contradiction),
            (None, Some(total)) => self.set_total(total),
            _ => {}
        }
        // The job has no companies beyond its total: the round would wait for them without end.
        let mut beyond = reopened.clone();
        beyond.remove_range(..u32::try_from(self.total.unwrap_or(least)).unwrap_or(u32::MAX));
        if self.total.is_none() {
            beyond -= self.outcomes.counted();
        }
        reopened -= beyond;
        self.phase.next(Step::Redrive)?;
        self.outcomes.remove(&reopened);
        self.beginning = Beginning::from(moment);
        let expected = self.outcomes.len() + reopened.len();
        self.redrive = Some(Redrive { round, by, reopened: Bitmap(reopened), expected });
        self.end_if_complete()
    }

    /// Finishes the job if its other records agree that it has ended: any process may publish a done event. Of the event it keeps only what only
    /// its publisher knew.
    fn finish(&mut self, published: &Done, offset: u64) -> Result<(), Ignored> {
        // An unknown time becomes the beginning of 1970: a status without `done_at` would say that the job is not done.
        let done_at = published.done_at.unwrap_or(Timestamp::UNIX_EPOCH);
        let known = match self.phase.done() {
            Some(done) => done.clone(),
            None if self.is_due() => self.done(&published.job, done_at, None),
            None => return Err(Ignored::Contradiction),
        };
        if !agrees(&known, published) {
            return Err(Ignored::Contradiction);
        }
        let late_total = self.phase.late_total();
        let Done { duration_seconds, companies_per_second, duplicates, .. } = *published;
        let done = Box::new(Done { done_at: Some(done_at), duration_seconds, companies_per_second, duplicates, ..known });
        if self.phase.next(Step::Finish { done, offset })? {
            if let Some(total) = late_total {
                self.set_total(total);
            }
            self.optimize();
        }
        Ok(())
    }
}

/// Whether the numbers of a done event are the known ones. Texts are for people, and differ between versions.
fn agrees(known: &Done, published: &Done) -> bool {
    let numbers = |done: &Done| (done.redrives, done.state, done.total, done.succeeded, done.failed, done.cancelled);
    numbers(known) == numbers(published)
}
