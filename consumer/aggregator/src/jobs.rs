//! The state of every job, as a fold over the ledger: `jobs = fold(records)`.
//!
//! The fold is pure: it does no I/O, knows no broker and reads no clock. The caller brings the records and the time.
//!
//! A job begins with its opening. Records of a job without one are kept for a while, and a record that contradicts what is counted of its
//! job is ignored: see [`Ignored`]. For the phases of a job's life see `phase`.

mod bitmap;
mod clock;
mod early_records;
mod finished;
mod job_state;
mod outcomes;
mod phase;
mod record;
mod speed;
mod workload;

pub use job_state::{JobState, ProgressMark};
pub use record::{Applied, Ignored, Record};
pub use workload::{QueueCounts, Workload};

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use rollcall_shared::message::{BadJson, Job, JobEvent, Model, Opened, ResultHeaders, ScaleSignal, Stall, Timestamp, read_json};
use serde::{Deserialize, Serialize};

use clock::{Beginning, Moment};
use early_records::EarlyRecords;
use finished::FinishedJobs;
use speed::Speed;

/// Finished jobs kept. Each takes a few hundred bytes in every checkpoint. Older ones are in the ledger only.
const MAX_FINISHED_JOBS: usize = 1_000;

/// What the bitmaps of finished jobs may take in every checkpoint. Mostly they are runs, of a few bytes; a hundred thousand scattered
/// failures are 200 kB.
const MAX_FINISHED_BITMAP_BYTES: usize = 4 << 20;

/// The state of every job after the records read so far.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Jobs {
    next_offset: u64,
    /// The identity of the record before that offset, by which another ledger is recognized; `None` if it is unknown.
    last_record: Option<u64>,
    /// The ledger's clock.
    clock_us: u64,
    /// When this checkpoint was saved, by the clock of the machine that saved it.
    saved_at: Option<Timestamp>,
    jobs: BTreeMap<Job, JobState>,
    #[serde(skip)]
    finished: FinishedJobs,
    #[serde(default, skip_serializing_if = "EarlyRecords::is_empty")]
    early_records: EarlyRecords,
    /// Jobs that were dropped, and about which consumers had control messages that are not yet withdrawn.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    forgotten: Vec<Job>,
    /// How fast companies of each model are scored.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    speeds: BTreeMap<Model, Speed>,
}

/// Applying records.
impl Jobs {
    /// The offset of the record to be read next.
    pub fn next_offset(&self) -> u64 {
        self.next_offset
    }

    /// The identity of the record before that one; `None` if it is unknown.
    pub fn last_record(&self) -> Option<u64> {
        self.last_record
    }

    /// Notes the `identity` of the record at `offset`, which has been applied.
    pub fn note_identity(&mut self, offset: u64, identity: u64) {
        if offset.checked_add(1) == Some(self.next_offset) {
            self.last_record = Some(identity);
        }
    }

    /// Skips the next record, which cannot be read.
    pub fn skip_record(&mut self) {
        self.next_offset += 1;
        self.last_record = None;
    }

    /// Applies the record at `offset`, which was published `age` ago, if that is known. A record that was applied before changes nothing.
    pub fn apply(&mut self, offset: u64, age: Option<Duration>, record: Record) -> Applied {
        if offset < self.next_offset {
            return Applied::Nothing;
        }
        self.next_offset = offset + 1;
        self.early_records.drop_old(offset);
        match record {
            Record::Result(result) => self.count(offset, result),
            Record::Event(event) => self.apply_event(offset, age, event),
            Record::Other => Applied::Nothing,
        }
    }

    fn count(&mut self, offset: u64, result: ResultHeaders) -> Applied {
        let Some(state) = self.jobs.get_mut(&result.job) else {
            return self.keep_early(offset, result.job.clone(), Record::Result(result));
        };
        let counted = state.count(&result);
        if let (Ok(()), Some(duration)) = (counted, result.duration) {
            match self.speeds.get_mut(state.model()) {
                Some(speed) => speed.note(duration),
                None => self.speeds.entry(state.model().clone()).or_default().note(duration),
            }
        }
        Applied::from(counted, result.job)
    }

