use proptest::prelude::*;
use rollcall_shared::message::{
    Cancelled, Expired, Index, Indices, Opened, Outcome, Pause, Redriven, Sealed, Settings, State, Which,
};

use super::*;

fn job() -> Job {
    "j".parse().unwrap()
}

fn opened() -> Record {
    opened_with(Settings::default())
}

fn opened_with(settings: Settings) -> Record {
    let (model, opened_at) = ("m".parse().unwrap(), "2026-01-01T00:00:00Z".into());
    Record::Event(JobEvent::Opened(Opened { job: job(), model, source: "f".into(), opened_at, settings }))
}

fn sealed(total: u64) -> Record {
    Record::Event(JobEvent::Sealed(Sealed { job: job(), total }))
}

fn result(index: u32, outcome: Outcome) -> Record {
    let cause = if outcome == Outcome::Failed { "timeout".to_owned() } else { String::new() };
    Record::Result(Counted { job: job(), index: Index(index), outcome, attempt: 1, round: 0, cause })
}

fn in_round(round: u32, record: Record) -> Record {
    match record {
        Record::Result(result) => Record::Result(Counted { round, ..result }),
        other => other,
    }
}

fn cancelled(total: Option<u64>) -> Record {
    Record::Event(JobEvent::Cancelled(Cancelled { job: job(), reason: "bad row".into(), total }))
}

fn redriven(round: u32, by: &str, indices: &str) -> Record {
    redriven_of(Some(4), round, by, indices)
}

/// A redrive by somebody who cannot tell how many companies there are.
fn redriven_without_file(round: u32, by: &str, indices: &str) -> Record {
    redriven_of(None, round, by, indices)
}

fn redriven_of(total: Option<u64>, round: u32, by: &str, indices: &str) -> Record {
    let indices: Indices = indices.parse().unwrap();
    let companies = indices.0.len();
    Record::Event(JobEvent::Redriven(Redriven {
        job: job(),
        round,
        by: by.into(),
        indices,
        companies,
        total,
        redriven_at: "2026-01-02T00:00:00Z".into(),
    }))
}

/// What the aggregator would say of the job now, if it is due.
fn done(ledger: &Ledger) -> Record {
    let count = ledger.job(&job()).unwrap();
    assert!(count.is_due(), "{:?}", count.state());
    Record::Event(JobEvent::Done(count.done(&job(), "2026-01-01T00:01:00Z".into(), 1.0)))
}

/// Applies records, and after each what the aggregator says to it.
fn live(records: impl IntoIterator<Item = Record>) -> Ledger {
    let mut ledger = Ledger::default();
    for record in records {
        ledger.apply(ledger.next_offset(), record);
        if ledger.job(&job()).is_some_and(JobCount::is_due) {
            let done = done(&ledger);
            ledger.apply(ledger.next_offset(), done);
        }
    }
    ledger
}

/// Total, succeeded, failed, cancelled, duplicates.
fn counts(ledger: &Ledger) -> [u64; 5] {
    let status = ledger.job(&job()).unwrap().status(&job(), None, 0);
    [status.total.unwrap_or_default(), status.succeeded, status.failed, status.cancelled, status.duplicates]
}

fn fold(records: impl IntoIterator<Item = Record>) -> Ledger {
    let mut ledger = Ledger::default();
    for (offset, record) in (0..).zip(records) {
        ledger.apply(offset, record);
    }
    ledger
}

fn state(ledger: &Ledger) -> State {
    ledger.job(&job()).unwrap().state()
}

#[test]
fn a_job_is_due_when_it_is_sealed_and_every_company_has_an_outcome() {
    let mut records = vec![opened(), result(0, Outcome::Succeeded), result(1, Outcome::Succeeded)];
    assert_eq!(state(&fold(records.clone())), State::Unsealed);
    records.push(sealed(3));
    assert_eq!(state(&fold(records.clone())), State::Running);
    records.push(result(2, Outcome::Succeeded));
    let ledger = fold(records.clone());
    assert!(ledger.job(&job()).unwrap().is_due());
    let done = ledger.job(&job()).unwrap().done(&job(), String::new(), 1.0);
    records.push(Record::Event(JobEvent::Done(done)));
    let ledger = fold(records);
    assert_eq!(state(&ledger), State::Succeeded);
    assert!(!ledger.job(&job()).unwrap().is_due(), "the ledger says so already");
}

