//! When to look, and what follows from what is found: pure decisions.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::{Duration, Instant};

use rollcall_shared::message::{Job, Model, RetryPolicy, Stall, Stalled, State, Timestamp, new_marker_id};
use rollcall_shared::topology::RECHECK_AFTER;

use super::look::{Found, Looked, Plan};
use crate::ledger::{JobCount, Ledger, Mark};

/// A job without an outcome for so long is looked after.
const QUIET: Duration = Duration::from_secs(10);

/// One that is redriven has to be enqueued first, by a producer that may have a large file to read through.
const QUIET_REDRIVE: Duration = Duration::from_secs(60);

/// Where nothing is found, it is looked again after so long. Where something is found each time, as with a scorer that takes minutes a
/// company, the pause doubles.
const AGAIN: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Consumers are asked after which delays they try again this often, so that it is known when none is left.
const ROLL_CALL_EVERY: Duration = Duration::from_secs(60);

/// A marker that has not come back by then is lost.
const MARKER_WITHIN: Duration = Duration::from_secs(120);

/// What is known of the jobs that could stall, and of the looks at their models.
#[derive(Default)]
pub(super) struct Watch {
    jobs: HashMap<Job, Watched>,
    models: HashMap<Model, Looks>,
    found: HashMap<Job, Stall>,
}

/// A job with companies on their way.
struct Watched {
    model: Model,
    mark: Mark,
    since: Instant,
    since_at: Timestamp,
    companies: u64,
}

impl Watched {
    fn is_quiet(&self, now: Instant) -> bool {
        let quiet = if self.mark.is_redriven() { QUIET_REDRIVE } else { QUIET };
        now.duration_since(self.since) >= quiet
    }
}

/// The looks at one model.
struct Looks {
    is_looking: bool,
    next: Instant,
    pause: Duration,
    next_roll_call: Instant,
    delays: BTreeSet<Duration>,
    /// The marker of the look at hand, and whether it has come back: it may before the look is over.
    marker: String,
    is_counted: bool,
    /// A look that found nothing, whose marker is still on its way.
    latest: Option<Sighting>,
    /// The one before it.
    previous: Option<Sighting>,
}

/// A look that found nothing.
struct Sighting {
    began: Instant,
    taken: Vec<u64>,
}

impl Looks {
    fn new(now: Instant) -> Looks {
        let delays = RetryPolicy::default().delays().chain([RECHECK_AFTER]).collect();
        Looks {
            is_looking: false,
            next: now,
            pause: AGAIN,
            next_roll_call: now,
            delays,
            marker: String::new(),
            is_counted: false,
            latest: None,
            previous: None,
        }
    }

    fn is_idle(&self) -> bool {
        !self.is_looking && self.latest.is_none()
    }
}

impl Watch {
    pub(super) fn found(&self) -> &HashMap<Job, Stall> {
        &self.found
    }

    /// Takes in how jobs stand now; returns those that were stalled and are not any more.
    pub(super) fn observe(&mut self, ledger: &Ledger, now: Instant) -> Vec<Job> {
        self.jobs.retain(|job, _| ledger.job(job).is_some_and(is_on_its_way));
        for (job, count) in ledger.jobs().filter(|(_, count)| is_on_its_way(count)) {
            let (model, mark, companies) = (count.model(), count.mark(), count.unanswered());
            match self.jobs.get_mut(job) {
                Some(watched) if watched.mark == mark => watched.companies = companies,
                _ => {
                    let watched = Watched { model: model.clone(), mark, since: now, since_at: Timestamp::now(), companies };
                    self.jobs.insert(job.clone(), watched);
                }
            }
        }
        let models: HashSet<&Model> = self.jobs.values().map(|watched| &watched.model).collect();
        self.models.retain(|model, looks| looks.is_looking || models.contains(model));
        let jobs = &self.jobs;
        let moves = |job: &Job| jobs.get(job).is_none_or(|watched| watched.since == now);
        self.found.extract_if(|job, _| moves(job)).map(|(job, _)| job).collect()
    }

