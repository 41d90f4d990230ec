use proptest::prelude::*;
use rollcall_shared::message::{Enqueued, Index, JobEvent, Opened, Outcome, Pause, ResultHeaders, Sealed, Settings};

use super::*;
use crate::jobs::Record;

fn job() -> Job {
    "j".parse().unwrap()
}

fn model() -> Model {
    "m".parse().unwrap()
}

fn tell(jobs: &mut Jobs, event: JobEvent) {
    jobs.apply(jobs.next_offset(), None, Record::Event(event));
}

/// Jobs of which one is open.
fn opened() -> Jobs {
    let mut jobs = Jobs::default();
    let (source, opened_at) = (String::new(), Some("2027-01-01T00:00:00.000Z".parse().unwrap()));
    tell(
        &mut jobs,
        JobEvent::Opened(Opened { job: job(), opening: None, model: model(), source, opened_at, settings: Settings::default() }),
    );
    jobs
}

fn sealed(total: u64) -> Jobs {
    let mut jobs = opened();
    tell(&mut jobs, JobEvent::Sealed(Sealed { job: job(), total, opening: None }));
    jobs
}

fn answer(jobs: &mut Jobs, index: u32) {
    let (outcome, cause) = (Outcome::Succeeded, String::new());
    let result = ResultHeaders {
        job: job(),
        index: Index(index),
        outcome,
        attempt: 1,
        round: 0,
        opening: None,
        cause,
        to_ledger_alone: false,
        duration: None,
    };
    jobs.apply(jobs.next_offset(), None, Record::Result(result));
}

/// A watch and its clock.
struct TestWatch {
    watch: Watch,
    now: Instant,
    /// Whether markers are read.
    reads: bool,
}

impl TestWatch {
    fn new() -> TestWatch {
        TestWatch { watch: Watch::default(), now: Instant::now(), reads: true }
    }

    /// Runs the watch for so many seconds. Each search finds what `found` says, and markers are read at once. Returns after how many seconds
    /// the job was found to be stalled.
    fn pass(&mut self, jobs: &Jobs, seconds: u32, mut found: impl FnMut() -> Found) -> Option<u32> {
        for second in 0..seconds {
            self.now += Duration::from_secs(1);
            let now = self.now;
            self.watch.observe(jobs, now);
            if !self.watch.conclude(now).is_empty() {
                return Some(second);
            }
            while let Some(SearchPlan { model, everywhere, marker, .. }) = self.watch.next_search(jobs, now) {
                let found = if everywhere { found() } else { Found::Unknown };
                // It may be read before the search ends.
                if self.reads && matches!(found, Found::Nothing { .. }) {
                    self.watch.note_marker(&marker);
                }
                let searched = Searched { model, began: now, everywhere, found, delays: BTreeSet::new() };
                self.watch.note_search(searched, now);
            }
        }
        None
    }
}

fn nothing(taken: u64) -> Found {
    Found::Nothing { taken: vec![taken] }
}

#[test]
fn a_job_of_which_nothing_is_found_twice_in_a_row_is_told_once_and_until_it_moves() {
    let (mut jobs, mut watched) = (sealed(9), TestWatch::new());
    answer(&mut jobs, 0);
    let told = watched.pass(&jobs, 60, || nothing(7));
    assert!(told.is_some_and(|second| (15..20).contains(&second)), "{told:?}");
    let stall = &watched.watch.found()[&job()];
    assert_eq!(stall.companies, 8);
    assert_eq!(watched.pass(&jobs, 300, || panic!("what is known is not looked for")), None);
    answer(&mut jobs, 1);
    watched.now += Duration::from_secs(1);
    assert_eq!(watched.watch.observe(&jobs, watched.now), [job()]);
    assert!(watched.watch.found().is_empty());
}

