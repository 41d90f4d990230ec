//! Job events: the one that says a job is done, and progress on the way.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::time::Instant;

use lapin::Channel;
use rollcall_shared::broker::{BrokerError, publish_unconfirmed};
use rollcall_shared::message::{Event, Expired, Job, JobEvent, Message, Stalled, Timestamp};
use rollcall_shared::topology::Topology;

use crate::ledger::{JobCount, Ledger};

/// Makes job events and remembers which it has made.
pub(super) struct Announcer {
    progress: Channel,
    exchange: String,
    /// What was said and has not been read back yet, and when it was known: each job with how often it had been redriven.
    announced: HashMap<(Job, u32), Instant>,
    expired: HashSet<Job>,
    last_progress: HashMap<Job, (Instant, u64)>,
}

impl Announcer {
    /// Progress goes out on `progress`, unconfirmed.
    pub(super) fn new(progress: Channel, topology: &Topology) -> Announcer {
        Announcer {
            progress,
            exchange: topology.events(),
            announced: HashMap::new(),
            expired: HashSet::new(),
            last_progress: HashMap::new(),
        }
    }

    /// The done event of a job that is due, as is known since `read_at`, after `seconds`; nothing where it was already made and has
    /// only not been read back yet.
    pub(super) fn done(&mut self, job: &Job, count: &JobCount, seconds: Option<f64>, read_at: Instant) -> Option<Message> {
        let done = count.done(job, Timestamp::now(), seconds);
        match self.announced.entry((job.clone(), done.redrives)) {
            Entry::Occupied(_) => return None,
            Entry::Vacant(unsaid) => unsaid.insert(read_at),
        };
        tracing::debug!(%job, state = %done.state, "announcing done");
        self.message(JobEvent::Done(done))
    }

    /// Whether this done event was made here, and has not been read back.
    pub(super) fn awaits(&self, job: &Job, redrives: u32) -> bool {
        self.announced.contains_key(&(job.clone(), redrives))
    }

    /// The done event of a job that had been redriven so often has been read back, and counts; where it is one of these, since when
    /// its job was known to be due. Another job may come by the same name.
    pub(super) fn heard(&mut self, job: &Job, redrives: u32) -> Option<Instant> {
        self.expired.remove(job);
        self.announced.remove(&(job.clone(), redrives))
    }

    /// The event that says of each job that it was not done by its deadline; once.
    pub(super) fn expired(&mut self, ledger: &Ledger) -> Vec<Message> {
        let now = Timestamp::now();
        let mut expired = Vec::new();
        for (job, count) in ledger.overdue(now) {
            if self.expired.insert(job.clone()) {
                let deadline_at = count.settings().deadline_at.unwrap_or(now);
                expired.push(Expired { job: job.clone(), deadline_at });
            }
        }
        expired.into_iter().filter_map(|expired| self.message(JobEvent::Expired(expired))).collect()
    }

    /// Tells how each of `moved` stands, unless it has ended.
    pub(super) async fn progress(&mut self, ledger: &Ledger, moved: impl Iterator<Item = Job>) -> Result<(), BrokerError> {
        for job in moved {
            let Some(count) = ledger.job(&job) else { continue };
            if count.state().is_final() {
                self.last_progress.remove(&job);
                continue;
            }
            let rate = self.rate(&job, count.counted());
            if let Some(message) = self.message(JobEvent::Progress(count.progress(&job, rate))) {
                publish_unconfirmed(&self.progress, message).await?;
            }
        }
        Ok(())
    }

    /// Tells that companies of a job are lost.
    pub(super) async fn stalled(&self, stalled: Stalled) -> Result<(), BrokerError> {
        match self.message(JobEvent::Stalled(stalled)) {
            Some(message) => publish_unconfirmed(&self.progress, message).await,
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
                tracing::error!(%error, id = event.id, "a job event has no JSON form");
                None
            }
        }
    }
}
