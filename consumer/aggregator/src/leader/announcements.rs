//! Job events: progress, expired and stalled on the way, and the one that says that a job is done.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::time::Instant;

use rollcall_shared::message::{Event, Expired, Job, JobEvent, Message, Stalled, Timestamp};
use rollcall_shared::topology::Topology;

use crate::jobs::{JobState, Jobs};

/// Makes job events, and remembers which it has made.
pub(super) struct Announcements {
    exchange: String,
    /// Done events that were made and not read back yet, each by its job and round, and since when the job was known to be due.
    done: HashMap<(Job, u32), Instant>,
    expired: HashSet<Job>,
    last_progress: HashMap<Job, (Instant, u64)>,
}

impl Announcements {
    pub(super) fn new(topology: &Topology) -> Announcements {
        let exchange = topology.events();
        Announcements { exchange, done: HashMap::new(), expired: HashSet::new(), last_progress: HashMap::new() }
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

    /// Makes the progress event of each of the `changed` jobs that has not ended.
    pub(super) fn progress(&mut self, jobs: &Jobs, changed: impl Iterator<Item = Job>) -> Vec<Message> {
        let mut progress = Vec::new();
        for job in changed {
            let Some(state) = jobs.get(&job) else { continue };
            if state.state().is_final() {
                self.last_progress.remove(&job);
                continue;
            }
            let companies_per_second = self.rate(&job, state.counted());
            progress.extend(self.message(JobEvent::Progress(state.progress(&job, companies_per_second))));
        }
        progress
    }

    /// Makes the event that companies of a job are lost.
    pub(super) fn stalled(&self, stalled: Stalled) -> Option<Message> {
        self.message(JobEvent::Stalled(stalled))
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rollcall_shared::message::{Cancelled, Indices, Opened, Redriven, Settings};

    use super::*;
    use crate::jobs::Record;

    fn tell(jobs: &mut Jobs, event: JobEvent) {
        jobs.apply(jobs.next_offset(), None, Record::Event(event));
    }

    /// A job of no companies that was cancelled and then redriven so many times, and whose latest done event is due.
    fn due(job: &str, redrives: u32) -> (Job, JobState) {
        let (job, mut jobs) = (job.parse::<Job>().unwrap(), Jobs::default());
        let (model, source, settings) = ("m".parse().unwrap(), String::new(), Settings::default());
        tell(&mut jobs, JobEvent::Opened(Opened { job: job.clone(), opening: None, model, source, opened_at: None, settings }));
        let (reason, total, opening) = (String::new(), None, None);
        tell(&mut jobs, JobEvent::Cancelled(Cancelled { job: job.clone(), reason, total, redrives: 0, opening }));
        for round in 1..=redrives {
            let done = jobs.get(&job).unwrap().done(&job, Timestamp::now(), None);
            tell(&mut jobs, JobEvent::Done(done));
            let (job, by, indices, redriven_at) = (job.clone(), String::new(), Indices::default(), None);
            tell(
                &mut jobs,
                JobEvent::Redriven(Redriven { job, round, by, indices, companies: 0, total, redriven_at, opening: None }),
            );
        }
        let state = jobs.get(&job).unwrap().clone();
        assert!(state.is_due());
        (job, state)
    }

    proptest! {
        #[test]
        fn the_done_event_of_a_round_is_made_once_until_it_is_noted_whatever_is_asked_in_between(
            steps in prop::collection::vec((0_usize..3, any::<bool>()), 1..60)
        ) {
            let rounds = [(due("j", 0), 0, "j/done"), (due("j", 1), 1, "j/done/1"), (due("k", 0), 0, "k/done")];
            let mut announcements = Announcements::new(&Topology::new("p"));
            let mut awaited = HashSet::new();
            for (at, is_read_back) in steps {
                let ((job, state), round, id) = &rounds[at];
                if is_read_back {
                    prop_assert_eq!(announcements.note_done(job, *round).is_some(), awaited.remove(id));
                } else {
                    let made = announcements.done(job, state, None, Instant::now());
                    prop_assert_eq!(made.is_some(), awaited.insert(*id));
                    if let Some(message) = made {
                        prop_assert_eq!(Event::read(&message.body).unwrap().id, *id);
                    }
                }
                prop_assert_eq!(announcements.is_awaited(job, *round), awaited.contains(id));
            }
        }
    }
}
