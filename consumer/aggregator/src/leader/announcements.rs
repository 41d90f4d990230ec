//! Job events: progress, expired and stalled on the way, and the one that says that a job is done.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::time::Instant;

use lapin::Channel;
use rollcall_shared::broker::{BrokerError, publish_unconfirmed};
use rollcall_shared::message::{Event, Expired, Job, JobEvent, Message, Stalled, Timestamp};
use rollcall_shared::topology::Topology;

use crate::jobs::{JobState, Jobs};

/// Makes job events, and remembers which it has made.
pub(super) struct Announcements {
    /// For events that the ledger does not keep.
    unconfirmed: Channel,
    exchange: String,
    /// Done events that were made and not read back yet, each by its job and round, and since when the job was known to be due.
    done: HashMap<(Job, u32), Instant>,
    expired: HashSet<Job>,
    last_progress: HashMap<Job, (Instant, u64)>,
}

impl Announcements {
    /// Progress is published on the channel `unconfirmed`.
    pub(super) fn new(unconfirmed: Channel, topology: &Topology) -> Announcements {
        Announcements {
            unconfirmed,
            exchange: topology.events(),
            done: HashMap::new(),
            expired: HashSet::new(),
            last_progress: HashMap::new(),
        }
    }

    /// Makes the done event of a job that is due after running for `seconds`, as is known since `read_at`; `None` if it was made before and is
    /// not read back yet.
    pub(super) fn done(&mut self, job: &Job, state: &JobState, seconds: Option<f64>, read_at: Instant) -> Option<Message> {
        let done = state.done(job, Timestamp::now(), seconds);
        match self.done.entry((job.clone(), done.redrives)) {
            Entry::Occupied(_) => return None,
            Entry::Vacant(vacant) => vacant.insert(read_at),
        };
        tracing::debug!(event = "announcing_done", %job, state = %done.state, "announcing done");
        self.message(JobEvent::Done(done))
    }

    /// Whether this done event was made here and is not read back yet.
    pub(super) fn is_awaited(&self, job: &Job, round: u32) -> bool {
        self.done.contains_key(&(job.clone(), round))
    }

    /// Notes that the done event of a job's round was read back and counted. If it was made here, returns since when the job was known to be
    /// due. Another job may then have the same name.
    pub(super) fn note_done(&mut self, job: &Job, round: u32) -> Option<Instant> {
        self.expired.remove(job);
        self.done.remove(&(job.clone(), round))
    }

    /// Makes the event that a job was not done by its deadline, once for each job.
    pub(super) fn expired(&mut self, jobs: &Jobs) -> Vec<Message> {
        let now = Timestamp::now();
        let mut expired = Vec::new();
        for (job, state) in jobs.overdue(now) {
            if self.expired.insert(job.clone()) {
                let deadline_at = state.settings().deadline_at.unwrap_or(now);
                expired.push(Expired { job: job.clone(), deadline_at: Some(deadline_at) });
            }
        }
        expired.into_iter().filter_map(|expired| self.message(JobEvent::Expired(expired))).collect()
    }

    /// Publishes the progress of each of the `changed` jobs that has not ended.
    pub(super) async fn publish_progress(&mut self, jobs: &Jobs, changed: impl Iterator<Item = Job>) -> Result<(), BrokerError> {
        for job in changed {
            let Some(state) = jobs.get(&job) else { continue };
            if state.state().is_final() {
                self.last_progress.remove(&job);
                continue;
            }
            let companies_per_second = self.rate(&job, state.counted());
            if let Some(message) = self.message(JobEvent::Progress(state.progress(&job, companies_per_second))) {
                publish_unconfirmed(&self.unconfirmed, message).await?;
            }
        }
        Ok(())
    }

    /// Publishes that companies of a job are lost.
    pub(super) async fn publish_stalled(&self, stalled: Stalled) -> Result<(), BrokerError> {
        match self.message(JobEvent::Stalled(stalled)) {
            Some(message) => publish_unconfirmed(&self.unconfirmed, message).await,
            None => Ok(()),
        }
    }

    fn rate(&mut self, job: &Job, counted: u64) -> f64 {
        let now = Instant::now();
        match self.last_progress.insert(job.clone(), (now, counted)) {
            Some((then, before)) => (counted.saturating_sub(before)) as f64 / now.duration_since(then).as_secs_f64().max(0.001),
            None => 0.0,
        }
    }

    fn message(&self, event: JobEvent) -> Option<Message> {
        let event = Event::now(event);
        match event.message(self.exchange.clone()) {
            Ok(message) => Some(message),
            Err(error) => {
                tracing::error!(event = "event_not_json", %error, id = event.id, "a job event has no JSON form");
                None
            }
        }
    }
}
