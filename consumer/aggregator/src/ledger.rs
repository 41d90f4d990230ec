//! The count: `state = fold(records)`, over the ledger's records in their order.
//!
//! A pure function. There is no broker in it, no clock and no I/O: who calls it brings the records and the time.
//!
//! A job begins with its opening and with nothing else. What is said of a job that has none is kept apart for a while, and what
//! contradicts the count of a job is not believed, whoever says it: see [`Ignored`].

mod clock;
mod ended;
mod job;
mod snapshot;
mod unopened;

pub use job::{JobCount, Mark};
pub use snapshot::BadSnapshot;

use std::collections::BTreeMap;
use std::time::Duration;

use rollcall_shared::message::{Job, JobEvent, Model, Opened, ResultHeaders, Timestamp};
use serde::{Deserialize, Serialize};

use clock::{Moment, Times};
use ended::Ended;
use unopened::Unopened;

/// Finished jobs remembered. Each costs a few hundred bytes in every checkpoint; the ledger keeps what is forgotten here.
const FINISHED_JOBS_KEPT: usize = 1_000;

/// What the companies of finished jobs may take in every checkpoint. Mostly they are whole runs, of a few bytes; a hundred thousand
/// failures here and there are 200 kB.
const FINISHED_BITMAP_BYTES: usize = 4 << 20;

/// One record of the ledger, as far as counting is concerned.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// The outcome of one company.
    Result(ResultHeaders),
    /// Something about a job as a whole.
    Event(JobEvent),
    /// Nothing to count: a marker, or a message that is none of ours.
    Nothing,
}

/// What came of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    /// It was about no job, or was taken in before.
    Nothing,
    /// It was taken in, and is about this job.
    To(Job),
    /// It is about this job and counts for nothing.
    Ignored(Job, Ignored),
}

/// Why a record counts for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ignored {
    /// It is of another opening than the job's: two producers chose the same name.
    OtherOpening,
    /// No opening of its job has been read. Should that come soon, it counts after all.
    NotOpened,
    /// It cannot be true, by what is known of the job.
    Contradiction,
}

/// What is known of every job after the records read so far.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Ledger {
    next_offset: u64,
    /// What the record before that offset was, by which the ledger is known again.
    last_record: Option<u64>,
    /// The ledger's clock, in microseconds.
    micros: u64,
    /// When it was kept, by the clock of the aggregator that did.
    kept_at: Option<Timestamp>,
    jobs: BTreeMap<Job, JobCount>,
    /// Those of them that have ended.
    #[serde(skip)]
    ended: Ended,
    #[serde(default, skip_serializing_if = "Unopened::is_empty")]
    unopened: Unopened,
    /// Jobs no longer known of which consumers were told something, and not yet that it no longer holds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    forgotten: Vec<Job>,
}

impl Ledger {
    /// The offset of the record to be read next.
    pub fn next_offset(&self) -> u64 {
        self.next_offset
    }

    /// The identity of the record before that one, where it is known.
    pub fn last_record(&self) -> Option<u64> {
        self.last_record
    }

    /// Notes the `identity` of the record at `offset`, which has been taken in.
    pub fn identify(&mut self, offset: u64, identity: u64) {
        if offset.checked_add(1) == Some(self.next_offset) {
            self.last_record = Some(identity);
        }
    }

    /// Goes on behind the next record, of which nothing can be known.
    pub fn pass_over(&mut self) {
        self.next_offset += 1;
        self.last_record = None;
    }

    /// Takes in the record at `offset`, said so long ago, where that is known. A record that was taken in before changes nothing.
    pub fn apply(&mut self, offset: u64, age: Option<Duration>, record: Record) -> Applied {
        if offset < self.next_offset {
            return Applied::Nothing;
        }
        self.next_offset = offset + 1;
        self.unopened.drop_old(offset);
        match record {
            Record::Result(result) => match self.jobs.get_mut(&result.job) {
                Some(count) => applied(count.count(&result), result.job),
                None => self.keep_apart(offset, result.job.clone(), Record::Result(result)),
            },
            Record::Event(event) => self.hear(offset, age, event),
            Record::Nothing => Applied::Nothing,
        }
    }

    fn hear(&mut self, offset: u64, age: Option<Duration>, event: JobEvent) -> Applied {
        let moment = Moment { micros: self.micros, age };
        let job = event.job().clone();
        let Some(count) = self.jobs.get_mut(&job) else {
            return match event {
                JobEvent::Opened(opened) => self.open(offset, moment, opened),
                event => self.keep_apart(offset, job, Record::Event(event)),
            };
        };
        self.ended.remove(&job, count);
        let heard = count.hear(event, offset, moment);
        self.ended.insert(&job, count);
        self.forget_oldest_ended();
        applied(heard, job)
    }

