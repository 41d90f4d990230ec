//! What is said of a job: each event is taken in where it fits what is known, and ignored where it contradicts it.

use rollcall_shared::message::{
    Cancelled, Done, Enqueued, Indices, JobEvent, Opened, Opening, Redriven, Sealed, Settings, State,
};

use super::super::Ignored;
use super::super::clock::{Moment, Times};
use super::{JobCount, Redrive};

/// Indices are numbers of 32 bits: no job has more companies.
const MOST_COMPANIES: u64 = 1 << 32;

impl JobCount {
    /// Takes in a job event that is read at `offset`, `moment` by the ledger's clock. Of those that are said once, the first
    /// counts; a repetition changes nothing.
    pub(in super::super) fn hear(&mut self, event: JobEvent, offset: u64, moment: Moment) -> Result<(), Ignored> {
        match event {
            JobEvent::Opened(again) => return self.open_again(&again),
            JobEvent::Enqueued(Enqueued { position, opening, .. }) => {
                self.refuse_other_producer(opening)?;
                if position > self.total.unwrap_or(MOST_COMPANIES) {
                    return Err(Ignored::Contradiction);
                }
                // The done event of a job that is due tells what was known when that was so.
                if !self.is_due() {
                    self.enqueued = self.enqueued.max(position);
                }
            }
            JobEvent::Sealed(sealed) => return self.seal(&sealed),
            JobEvent::Cancelled(cancelled) => return self.cancel(cancelled),
            JobEvent::Expired(_) => return self.expire(),
            JobEvent::Paused(_) if !self.state().is_final() => (self.paused, self.was_paused) = (true, true),
            JobEvent::Paused(_) | JobEvent::Progress(_) | JobEvent::Stalled(_) => {}
            JobEvent::Resumed(_) => self.paused = false,
            JobEvent::Redriven(redriven) => return self.reopen(redriven, moment),
            JobEvent::Done(done) => return self.finish(&done, offset),
        }
        Ok(())
    }

    /// The first opening of a name counts; whoever said it may have said it twice, as after a lost connection.
    fn open_again(&self, again: &Opened) -> Result<(), Ignored> {
        let is_same = match self.opened.opening {
            Some(opening) => again.opening == Some(opening),
            None => *again == self.opened,
        };
        if is_same { Ok(()) } else { Err(Ignored::OtherOpening) }
    }

    /// What only the producer knows is believed of the one that opened the job.
    fn refuse_other_producer(&self, opening: Option<Opening>) -> Result<(), Ignored> {
        if opening == self.opened.opening { Ok(()) } else { Err(Ignored::OtherOpening) }
    }

    /// What anybody may say is taken, unless it is of another opening.
    fn refuse_other_opening(&self, opening: Option<Opening>) -> Result<(), Ignored> {
        if opening.is_none() || opening == self.opened.opening { Ok(()) } else { Err(Ignored::OtherOpening) }
    }

    /// A producer that does not know that its job was cut short says the truth all the same.
    fn seal(&mut self, sealed: &Sealed) -> Result<(), Ignored> {
        let Sealed { total, opening, .. } = *sealed;
        self.refuse_other_producer(opening)?;
        let known = self.total.or(self.late_total);
        let is_less_than_it_told = self.opened.opening.is_some() && total < self.enqueued;
        if known.is_some_and(|known| known != total) || total > MOST_COMPANIES || is_less_than_it_told {
            return Err(Ignored::Contradiction);
        }
        if known.is_none() && self.is_due() {
            // Its done event is on its way, and tells what was known when it was cut short.
            self.late_total = Some(total);
        } else if known.is_none() {
            self.set_total(total);
            self.cut_short_by_failures();
        }
        Ok(())
    }

    fn set_total(&mut self, total: u64) {
        self.total = Some(total);
        self.enqueued = total;
        // Outcomes of companies that the job turns out not to have were never this job's.
        self.take_out_from(total);
    }

