//! Records in any order, and any records.

use proptest::prelude::*;
use rollcall_shared::message::Done;

use super::*;

/// The cause for which a company failed; `None` if it succeeded.
type Score = Option<String>;

fn any_score() -> impl Strategy<Value = Score> {
    prop_oneof![3 => Just(None), 2 => "timeout|crash|invalid_evidence".prop_map(Some)]
}

fn scored(index: u32, round: u32, score: &Score) -> Record {
    let outcome = if score.is_some() { Failed } else { Succeeded };
    let cause = score.clone().unwrap_or_default();
    let (opening, to_ledger_alone) = (None, false);
    let (job, index, duration) = (job(), Index(index), None);
    Record::Result(ResultHeaders { job, index, outcome, attempt: 1, round, opening, cause, to_ledger_alone, duration })
}

/// An order of up to 200 records, for [`ordered`].
fn any_order() -> impl Strategy<Value = Vec<usize>> {
    Just((0..200).collect::<Vec<usize>>()).prop_shuffle()
}

fn ordered(records: &[Record], order: &[usize]) -> Vec<Record> {
    order.iter().filter_map(|&at| records.get(at)).cloned().collect()
}

fn may_become(before: State, after: State, is_redrive: bool) -> bool {
    match (before, after) {
        (before, after) if before == after => true,
        (before, after) if before.is_final() => is_redrive && after != State::Unsealed,
        (State::Running, State::Unsealed) => false,
        _ => true,
    }
}

fn other_job() -> Job {
    "k".parse().unwrap()
}

pub(super) fn of_job(job: &Job, mut record: Record) -> Record {
    match &mut record {
        Record::Result(result) => result.job = job.clone(),
        Record::Event(JobEvent::Opened(opened)) => opened.job = job.clone(),
        Record::Event(JobEvent::Sealed(sealed)) => sealed.job = job.clone(),
        Record::Event(JobEvent::Enqueued(enqueued)) => enqueued.job = job.clone(),
        Record::Event(JobEvent::Done(done)) => done.job = job.clone(),
        Record::Event(JobEvent::Cancelled(cancelled)) => cancelled.job = job.clone(),
        Record::Event(JobEvent::Expired(expired)) => expired.job = job.clone(),
        Record::Event(JobEvent::Paused(pause) | JobEvent::Resumed(pause)) => pause.job = job.clone(),
        Record::Event(JobEvent::Redriven(redriven)) => redriven.job = job.clone(),
        other => panic!("expected a record of a job, found {other:?}"),
    }
    record
}

fn any_outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![4 => Just(Outcome::Succeeded), 1 => Just(Outcome::Failed)]
}