#[test]
fn one_failed_company_fails_the_job_and_is_counted_by_its_cause() {
    let ledger = fold([opened(), sealed(2), result(0, Outcome::Failed), result(1, Outcome::Succeeded)]);
    let done = ledger.job(&job()).unwrap().done(&job(), String::new(), 2.0);
    assert_eq!((done.state, done.total, done.succeeded, done.failed), (State::Failed, 2, 1, 1));
    assert_eq!((done.causes[0].cause.as_str(), done.causes[0].count), ("timeout", 1));
}

#[test]
fn the_first_outcome_of_a_company_wins_and_a_later_one_is_a_duplicate() {
    let ledger = fold([opened(), sealed(1), result(0, Outcome::Succeeded), result(0, Outcome::Failed)]);
    let done = ledger.job(&job()).unwrap().done(&job(), String::new(), 1.0);
    assert_eq!((done.state, done.succeeded, done.failed, done.duplicates), (State::Succeeded, 1, 0, 1));
}

#[test]
fn outcomes_after_a_cancellation_are_ignored_and_the_rest_counts_as_cancelled() {
    let ledger = fold([opened(), result(0, Outcome::Succeeded), cancelled(Some(5)), result(1, Outcome::Succeeded)]);
    let done = ledger.job(&job()).unwrap().done(&job(), String::new(), 1.0);
    assert_eq!((done.state, done.total, done.succeeded, done.cancelled), (State::Cancelled, 5, 1, 4));
    assert_eq!(done.reason.as_deref(), Some("bad row"));
}

#[test]
fn an_index_that_the_job_does_not_have_never_completes_it() {
    let ledger =
        fold([opened(), result(9, Outcome::Failed), sealed(2), result(0, Outcome::Succeeded), result(2, Outcome::Succeeded)]);
    assert_eq!(state(&ledger), State::Running);
}

#[test]
fn a_record_read_again_changes_nothing() {
    let mut ledger = fold([opened(), sealed(2), result(0, Outcome::Succeeded)]);
    let before = ledger.clone();
    assert_eq!(ledger.apply(2, result(0, Outcome::Succeeded)), None);
    assert_eq!(ledger, before);
}

use Outcome::{Failed, Succeeded};

#[test]
fn failures_are_tolerated_up_to_a_number_or_a_part_of_the_total() {
    for (tolerated, expected) in
        [("0", State::Failed), ("1", State::Succeeded), ("25%", State::Succeeded), ("24%", State::Failed)]
    {
        let settings = Settings { tolerate_failures: tolerated.parse().unwrap(), ..Settings::default() };
        let outcomes = [result(0, Failed), result(1, Succeeded), result(2, Succeeded), result(3, Succeeded)];
        let ledger = live([opened_with(settings), sealed(4)].into_iter().chain(outcomes));
        assert_eq!((state(&ledger), counts(&ledger)), (expected, [4, 3, 1, 0, 0]), "{tolerated}");
    }
}

#[test]
fn a_job_that_fails_fast_ends_with_the_failure_that_is_one_too_many() {
    let settings = Settings { tolerate_failures: "1".parse().unwrap(), fail_fast: true, ..Settings::default() };
    let first = [opened_with(settings.clone()), sealed(4), result(0, Failed), result(1, Succeeded)];
    assert_eq!(state(&live(first.clone())), State::Running);
    let ledger = live(first.into_iter().chain([result(2, Failed), result(3, Failed)]));
    assert_eq!((state(&ledger), counts(&ledger)), (State::Failed, [4, 1, 2, 1, 0]));
    assert_eq!(ledger.job(&job()).unwrap().dropped_round(), Some(0));
    let part = Settings { tolerate_failures: "50%".parse().unwrap(), ..settings };
    let unsealed = [opened_with(part), result(0, Failed), result(1, Failed), result(2, Failed)];
    assert_eq!(state(&live(unsealed.clone())), State::Unsealed, "a part of a total that is not known");
    assert_eq!(state(&live(unsealed.into_iter().chain([sealed(4)]))), State::Failed);
}