    /// The next model that is to be looked at now.
    pub(super) fn next_look(&mut self, ledger: &Ledger, now: Instant) -> Option<Plan> {
        let mut quiet: HashMap<&Model, bool> = HashMap::new();
        for (job, watched) in &self.jobs {
            *quiet.entry(&watched.model).or_default() |= watched.is_quiet(now) && !self.found.contains_key(job);
        }
        let mut due: Option<(Instant, Model, bool)> = None;
        for (model, is_quiet) in quiet {
            let looks = self.models.entry(model.clone()).or_insert_with(|| Looks::new(now));
            if !is_quiet {
                (looks.pause, looks.next, looks.previous) = (AGAIN, now, None);
            }
            let since = if is_quiet { looks.next.min(looks.next_roll_call) } else { looks.next_roll_call };
            if looks.is_idle() && since <= now && due.as_ref().is_none_or(|(earliest, ..)| since < *earliest) {
                due = Some((since, model.clone(), is_quiet && looks.next <= now));
            }
        }
        let (_, model, everything) = due?;
        let looks = self.models.get_mut(&model)?;
        (looks.is_looking, looks.is_counted) = (true, false);
        looks.marker = new_marker_id();
        let (delays, marker) = (looks.delays.clone(), looks.marker.clone());
        let mut plan = Plan { model, delays, resumed: Vec::new(), everything, marker };
        if everything {
            let is_of = |count: &JobCount| !count.state().is_final() && *count.model() == plan.model;
            for (job, count) in ledger.jobs().filter(|(_, count)| is_of(count)) {
                plan.delays.extend(count.settings().retry.iter().flat_map(RetryPolicy::delays));
                if count.was_paused() && !count.is_paused() {
                    plan.resumed.push(job.clone());
                }
            }
        }
        Some(plan)
    }

    /// Takes in what a look has found.
    pub(super) fn take_in(&mut self, looked: Looked, now: Instant) {
        let Looked { model, began, everything, found, delays } = looked;
        let Some(looks) = self.models.get_mut(&model) else { return };
        looks.is_looking = false;
        looks.delays.extend(delays);
        looks.next_roll_call = now + ROLL_CALL_EVERY;
        if !everything {
            return;
        }
        match found {
            Found::Nothing { taken } => looks.latest = Some(Sighting { began, taken }),
            Found::Something | Found::Unknown => {
                looks.previous = None;
                looks.next = now + looks.pause;
                looks.pause = (looks.pause * 2).min(LONGEST_PAUSE);
            }
        }
    }

    /// A marker has been read back.
    pub(super) fn heard(&mut self, marker: &str) {
        for looks in self.models.values_mut() {
            looks.is_counted |= looks.marker == marker;
        }
    }

    /// Decides where nothing has been found and all is counted that was stored up to then; returns the jobs that turn out to be stalled.
    pub(super) fn conclude(&mut self, now: Instant) -> Vec<Stalled> {
        let mut stalled = Vec::new();
        for (model, looks) in &mut self.models {
            let is_counted = looks.is_counted;
            let Some(latest) = looks.latest.take_if(|latest| is_counted || now - latest.began >= MARKER_WITHIN) else {
                continue;
            };
            looks.next = now + AGAIN;
            // A consumer that took something meanwhile may have passed it on to where had been looked already.
            let earlier = looks.previous.take().filter(|earlier| earlier.taken == latest.taken && is_counted);
            if let Some(earlier) = earlier {
                let is_stalled = |(_, watched): &(&Job, &Watched)| {
                    watched.model == *model && watched.since <= earlier.began && watched.is_quiet(latest.began)
                };
                for (job, watched) in self.jobs.iter().filter(is_stalled) {
                    let stall = Stall { since: watched.since_at, companies: watched.companies };
                    if self.found.insert(job.clone(), stall.clone()).is_none() {
                        let (job, model, Stall { since, companies }) = (job.clone(), Some(model.clone()), stall);
                        stalled.push(Stalled { job, model, since, companies });
                    }
                }
            }
            looks.previous = Some(latest).filter(|_| is_counted);
        }
        stalled
    }
}

/// Whether companies of the job are enqueued and to be answered for.
fn is_on_its_way(count: &JobCount) -> bool {
    matches!(count.state(), State::Running | State::Unsealed) && count.unanswered() > 0
}

#[cfg(test)]
mod tests;