proptest! {
    #[test]
    fn any_order_and_any_duplication_of_records_counts_the_same(
        (outcomes, copies, order) in (proptest::collection::vec(any_outcome(), 1..60), 1_usize..4, any_order())
    ) {
        let total = outcomes.len() as u64;
        let once: Vec<Record> = (0..).zip(&outcomes).map(|(index, &outcome)| result(index, outcome))
            .chain([opened(), sealed(total)]).collect();
        let shuffled = ordered(&vec![once.clone(); copies].concat(), &order);
        let counts = |jobs: &Jobs| {
            let done = jobs.get(&job()).unwrap().done(&job(), ended_at(), Some(1.0));
            (done.state, done.total, done.succeeded, done.failed, done.causes)
        };
        prop_assert_eq!(counts(&fold(once)), counts(&fold(shuffled)));
    }

    #[test]
    fn any_order_of_each_round_with_late_copies_of_earlier_rounds_between_counts_the_same(
        (scores, again, orders) in
            (prop::collection::vec(any_score(), 1..30), prop::collection::vec(any_score(), 30), [any_order(), any_order()])
    ) {
        let total = scores.len() as u64;
        let first: Vec<Record> = (0..).zip(&scores).map(|(index, score)| scored(index, 0, score)).collect();
        let failed: Vec<(u32, &Score)> = (0..).zip(&scores).filter(|(_, score)| score.is_some()).collect();
        let second: Vec<Record> = failed.iter().map(|&(index, _)| scored(index, 1, &again[index as usize])).collect();
        let indices = Indices(failed.iter().map(|&(index, _)| index).collect()).to_string();
        let redrive = (!failed.is_empty()).then(|| redriven_of(Some(total), 1, "a", &indices));
        let said = [opened()].into_iter()
            .chain(ordered(&[first.clone(), vec![sealed(total)], first.clone()].concat(), &orders[0]))
            .chain(redrive)
            .chain(ordered(&[second.clone(), first, second].concat(), &orders[1]));
        let jobs = live(said);
        let last = |index: usize| if scores[index].is_some() { &again[index] } else { &None };
        let causes: Vec<String> = (0..scores.len()).filter_map(|index| last(index).clone()).collect();
        let failures = causes.len() as u64;
        prop_assert_eq!(&counts(&jobs)[..4], &[total, total - failures, failures, 0]);
        let status = jobs.get(&job()).unwrap().status(&job(), None, 0);
        prop_assert_eq!(status.state, if failures == 0 { State::Succeeded } else { State::Failed });
        for counted in status.causes {
            prop_assert_eq!(counted.count, causes.iter().filter(|&cause| *cause == counted.cause).count() as u64);
        }
    }

    #[test]
    fn jobs_that_come_between_one_another_count_as_each_would_alone(
        said in prop::collection::vec((any_record(), any::<bool>()), 1..100)
    ) {
        let mut jobs = Jobs::default();
        for (record, of_the_other) in &said {
            take(&mut jobs, if *of_the_other { of_job(&other_job(), record.clone()) } else { record.clone() });
        }
        for (name, other) in [(job(), false), (other_job(), true)] {
            let own = said.iter().filter(|(_, of_the_other)| *of_the_other == other);
            let alone = fold(own.map(|(record, _)| record.clone()));
            let status = |jobs: &Jobs, job: &Job| jobs.get(job).map(|state| (state.state(), state.progress(&self::job(), 0.0)));
            prop_assert_eq!(status(&jobs, &name), status(&alone, &job()));
        }
    }

    #[test]
    fn a_job_that_has_ended_stays_so_until_it_is_redriven_and_one_that_is_sealed_stays_sealed(
        said in prop::collection::vec(any_record(), 1..200)
    ) {
        let mut jobs = fold([opened()]);
        let mut before = State::Unsealed;
        for record in said {
            let is_redrive = matches!(record, Record::Event(JobEvent::Redriven(_)));
            take(&mut jobs, record);
            let after = state(&jobs);
            prop_assert!(may_become(before, after, is_redrive), "{before} became {after}");
            if jobs.get(&job()).is_some_and(JobState::is_due) {
                let done = done(&jobs);
                prop_assert_eq!(take(&mut jobs, done), Applied::To(job()));
                prop_assert_eq!(state(&jobs), after, "the done event says what was so before");
            }
            before = after;
        }
    }

    #[test]
    fn a_snapshot_taken_anywhere_changes_nothing(
        (outcomes, cut) in (proptest::collection::vec((0_u32..50, any_outcome()), 1..80), any::<prop::sample::Index>())
    ) {
        let records: Vec<Record> = [opened(), sealed(40)].into_iter()
            .chain(outcomes.into_iter().map(|(index, outcome)| result(index, outcome))).collect();
        let cut = cut.index(records.len());
        let mut jobs = fold(records[..cut].to_vec());
        jobs.optimize();
        jobs = Jobs::from_checkpoint(&jobs.to_checkpoint().unwrap()).unwrap();
        for record in records[cut..].iter().cloned() {
            take(&mut jobs, record);
        }
        prop_assert_eq!(jobs, fold(records));
    }

    #[test]
    fn whatever_the_ledger_says_no_company_is_counted_twice_and_each_round_ends_once(
        said in proptest::collection::vec(any_record(), 1..200)
    ) {
        let mut jobs = Jobs::default();
        let mut ended = std::collections::BTreeSet::new();
        for record in said {
            take(&mut jobs, record);
            let Some(state) = jobs.get(&job()) else { continue };
            let status = state.status(&job(), None, 0);
            prop_assert!(status.succeeded + status.failed + status.cancelled <= status.total.unwrap_or(u64::MAX));
            prop_assert_eq!(status.failed, status.causes.iter().map(|cause| cause.count).sum::<u64>());
            if status.done_at.is_none() {
                let counted = state.companies(&CompanySet::Counted).unwrap().0.len();
                prop_assert_eq!(status.succeeded + status.failed, counted);
            }
            if state.is_due() {
                prop_assert!(ended.insert(status.redrives), "round {} ended twice", status.redrives);
                let done = done(&jobs);
                prop_assert_eq!(take(&mut jobs, done), Applied::To(job()));
                prop_assert!(!jobs.get(&job()).unwrap().is_due());
            }
            let kept = Jobs::from_checkpoint(&jobs.to_checkpoint().unwrap()).unwrap();
            prop_assert_eq!(&kept, &jobs);
        }
    }

    #[test]
    fn whatever_the_ledger_says_a_job_ends_once_every_company_of_it_has_an_outcome_in_its_latest_round(
        said in proptest::collection::vec(any_record(), 1..100)
    ) {
        let mut jobs = live([opened()].into_iter().chain(said));
        let outcomes = (0..4).flat_map(|round| (0..6).map(move |index| in_round(round, result(index, Succeeded))));
        for record in [sealed(4)].into_iter().chain(outcomes) {
            take(&mut jobs, record);
        }
        let status = jobs.get(&job()).unwrap().status(&job(), None, 0);
        prop_assume!(status.sealed.is_some_and(|total| total <= 6));
        prop_assert!(status.state.is_final(), "{status:?}");
    }
}