#[test]
fn a_job_that_expires_leaves_the_rest_cancelled() {
    let expired = Record::Event(JobEvent::Expired(Expired { job: job(), deadline_at: "2026-01-01T00:00:30Z".into() }));
    let ledger = live([opened(), sealed(4), result(0, Succeeded), expired, result(1, Succeeded)]);
    assert_eq!((state(&ledger), counts(&ledger)), (State::Expired, [4, 1, 0, 3, 0]));
}

#[test]
fn a_paused_job_goes_on_counting_what_was_being_scored() {
    let pause = || Pause { job: job(), at: String::new() };
    let paused = Record::Event(JobEvent::Paused(pause()));
    let records = [opened(), sealed(2), paused, result(0, Succeeded)];
    let ledger = live(records.clone());
    assert_eq!((state(&ledger), counts(&ledger)[1]), (State::Paused, 1));
    assert_eq!(state(&live(records.clone().into_iter().chain([Record::Event(JobEvent::Resumed(pause()))]))), State::Running);
    assert_eq!(state(&live(records.into_iter().chain([result(1, Succeeded)]))), State::Succeeded, "it has no more to wait for");
}

#[test]
fn the_newest_round_counts_and_each_round_ends_with_a_done_event_of_its_own() {
    let first = [opened(), sealed(4), result(0, Succeeded), result(1, Failed), result(2, Failed), result(3, Succeeded)];
    let again = first.clone().into_iter().chain([redriven(1, "a", "1-2")]);
    let ledger = live(again.clone());
    assert_eq!((state(&ledger), counts(&ledger)), (State::Running, [4, 2, 0, 0, 0]), "what is redriven no longer counts");
    let late = in_round(0, result(1, Succeeded));
    let ledger = live(again.clone().chain([late, in_round(1, result(1, Succeeded))]));
    assert_eq!((state(&ledger), counts(&ledger)), (State::Running, [4, 3, 0, 0, 1]), "a late result of an earlier round");
    let ledger = live(again.chain([in_round(1, result(1, Succeeded)), in_round(1, result(2, Failed))]));
    assert_eq!((state(&ledger), counts(&ledger)), (State::Failed, [4, 3, 1, 0, 0]));
    assert_eq!(ledger.job(&job()).unwrap().status(&job(), None, 0).redrives, 1);
}

#[test]
fn of_two_who_redrive_at_the_same_time_the_first_does() {
    let records = [opened(), sealed(1), result(0, Failed), redriven(1, "first", "0"), redriven(1, "second", "0")];
    let status = live(records).job(&job()).unwrap().status(&job(), None, 0);
    assert_eq!(status.redriven_by.as_deref(), Some("first"));
}

#[test]
fn a_job_that_was_cut_short_is_whole_once_all_that_was_missing_is_redriven_and_not_before() {
    let first = [opened(), sealed(4), result(0, Succeeded), result(1, Failed), cancelled(None)];
    let part = first.clone().into_iter().chain([redriven(1, "a", "1"), in_round(1, result(1, Succeeded))]);
    assert_eq!((state(&live(part.clone())), counts(&live(part.clone()))), (State::Cancelled, [4, 2, 0, 2, 0]));
    let all = part.chain([redriven(2, "a", "2-3"), in_round(2, result(2, Succeeded)), in_round(2, result(3, Succeeded))]);
    assert_eq!((state(&live(all.clone())), counts(&live(all))), (State::Succeeded, [4, 4, 0, 0, 0]));
}

#[test]
fn a_job_that_was_cut_short_before_it_was_sealed_has_the_companies_that_its_file_has() {
    let cut = [opened(), result(0, Succeeded), result(1, Failed), cancelled(Some(2))];
    let part = cut.clone().into_iter().chain([redriven_without_file(1, "a", "1"), in_round(1, result(1, Succeeded))]);
    assert_eq!(state(&live(part.clone())), State::Cancelled, "who knows what else there is");
    let file = part.chain([redriven(2, "a", "2-3"), in_round(2, result(2, Succeeded)), in_round(2, result(3, Succeeded))]);
    assert_eq!((state(&live(file.clone())), counts(&live(file))), (State::Succeeded, [4, 4, 0, 0, 0]));
    let sealed_late = cut.into_iter().chain([sealed(3)]);
    let job_status = live(sealed_late).job(&job()).unwrap().status(&job(), None, 0);
    assert_eq!((job_status.state, job_status.total, job_status.sealed), (State::Cancelled, Some(2), Some(3)));
}