    fn apply_event(&mut self, offset: u64, age: Option<Duration>, event: JobEvent) -> Applied {
        let moment = Moment { clock_us: self.clock_us, age };
        let job = event.job().clone();
        let Some(state) = self.jobs.get_mut(&job) else {
            return match event {
                JobEvent::Opened(opened) => self.open(offset, moment, opened),
                event => self.keep_early(offset, job, Record::Event(event)),
            };
        };
        self.finished.remove(&job, state);
        let applied = state.apply(event, offset, moment);
        self.finished.insert(&job, state);
        self.drop_oldest_finished();
        Applied::from(applied, job)
    }

    fn open(&mut self, offset: u64, moment: Moment, opened: Opened) -> Applied {
        let job = opened.job.clone();
        let early = self.early_records.take(&job);
        let first_offset = early.first().map_or(offset, |(offset, _)| *offset);
        let mut state = JobState::new(first_offset, opened, Beginning::from(moment));
        for (offset, record) in early {
            // Reported as ignored when it was read.
            let _ignored = match record {
                Record::Result(result) => state.count(&result),
                Record::Event(event) => state.apply(event, offset, moment),
                Record::Other => Ok(()),
            };
        }
        self.jobs.insert(job.clone(), state);
        Applied::To(job)
    }

    fn keep_early(&mut self, offset: u64, job: Job, record: Record) -> Applied {
        self.early_records.keep(offset, record);
        Applied::Ignored(job, Ignored::NotOpened)
    }

    /// Drops bitmaps of finished jobs, and then finished jobs, until the rest is within its bounds.
    fn drop_oldest_finished(&mut self) {
        while self.finished.bitmap_bytes() > MAX_FINISHED_BITMAP_BYTES {
            let Some(oldest) = self.finished.oldest_with_bitmaps() else { return };
            let Some(state) = self.jobs.get_mut(&oldest) else { return };
            self.finished.remove(&oldest, state);
            let forgotten = state.forget_companies();
            self.finished.insert(&oldest, state);
            if forgotten.is_err() {
                return;
            }
        }
        while self.finished.len() > MAX_FINISHED_JOBS {
            let Some(oldest) = self.finished.oldest() else { return };
            let Some(state) = self.jobs.remove(&oldest) else { return };
            self.finished.remove(&oldest, &state);
            if self.jobs.values().all(|other| other.model() != state.model()) {
                self.speeds.remove(state.model());
            }
            if state.had_control_messages() {
                self.forgotten.push(oldest);
            }
        }
    }

    /// The jobs that were dropped and about which consumers had control messages. Returns each job once.
    pub fn take_forgotten(&mut self) -> Vec<Job> {
        std::mem::take(&mut self.forgotten)
    }
}

/// Asking about jobs.
impl Jobs {
    /// The state of one job.
    pub fn get(&self, job: &Job) -> Option<&JobState> {
        self.jobs.get(job)
    }

    /// Every job, sorted by name. Names that the producer chooses sort by age.
    pub fn all(&self) -> impl Iterator<Item = (&Job, &JobState)> {
        self.jobs.iter()
    }

    fn unfinished(&self) -> impl Iterator<Item = (&Job, &JobState)> {
        self.jobs.iter().filter(|(_, state)| !state.state().is_final())
    }

    /// The models of the jobs that have not ended.
    pub fn models(&self) -> impl Iterator<Item = &Model> {
        self.unfinished().map(|(_, state)| state.model())
    }

    /// What is left of every model that has a job.
    pub fn workloads(&self, stalled: &HashMap<Job, Stall>) -> BTreeMap<&Model, Workload> {
        let mut workloads: BTreeMap<&Model, Workload> = BTreeMap::new();
        for (job, state) in &self.jobs {
            let workload = workloads.entry(state.model()).or_insert_with(|| {
                let seconds_per_company = self.speeds.get(state.model()).and_then(Speed::seconds_per_company);
                Workload { seconds_per_company, ..Workload::default() }
            });
            if !state.state().is_final() {
                workload.add(state, stalled.contains_key(job), self.clock_us);
            }
        }
        workloads
    }

