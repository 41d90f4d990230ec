//! When to search, and what follows from what is found: pure decisions.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::{Duration, Instant};

use rollcall_shared::message::{Job, Model, RetryPolicy, Stall, Stalled, State, Timestamp, new_marker_id};
use rollcall_shared::topology::RECHECK_AFTER;

use super::search::{Found, SearchPlan, Searched};
use crate::jobs::{JobState, Jobs, ProgressMark};
use crate::leader::waiting_retries::QuietModel;

/// A job without a new outcome for so long is searched for.
const QUIET_AFTER: Duration = Duration::from_secs(10);

/// The same for a redriven job. Its producer enqueues it first, and may have a large file to read.
const REDRIVE_QUIET_AFTER: Duration = Duration::from_secs(60);

/// The pause after a search that finds nothing, and after the first one that finds something. It doubles while searches find something, as
/// with a scorer that takes minutes a company.
const PAUSE: Duration = Duration::from_secs(5);
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// Consumers are asked for their delays this often, so that they are known when no consumer is left.
const ASK_CONSUMERS_EVERY: Duration = Duration::from_secs(60);

/// A marker that is not read by then is lost.
const MARKER_WITHIN: Duration = Duration::from_secs(120);

/// What is known of the jobs that may stall, and of the searches for their models.
#[derive(Default)]
pub(super) struct Watch {
    jobs: HashMap<Job, WatchedJob>,
    models: HashMap<Model, Searches>,
    found: HashMap<Job, Stall>,
}

/// A job with outstanding companies.
struct WatchedJob {
    model: Model,
    mark: ProgressMark,
    /// Since when it makes no progress.
    since: Instant,
    /// The same, by this machine's clock.
    since_at: Timestamp,
    outstanding: u64,
}

impl WatchedJob {
    fn is_quiet(&self, now: Instant) -> bool {
        let quiet_after = if self.mark.is_redriven() { REDRIVE_QUIET_AFTER } else { QUIET_AFTER };
        now.duration_since(self.since) >= quiet_after
    }
}

/// The searches for one model.
struct Searches {
    is_searching: bool,
    next: Instant,
    pause: Duration,
    ask_consumers_at: Instant,
    delays: BTreeSet<Duration>,
    /// The marker of the present search, and whether it was read: it may be read before the search ends.
    marker: String,
    is_marker_read: bool,
    /// A search that found nothing, and whose marker is still to be read.
    latest: Option<EmptySearch>,
    /// The one before it.
    previous: Option<EmptySearch>,
}

/// A search that found nothing.
struct EmptySearch {
    began: Instant,
    taken: Vec<u64>,
}

impl Searches {
    fn new(now: Instant) -> Searches {
        Searches {
            is_searching: false,
            next: now,
            pause: PAUSE,
            ask_consumers_at: now,
            delays: usual_delays(),
            marker: String::new(),
            is_marker_read: false,
            latest: None,
            previous: None,
        }
    }

    fn is_idle(&self) -> bool {
        !self.is_searching && self.latest.is_none()
    }
}

impl Watch {
    /// The stalled jobs.
    pub(super) fn found(&self) -> &HashMap<Job, Stall> {
        &self.found
    }

    /// Follows the jobs; returns those that were stalled and no longer are.
    pub(super) fn observe(&mut self, jobs: &Jobs, now: Instant) -> Vec<Job> {
        self.jobs.retain(|job, _| jobs.get(job).is_some_and(may_stall));
        for (job, state) in jobs.all().filter(|(_, state)| may_stall(state)) {
            let (model, mark, outstanding) = (state.model(), state.progress_mark(), state.outstanding());
            match self.jobs.get_mut(job) {
                Some(watched) if watched.mark == mark => watched.outstanding = outstanding,
                _ => {
                    let (model, since_at) = (model.clone(), Timestamp::now());
                    self.jobs.insert(job.clone(), WatchedJob { model, mark, since: now, since_at, outstanding });
                }
            }
        }
        let models: HashSet<&Model> = self.jobs.values().map(|watched| &watched.model).collect();
        self.models.retain(|model, searches| searches.is_searching || models.contains(model));
        let watched = &self.jobs;
        let makes_progress = |job: &Job| watched.get(job).is_none_or(|watched| watched.since == now);
        self.found.extract_if(|job, _| makes_progress(job)).map(|(job, _)| job).collect()
    }

    /// The models of which no job has had a new outcome for `quiet`. Paused and stalled jobs, whose companies are not to be scored now, are not
    /// looked at.
    pub(super) fn quiet_models(&self, jobs: &Jobs, quiet: Duration, now: Instant) -> Vec<QuietModel> {
        let mut models: HashMap<&Model, Option<QuietModel>> = HashMap::new();
        for (job, watched) in self.jobs.iter().filter(|(job, _)| !self.found.contains_key(*job)) {
            let delays = || self.models.get(&watched.model).map_or_else(usual_delays, |searches| searches.delays.clone());
            let new = || Some(QuietModel { model: watched.model.clone(), unfinished: 0, delays: delays() });
            let model = models.entry(&watched.model).or_insert_with(new);
            if now.duration_since(watched.since) < quiet {
                *model = None;
            }
            if let Some(model) = model {
                model.unfinished += watched.outstanding;
                model.delays.extend(jobs.get(job).into_iter().flat_map(delays_of));
            }
        }
        models.into_values().flatten().collect()
    }