#[test]
fn an_outcome_beyond_what_the_producer_told_of_is_kept_when_others_are_redriven() {
    let cut = [opened(), result(5, Succeeded), result(1, Failed), cancelled(Some(2))];
    let ledger = live(cut.into_iter().chain([redriven_without_file(1, "a", "1"), in_round(1, result(1, Succeeded))]));
    assert_eq!((state(&ledger), counts(&ledger)), (State::Cancelled, [6, 2, 0, 4, 0]));
}

#[test]
fn a_redriven_job_can_be_cancelled_too() {
    let ledger = live([opened(), sealed(1), result(0, Failed), redriven(1, "a", "0"), cancelled(None)]);
    assert_eq!((state(&ledger), counts(&ledger)), (State::Cancelled, [1, 0, 0, 1, 0]));
    assert_eq!(ledger.job(&job()).unwrap().dropped_round(), Some(1));
}

#[test]
fn what_companies_came_to_can_be_asked_for_after_the_end() {
    let ledger = live([opened(), sealed(4), result(0, Succeeded), result(1, Failed), result(3, Failed), cancelled(None)]);
    let count = ledger.job(&job()).unwrap();
    let indices = |which: Which| count.companies(&which).unwrap().to_string();
    assert_eq!([indices(Which::Counted), indices(Which::Failed)], ["0-1,3", "1,3"]);
    assert_eq!([indices(Which::Cause("timeout".into())), indices(Which::Cause("other".into()))], ["1,3", ""]);
}

#[test]
fn indices_that_the_job_does_not_have_are_not_waited_for_when_it_is_redriven() {
    let first = [opened(), sealed(4), result(0, Failed), result(1, Succeeded), result(2, Succeeded), result(3, Succeeded)];
    let ledger = live(first.into_iter().chain([redriven(1, "a", "0,4-9"), in_round(1, result(0, Succeeded))]));
    assert_eq!((state(&ledger), counts(&ledger)), (State::Succeeded, [4, 4, 0, 0, 0]));
}

#[test]
fn the_rate_of_a_job_that_was_redriven_is_known_after_its_companies_are_forgotten() {
    let mut ledger = live([opened(), sealed(1), result(0, Failed), redriven(1, "a", "0"), in_round(1, result(0, Succeeded))]);
    ledger.jobs.values_mut().for_each(JobCount::forget);
    assert_eq!(ledger.job(&job()).unwrap().status(&job(), None, 0).companies_per_second, Some(1.0));
}