    /// The scale signal of every model that has a job; `counts` says where companies are, of models of which that is known.
    pub fn scale_signals(&self, counts: &HashMap<Model, QueueCounts>, stalled: &HashMap<Job, Stall>) -> Vec<ScaleSignal> {
        let signal = |(model, left): (&Model, Workload)| left.signal(model.clone(), counts.get(model).copied());
        self.workloads(stalled).into_iter().map(signal).collect()
    }

    /// Whether any job has not ended.
    pub fn any_unfinished(&self) -> bool {
        self.unfinished().next().is_some()
    }
}

/// Time.
impl Jobs {
    /// Advances the ledger's clock by time that a monotonic clock has measured.
    pub fn advance(&mut self, elapsed: Duration) {
        self.clock_us = self.clock_us.saturating_add(u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX));
    }

    /// When this checkpoint was saved, by the clock of the machine that saved it; `None` if it never was.
    pub fn saved_at(&self) -> Option<Timestamp> {
        self.saved_at
    }

    /// Continues after a time in which no aggregator counted; `None` if it is unknown how long it was: then the durations of unfinished jobs
    /// are unknown. Deadlines do not count such time.
    pub fn continue_after(&mut self, gap: Option<Duration>) {
        for state in self.jobs.values_mut().filter(|state| !state.is_done()) {
            state.beginning_mut().add_gap(gap);
        }
    }

    /// How long a job, or its latest redrive, has run, in seconds; `None` if that is unknown.
    pub fn running_seconds(&self, state: &JobState) -> Option<f64> {
        state.beginning().since_published(self.clock_us).map(|since| since.as_secs_f64())
    }

    /// The jobs whose deadline has passed. `now` is by this machine's clock.
    pub fn overdue(&self, now: Timestamp) -> impl Iterator<Item = (&Job, &JobState)> {
        self.jobs.iter().filter(move |(_, state)| state.is_overdue(self.clock_us, now))
    }
}

/// A checkpoint that cannot be used. The ledger is then counted from its beginning.
#[derive(Debug, thiserror::Error)]
pub enum BadCheckpoint {
    /// It is not the JSON of this version.
    #[error("malformed checkpoint: {0}")]
    Json(#[from] BadJson),
    /// Its parts contradict one another.
    #[error("malformed checkpoint: expected counts that add up, found others for job {0}")]
    DoesNotAddUp(Job),
}

/// Checkpoints: JSON that a person can read, except for the bitmaps.
impl Jobs {
    /// Prepares to be saved: notes the time, by this machine's clock, and compresses the bitmaps of jobs that are not done.
    pub fn prepare_checkpoint(&mut self, now: Timestamp) {
        self.saved_at = Some(now);
        self.optimize();
    }

    fn optimize(&mut self) {
        self.jobs.values_mut().filter(|state| !state.is_done()).for_each(JobState::optimize);
    }

    /// The state as JSON.
    ///
    /// # Errors
    /// If a value in it has no JSON form.
    pub fn to_checkpoint(&self) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(self)
    }

    /// The state that was saved.
    ///
    /// # Errors
    /// [`BadCheckpoint`].
    pub fn from_checkpoint(bytes: &[u8]) -> Result<Jobs, BadCheckpoint> {
        let mut jobs: Jobs = read_json(bytes)?;
        jobs.finished = FinishedJobs::of(&jobs.jobs);
        match jobs.jobs.iter().find(|(_, state)| !state.adds_up()) {
            Some((job, _)) => Err(BadCheckpoint::DoesNotAddUp(job.clone())),
            None => Ok(jobs),
        }
    }
}

#[cfg(test)]
mod tests;