    fn open(&mut self, offset: u64, moment: Moment, opened: Opened) -> Applied {
        let job = opened.job.clone();
        let early = self.unopened.take(&job);
        let first_offset = early.first().map_or(offset, |(offset, _)| *offset);
        let mut count = JobCount::new(first_offset, opened, Times::from(moment));
        for (offset, record) in early {
            // What is not this opening's, or contradicts it, counts for nothing, and has been told as such.
            let _ignored = match record {
                Record::Result(result) => count.count(&result),
                Record::Event(event) => count.hear(event, offset, moment),
                Record::Nothing => Ok(()),
            };
        }
        self.jobs.insert(job.clone(), count);
        Applied::To(job)
    }

    fn keep_apart(&mut self, offset: u64, job: Job, record: Record) -> Applied {
        self.unopened.keep(offset, record);
        Applied::Ignored(job, Ignored::NotOpened)
    }

    /// Which jobs ended first, the ledger says: clocks differ.
    fn forget_oldest_ended(&mut self) {
        while self.ended.bitmap_bytes() > FINISHED_BITMAP_BYTES {
            let Some(oldest) = self.ended.oldest_with_bitmaps() else { return };
            let Some(count) = self.jobs.get_mut(&oldest) else { return };
            self.ended.remove(&oldest, count);
            count.forget();
            self.ended.insert(&oldest, count);
        }
        while self.ended.len() > FINISHED_JOBS_KEPT {
            let Some(oldest) = self.ended.oldest() else { return };
            let Some(count) = self.jobs.remove(&oldest) else { return };
            self.ended.remove(&oldest, &count);
            if count.had_orders() {
                self.forgotten.push(oldest);
            }
        }
    }

    /// Takes runs of companies together in the counts of jobs under way: most are answered for in about their order.
    pub fn optimize(&mut self) {
        self.jobs.values_mut().filter(|count| count.done_at().is_none()).for_each(JobCount::optimize);
    }

    /// The jobs that are no longer known, and of which consumers were told something. Each is given once.
    pub fn take_forgotten(&mut self) -> Vec<Job> {
        std::mem::take(&mut self.forgotten)
    }

    /// One job's count.
    pub fn job(&self, job: &Job) -> Option<&JobCount> {
        self.jobs.get(job)
    }

    /// Every job, in the order of their names: for the names that Rollcall gives, the order in which they were made.
    pub fn jobs(&self) -> impl Iterator<Item = (&Job, &JobCount)> {
        self.jobs.iter()
    }

    /// The jobs that have not ended.
    fn unfinished(&self) -> impl Iterator<Item = (&Job, &JobCount)> {
        self.jobs.iter().filter(|(_, count)| !count.state().is_final())
    }

    /// The models of the jobs that have not ended.
    pub fn models(&self) -> impl Iterator<Item = &Model> {
        self.unfinished().map(|(_, count)| count.model())
    }
}

/// Time, as who counts has measured it.
impl Ledger {
    /// So much time has passed, by a clock that is never set.
    pub fn advance(&mut self, elapsed: Duration) {
        self.micros = self.micros.saturating_add(u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX));
    }

    /// Notes when this state is kept.
    pub fn keep_at(&mut self, now: Timestamp) {
        self.kept_at = Some(now);
    }

    /// When this state was kept, by the clock of the aggregator that did; nothing for one that never was.
    pub fn kept_at(&self) -> Option<Timestamp> {
        self.kept_at
    }

    /// Goes on after nobody has counted for `gap`; nothing where nobody knows for how long: then nobody knows of the jobs under
    /// way how long they took. Deadlines do not count such time.
    pub fn go_on_after(&mut self, gap: Option<Duration>) {
        for count in self.jobs.values_mut().filter(|count| count.done_at().is_none()) {
            count.times_mut().stood_still(gap);
        }
    }

    /// How long a job, or its latest redrive, has run, in seconds; nothing where that is not known.
    pub fn seconds_of(&self, count: &JobCount) -> Option<f64> {
        count.times().runs_for(self.micros).map(|since| since.as_secs_f64())
    }

    /// The jobs whose deadline has passed, where it is `now` by this machine's clock.
    pub fn overdue(&self, now: Timestamp) -> impl Iterator<Item = (&Job, &JobCount)> {
        self.jobs.iter().filter(move |(_, count)| count.is_overdue(self.micros, now))
    }

    /// Whether a job is under way.
    pub fn is_busy(&self) -> bool {
        self.unfinished().next().is_some()
    }
}

fn applied(taken_in: Result<(), Ignored>, job: Job) -> Applied {
    match taken_in {
        Ok(()) => Applied::To(job),
        Err(ignored) => Applied::Ignored(job, ignored),
    }
}

#[cfg(test)]
mod tests;