    /// A person's order ends the job. How many companies it has only its producer knows.
    fn cancel(&mut self, cancelled: Cancelled) -> Result<(), Ignored> {
        let Cancelled { reason, total, redrives, opening, .. } = cancelled;
        self.refuse_other_opening(opening)?;
        // One that was said again may come after what it ended has been redriven.
        if redrives == self.round() {
            let told = total.filter(|&total| opening == self.opened.opening && total <= MOST_COMPANIES);
            self.cut_short(State::Cancelled, Some(reason), told);
        }
        Ok(())
    }

    /// Whoever says it, a job without a deadline does not expire. One with a deadline does: the aggregator that says so may have
    /// counted further than this one's checkpoint.
    fn expire(&mut self) -> Result<(), Ignored> {
        let Settings { deadline_at, deadline_seconds, .. } = &self.opened.settings;
        let reason = match (deadline_seconds, deadline_at) {
            _ if self.redrive.is_some() => return Err(Ignored::Contradiction),
            (Some(span), _) => format!("it was to be done within {span}"),
            (None, Some(deadline_at)) => format!("it was to be done by {deadline_at}"),
            (None, None) => return Err(Ignored::Contradiction),
        };
        self.cut_short(State::Expired, Some(reason), None);
        Ok(())
    }

    /// Enqueues companies of a job that has ended again. Of two that try, the first does; and nothing is redriven whose
    /// companies are no longer known.
    fn reopen(&mut self, redriven: Redriven, moment: Moment) -> Result<(), Ignored> {
        let Redriven { round, by, indices: Indices(mut reopened), total, opening, .. } = redriven;
        self.refuse_other_opening(opening)?;
        let Some(done) = self.done.as_ref().filter(|_| round == self.round() + 1 && !self.forgotten) else { return Ok(()) };
        let least = done.total.max(self.enqueued);
        match (self.total, total) {
            (None, Some(total)) if total < least || total > MOST_COMPANIES => return Err(Ignored::Contradiction),
            (None, Some(total)) => self.set_total(total),
            _ => {}
        }
        // No company has the others: the round would wait for ever.
        let mut beyond = reopened.clone();
        beyond.remove_range(..u32::try_from(self.total.unwrap_or(least)).unwrap_or(u32::MAX));
        if self.total.is_none() {
            beyond -= &self.terminal;
        }
        reopened -= beyond;
        self.take_out(&|indices| {
            let before = indices.len();
            *indices -= &reopened;
            before - indices.len()
        });
        (self.done, self.done_offset) = (None, None);
        self.paused = false;
        self.times = Times::from(moment);
        let expected = self.terminal.len() + reopened.len();
        self.redrive = Some(Redrive { round, by, reopened, expected });
        Ok(())
    }

    /// Ends the job where that is what its records say too: anybody may say that it has ended. Of the event it keeps what only
    /// the aggregator that said it knew.
    fn finish(&mut self, said: &Done, offset: u64) -> Result<(), Ignored> {
        let known = self.done.clone().or_else(|| self.is_due().then(|| self.done(&said.job, said.done_at, None)));
        let known = known.filter(|known| agrees(known, said)).ok_or(Ignored::Contradiction)?;
        if self.done.is_none() {
            let Done { done_at, duration_seconds, companies_per_second, duplicates, .. } = *said;
            self.done = Some(Done { done_at, duration_seconds, companies_per_second, duplicates, ..known });
            self.done_offset = Some(offset);
            self.paused = false;
            if let Some(total) = self.late_total.take() {
                self.set_total(total);
            }
            self.optimize();
        }
        Ok(())
    }
}

/// Whether what is said of the end of a job is what is known of it. Texts are for people, and other versions have others.
fn agrees(known: &Done, said: &Done) -> bool {
    let numbers = |done: &Done| (done.redrives, done.state, done.total, done.succeeded, done.failed, done.cancelled);
    numbers(known) == numbers(said)
}