/// Any record about a job: by its producer, its consumers, a person, an aggregator, or an impostor.
pub(super) fn any_record() -> impl Strategy<Value = Record> {
    let index = prop_oneof![20 => 0_u32..6, 1 => Just(u32::MAX)];
    let outcome = (0_u32..3, index, any_outcome()).prop_map(|(round, index, outcome)| in_round(round, result(index, outcome)));
    let redrive = (1_u32..4, 0_u32..16, prop_oneof![Just(None), Just(Some(4))]).prop_map(|(round, bits, total)| {
        let indices: Vec<String> = (0..4).filter(|bit| bits >> bit & 1 == 1).map(|bit: u32| bit.to_string()).collect();
        redriven_of(total, round, "somebody", &indices.join(","))
    });
    let pause = || Pause { job: job(), at: Some("2026-01-01T00:00:00Z".parse().unwrap()) };
    let opened_fast = opened_with(Settings { fail_fast: true, tolerate_failures: "2".parse().unwrap(), ..Settings::default() });
    let until = Settings { deadline_at: Some("2026-01-01T00:00:30Z".parse().unwrap()), ..Settings::default() };
    prop_oneof![
        20 => outcome,
        3 => redrive,
        1 => prop_oneof![4 => Just(4), 1 => any::<u64>()].prop_map(sealed),
        1 => prop_oneof![4 => 0_u64..5, 1 => any::<u64>()].prop_map(enqueued),
        1 => prop_oneof![Just(opened()), Just(opened_fast), Just(opened_with(until))],
        1 => prop_oneof![Just(None), Just(Some(3)), Just(Some(u64::MAX))].prop_map(cancelled),
        1 => Just(expired()),
        1 => Just(Record::Event(JobEvent::Paused(pause()))),
        1 => Just(Record::Event(JobEvent::Resumed(pause()))),
        1 => (0_u32..3, 0_u64..6, 0_u64..6).prop_map(|(redrives, total, succeeded)| made_up_done(redrives, total, succeeded)),
    ]
}

fn made_up_done(redrives: u32, total: u64, succeeded: u64) -> Record {
    let other = live([opened(), sealed(0)]);
    let done = other.get(&job()).unwrap().done(&job(), ended_at(), None);
    Record::Event(JobEvent::Done(Done { redrives, total, succeeded, ..done }))
}