#[test]
fn a_snapshot_whose_counts_do_not_add_up_is_refused() {
    let snapshot = String::from_utf8(fold([opened(), result(0, Failed)]).to_snapshot().unwrap()).unwrap();
    let bad = snapshot.replace(r#""failures":1"#, r#""failures":2"#);
    assert!(Ledger::from_snapshot(snapshot.as_bytes()).is_ok());
    let refused = Ledger::from_snapshot(bad.as_bytes()).unwrap_err().to_string();
    assert!(refused.contains("job j"), "{refused}");
}

/// The cause for which a company failed; nothing where it has a prediction.
type Score = Option<String>;

fn any_score() -> impl Strategy<Value = Score> {
    prop_oneof![3 => Just(None), 2 => "timeout|crash|invalid_evidence".prop_map(Some)]
}

fn scored(index: u32, round: u32, score: &Score) -> Record {
    let outcome = if score.is_some() { Failed } else { Succeeded };
    let cause = score.clone().unwrap_or_default();
    Record::Result(Counted { job: job(), index: Index(index), outcome, attempt: 1, round, cause })
}

fn shuffled(mut records: Vec<Record>, mut random: u64) -> Vec<Record> {
    for last in (1..records.len()).rev() {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        records.swap(last, (random >> 33) as usize % (last + 1));
    }
    records
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

fn of_job(job: &Job, mut record: Record) -> Record {
    match &mut record {
        Record::Result(result) => result.job = job.clone(),
        Record::Event(JobEvent::Opened(opened)) => opened.job = job.clone(),
        Record::Event(JobEvent::Sealed(sealed)) => sealed.job = job.clone(),
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
        (outcomes, copies, seed) in (proptest::collection::vec(any_outcome(), 1..60), 1_usize..4, any::<u64>())
    ) {
        let total = outcomes.len() as u64;
        let once: Vec<Record> = (0..).zip(&outcomes).map(|(index, &outcome)| result(index, outcome))
            .chain([opened(), sealed(total)]).collect();
        let shuffled = shuffled(std::iter::repeat_n(once.clone(), copies).flatten().collect(), seed);
        let counts = |ledger: &Ledger| {
            let done = ledger.job(&job()).unwrap().done(&job(), String::new(), 1.0);
            (done.state, done.total, done.succeeded, done.failed, done.causes)
        };
        prop_assert_eq!(counts(&fold(once)), counts(&fold(shuffled)));
    }

    #[test]
    fn any_order_of_each_round_with_late_copies_of_earlier_rounds_between_counts_the_same(
        (scores, again, shuffles) in (prop::collection::vec(any_score(), 1..30), prop::collection::vec(any_score(), 30), any::<[u64; 2]>())
    ) {
        let total = scores.len() as u64;
        let first: Vec<Record> = (0..).zip(&scores).map(|(index, score)| scored(index, 0, score)).collect();
        let failed: Vec<(u32, &Score)> = (0..).zip(&scores).filter(|(_, score)| score.is_some()).collect();
        let second: Vec<Record> = failed.iter().map(|&(index, _)| scored(index, 1, &again[index as usize])).collect();
        let indices = Indices(failed.iter().map(|&(index, _)| index).collect()).to_string();
        let redrive = (!failed.is_empty()).then(|| redriven_of(Some(total), 1, "a", &indices));
        let said = [opened()].into_iter()
            .chain(shuffled([first.clone(), vec![sealed(total)], first.clone()].concat(), shuffles[0]))
            .chain(redrive)
            .chain(shuffled([second.clone(), first, second].concat(), shuffles[1]));
        let ledger = live(said);
        let last = |index: usize| if scores[index].is_some() { &again[index] } else { &None };
        let causes: Vec<String> = (0..scores.len()).filter_map(|index| last(index).clone()).collect();
        let failures = causes.len() as u64;
        prop_assert_eq!(&counts(&ledger)[..4], &[total, total - failures, failures, 0]);
        let status = ledger.job(&job()).unwrap().status(&job(), None, 0);
        prop_assert_eq!(status.state, if failures == 0 { State::Succeeded } else { State::Failed });
        for counted in status.causes {
            prop_assert_eq!(counted.count, causes.iter().filter(|&cause| *cause == counted.cause).count() as u64);
        }
    }

    #[test]
    fn jobs_that_come_between_one_another_count_as_each_would_alone(
        said in prop::collection::vec((any_record(), any::<bool>()), 1..100)
    ) {
        let mut ledger = Ledger::default();
        for (record, of_the_other) in &said {
            ledger.apply(ledger.next_offset(), if *of_the_other { of_job(&other_job(), record.clone()) } else { record.clone() });
        }
        for (name, other) in [(job(), false), (other_job(), true)] {
            let own = said.iter().filter(|(_, of_the_other)| *of_the_other == other);
            let alone = fold(own.map(|(record, _)| record.clone()));
            let status = |ledger: &Ledger, job: &Job| ledger.job(job).map(|count| (count.state(), count.progress(&self::job(), 0.0)));
            prop_assert_eq!(status(&ledger, &name), status(&alone, &job()));
        }
    }

    #[test]
    fn a_job_that_has_ended_stays_so_until_it_is_redriven_and_one_that_is_sealed_stays_sealed(
        said in prop::collection::vec(any_record(), 1..200)
    ) {
        let mut ledger = Ledger::default();
        let mut before = State::Unsealed;
        for record in said {
            let is_redrive = matches!(record, Record::Event(JobEvent::Redriven(_)));
            ledger.apply(ledger.next_offset(), record);
            let after = state(&ledger);
            prop_assert!(may_become(before, after, is_redrive), "{before} became {after}");
            if ledger.job(&job()).unwrap().is_due() {
                let done = done(&ledger);
                ledger.apply(ledger.next_offset(), done);
                prop_assert_eq!(state(&ledger), after, "the done event says what was so before");
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
        let mut ledger = fold(records[..cut].to_vec());
        ledger = Ledger::from_snapshot(&ledger.to_snapshot().unwrap()).unwrap();
        for (offset, record) in (cut as u64..).zip(records[cut..].to_vec()) {
            ledger.apply(offset, record);
        }
        prop_assert_eq!(ledger, fold(records));
    }

    #[test]
    fn whatever_the_ledger_says_no_company_is_counted_twice_and_each_round_ends_once(
        said in proptest::collection::vec(any_record(), 1..200)
    ) {
        let mut ledger = Ledger::default();
        let mut ended = std::collections::BTreeSet::new();
        for record in said {
            ledger.apply(ledger.next_offset(), record);
            let Some(count) = ledger.job(&job()) else { continue };
            let status = count.status(&job(), None, 0);
            prop_assert!(status.succeeded + status.failed + status.cancelled <= status.total.unwrap_or(u64::MAX));
            prop_assert_eq!(status.failed, status.causes.iter().map(|cause| cause.count).sum::<u64>());
            if status.done_at.is_none() {
                let counted = count.companies(&Which::Counted).unwrap().0.len();
                prop_assert_eq!(status.succeeded + status.failed, counted);
            }
            if count.is_due() {
                prop_assert!(ended.insert(status.redrives), "round {} ended twice", status.redrives);
                let done = done(&ledger);
                ledger.apply(ledger.next_offset(), done);
                prop_assert!(!ledger.job(&job()).unwrap().is_due());
            }
            let kept = Ledger::from_snapshot(&ledger.to_snapshot().unwrap()).unwrap();
            prop_assert_eq!(&kept, &ledger);
        }
    }
}

fn any_record() -> impl Strategy<Value = Record> {
    let outcome = (0_u32..3, 0_u32..6, any_outcome()).prop_map(|(round, index, outcome)| in_round(round, result(index, outcome)));
    let redrive = (1_u32..4, 0_u32..16).prop_map(|(round, bits)| {
        let indices: Vec<String> = (0..4).filter(|bit| bits >> bit & 1 == 1).map(|bit: u32| bit.to_string()).collect();
        redriven(round, "somebody", &indices.join(","))
    });
    let pause = || Pause { job: job(), at: String::new() };
    let opened_fast = opened_with(Settings { fail_fast: true, tolerate_failures: "2".parse().unwrap(), ..Settings::default() });
    prop_oneof![
        20 => outcome,
        3 => redrive,
        1 => Just(sealed(4)),
        1 => prop_oneof![Just(opened()), Just(opened_fast)],
        1 => prop_oneof![Just(None), Just(Some(3))].prop_map(cancelled),
        1 => Just(Record::Event(JobEvent::Expired(Expired { job: job(), deadline_at: String::new() }))),
        1 => Just(Record::Event(JobEvent::Paused(pause()))),
        1 => Just(Record::Event(JobEvent::Resumed(pause()))),
    ]
}

#[test]
fn of_a_job_that_is_no_longer_known_consumers_are_to_forget_what_they_were_told() {
    let mut ledger = Ledger::default();
    for number in 0..=1_000 {
        let job: Job = format!("j{number:04}").parse().unwrap();
        let reason = "a person cancelled it".to_owned();
        ledger
            .apply(ledger.next_offset(), Record::Event(JobEvent::Cancelled(Cancelled { job: job.clone(), reason, total: None })));
        assert_eq!(ledger.take_forgotten(), []);
        let done = ledger.job(&job).unwrap().done(&job, format!("2026-01-01T00:00:00.{number:04}Z"), 1.0);
        ledger.apply(ledger.next_offset(), Record::Event(JobEvent::Done(done)));
    }
    assert_eq!(ledger.take_forgotten().iter().map(ToString::to_string).collect::<Vec<_>>(), ["j0000"]);
    assert_eq!(ledger.take_forgotten(), []);
}
