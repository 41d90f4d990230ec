//! Job events: the one that says a job is done, and progress on the way.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::time::{Instant, SystemTime};

use lapin::Channel;
use rollcall_shared::broker::{BrokerError, publish_unconfirmed};
use rollcall_shared::message::{Done, Event, Expired, Job, JobEvent, Message, timestamp};
use rollcall_shared::topology::Topology;

use crate::aggregator::ledger::{JobCount, Ledger};
use crate::aggregator::seconds_since;

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

    /// The done event of a job that is due, as is known since `read_at`; nothing where it was already made and has only not been
    /// read back yet.
    pub(super) fn done(&mut self, job: &Job, count: &JobCount, read_at: Instant) -> Option<Message> {
        let now = SystemTime::now();
        let seconds = count.began_at().map_or(0.0, |began_at| seconds_since(began_at, now));
        let done = count.done(job, timestamp(now), seconds);
        match self.announced.entry((job.clone(), done.redrives)) {
            Entry::Occupied(_) => return None,
            Entry::Vacant(unsaid) => unsaid.insert(read_at),
        };
        tracing::debug!(%job, state = %done.state, "announcing done");
        self.message(JobEvent::Done(done))
    }

    /// A done event has been read back; where it is one of these, since when its job was known to be due. Another job may come by
    /// the same name.
    pub(super) fn heard(&mut self, done: &Done) -> Option<Instant> {
        self.expired.remove(&done.job);
        self.announced.remove(&(done.job.clone(), done.redrives))
    }

    /// The event that says of each job that it was not done by its deadline; once.
    pub(super) fn expired(&mut self, ledger: &Ledger) -> Vec<Message> {
        let now = timestamp(SystemTime::now());
        let mut expired = Vec::new();
        for (job, count) in ledger.jobs().filter(|(_, count)| !count.state().is_final()) {
            // RFC 3339 in UTC and of one precision sorts as time does. What is redriven has no deadline.
            let passed = |deadline_at: &String| *deadline_at < now && count.began_at() == count.opened_at();
            if let Some(deadline_at) = count.settings().deadline_at.filter(passed)
                && self.expired.insert(job.clone())
            {
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