    /// The next search that is due.
    pub(super) fn next_search(&mut self, jobs: &Jobs, now: Instant) -> Option<SearchPlan> {
        let (model, everywhere) = self.next_model(now)?;
        let searches = self.models.get_mut(&model)?;
        (searches.is_searching, searches.is_marker_read) = (true, false);
        searches.marker = new_marker_id();
        let (delays, marker) = (searches.delays.clone(), searches.marker.clone());
        let mut plan = SearchPlan { model, delays, resumed: Vec::new(), everywhere, marker };
        if everywhere {
            let is_own = |state: &JobState| !state.state().is_final() && *state.model() == plan.model;
            for (job, state) in jobs.all().filter(|(_, state)| is_own(state)) {
                plan.delays.extend(delays_of(state));
                if state.was_paused() && !state.is_paused() {
                    plan.resumed.push(job.clone());
                }
            }
        }
        Some(plan)
    }

    /// The model whose search has been due for the longest time, and whether to search everywhere.
    fn next_model(&mut self, now: Instant) -> Option<(Model, bool)> {
        let mut quiet: HashMap<&Model, bool> = HashMap::new();
        for (job, watched) in &self.jobs {
            *quiet.entry(&watched.model).or_default() |= watched.is_quiet(now) && !self.found.contains_key(job);
        }
        let mut due: Option<(Instant, Model, bool)> = None;
        for (model, is_quiet) in quiet {
            let searches = self.models.entry(model.clone()).or_insert_with(|| Searches::new(now));
            if !is_quiet {
                (searches.pause, searches.next, searches.previous) = (PAUSE, now, None);
            }
            let since = if is_quiet { searches.next.min(searches.ask_consumers_at) } else { searches.ask_consumers_at };
            if searches.is_idle() && since <= now && due.as_ref().is_none_or(|(earliest, ..)| since < *earliest) {
                due = Some((since, model.clone(), is_quiet && searches.next <= now));
            }
        }
        due.map(|(_, model, everywhere)| (model, everywhere))
    }

    /// Notes what a search has found.
    pub(super) fn note_search(&mut self, searched: Searched, now: Instant) {
        let Searched { model, began, everywhere, found, delays } = searched;
        let Some(searches) = self.models.get_mut(&model) else { return };
        searches.is_searching = false;
        searches.delays.extend(delays);
        searches.ask_consumers_at = now + ASK_CONSUMERS_EVERY;
        if !everywhere {
            return;
        }
        match found {
            Found::Nothing { taken } => searches.latest = Some(EmptySearch { began, taken }),
            Found::Something | Found::Unknown => {
                searches.previous = None;
                searches.next = now + searches.pause;
                searches.pause = (searches.pause * 2).min(MAX_PAUSE);
            }
        }
    }

    /// Notes that a marker was read.
    pub(super) fn note_marker(&mut self, marker: &str) {
        for searches in self.models.values_mut() {
            searches.is_marker_read |= searches.marker == marker;
        }
    }

    /// Concludes the searches that found nothing and whose marker was read, so that all earlier results are counted. Returns the jobs that turn
    /// out to be stalled.
    pub(super) fn conclude(&mut self, now: Instant) -> Vec<Stalled> {
        let mut stalled = Vec::new();
        for (model, searches) in &mut self.models {
            let is_marker_read = searches.is_marker_read;
            let Some(latest) = searches.latest.take_if(|latest| is_marker_read || now - latest.began >= MARKER_WITHIN) else {
                continue;
            };
            searches.next = now + PAUSE;
            // A consumer that has taken a company meanwhile may have moved it to a place that had been searched before.
            let earlier = searches.previous.take().filter(|earlier| earlier.taken == latest.taken && is_marker_read);
            if let Some(earlier) = earlier {
                let is_stalled = |(_, watched): &(&Job, &WatchedJob)| {
                    watched.model == *model && watched.since <= earlier.began && watched.is_quiet(latest.began)
                };
                for (job, watched) in self.jobs.iter().filter(is_stalled) {
                    let stall = Stall { since: watched.since_at, companies: watched.outstanding };
                    if self.found.insert(job.clone(), stall.clone()).is_none() {
                        let (job, model, Stall { since, companies }) = (job.clone(), Some(model.clone()), stall);
                        stalled.push(Stalled { job, model, since: Some(since), companies });
                    }
                }
            }
            searches.previous = Some(latest).filter(|_| is_marker_read);
        }
        stalled
    }
}

/// The delays that are used unless somebody has chosen others.
fn usual_delays() -> BTreeSet<Duration> {
    RetryPolicy::default().delays().chain([RECHECK_AFTER]).collect()
}

fn delays_of(state: &JobState) -> impl Iterator<Item = Duration> {
    state.settings().retry.iter().flat_map(RetryPolicy::delays)
}

/// Whether companies of the job are outstanding, and it is not paused.
fn may_stall(state: &JobState) -> bool {
    matches!(state.state(), State::Running | State::Unsealed) && state.outstanding() > 0
}

#[cfg(test)]
mod tests;