#[test]
fn a_model_is_quiet_without_a_new_outcome_while_companies_of_it_may_be_scored() {
    const QUIET: Duration = Duration::from_secs(5);
    let (mut jobs, mut watched) = (sealed(9), TestWatch::new());
    let quiet = |watched: &TestWatch, jobs: &Jobs| watched.watch.quiet_models(jobs, QUIET, watched.now);
    watched.pass(&jobs, 5, || Found::Something);
    assert!(quiet(&watched, &jobs).is_empty());
    watched.pass(&jobs, 1, || Found::Something);
    assert_eq!(quiet(&watched, &jobs).iter().map(|quiet| quiet.unfinished).collect::<Vec<_>>(), [9]);
    answer(&mut jobs, 0);
    watched.pass(&jobs, 1, || Found::Something);
    assert!(quiet(&watched, &jobs).is_empty());
    watched.pass(&jobs, 60, || nothing(7));
    assert!(!watched.watch.found().is_empty() && quiet(&watched, &jobs).is_empty());
}

#[test]
fn a_job_of_which_something_is_anywhere_or_not_all_can_be_seen_is_never_told() {
    for found in [Found::Something, Found::Unknown] {
        let (jobs, mut watched) = (sealed(9), TestWatch::new());
        let mut looks = 0;
        let told = watched.pass(&jobs, 3_600, || {
            looks += 1;
            found.clone()
        });
        assert_eq!(told, None);
        assert!((50..200).contains(&looks), "{looks} looks an hour");
    }
}

#[test]
fn consumers_that_take_something_between_two_looks_may_have_moved_what_was_not_found() {
    let (jobs, mut watched) = (sealed(9), TestWatch::new());
    let mut taken = 0;
    let told = watched.pass(&jobs, 600, || {
        taken += 1;
        nothing(taken)
    });
    assert_eq!(told, None);
}

#[test]
fn a_marker_that_is_not_read_back_proves_nothing() {
    let (jobs, mut watched) = (sealed(9), TestWatch::new());
    watched.reads = false;
    assert_eq!(watched.pass(&jobs, 600, || nothing(7)), None);
}

#[test]
fn only_companies_that_are_on_their_way_are_missed() {
    let mut unsealed = opened();
    tell(&mut unsealed, JobEvent::Enqueued(Enqueued { job: job(), position: 2, opening: None }));
    answer(&mut unsealed, 0);
    answer(&mut unsealed, 1);
    answer(&mut unsealed, 7);
    assert_eq!(TestWatch::new().pass(&unsealed, 60, || nothing(7)), None, "its producer has told of two");
    tell(&mut unsealed, JobEvent::Enqueued(Enqueued { job: job(), position: 5, opening: None }));
    let mut watched = TestWatch::new();
    assert!(watched.pass(&unsealed, 60, || nothing(7)).is_some());
    assert_eq!(watched.watch.found()[&job()].companies, 3);
    let mut paused = sealed(9);
    tell(&mut paused, JobEvent::Paused(Pause { job: job(), at: Some("2026-01-01T00:00:00Z".parse().unwrap()) }));
    assert_eq!(TestWatch::new().pass(&paused, 60, || nothing(7)), None);
}

proptest! {
    #[test]
    fn a_job_is_told_only_after_two_looks_that_found_nothing_and_with_no_outcome_since_before_them(
        steps in prop::collection::vec(0_u8..8, 0..40)
    ) {
        let (mut jobs, mut watched) = (sealed(1_000), TestWatch::new());
        let (mut index, mut in_a_row) = (0, 0);
        for step in steps {
            let mut looks = 0;
            if step == 0 {
                answer(&mut jobs, index);
                (index, in_a_row) = (index + 1, 0);
            }
            let told = watched.pass(&jobs, 5, || {
                looks += 1;
                if step < 3 { Found::Something } else { nothing(7) }
            });
            if looks > 0 && step < 3 {
                in_a_row = 0;
            }
            prop_assert!(told.is_none() || in_a_row + looks >= 2, "told after {in_a_row} and {looks} looks");
            in_a_row += if step < 3 { 0 } else { looks };
            if told.is_some() {
                break;
            }
        }
    }
}
