use proptest::prelude::*;
use rollcall_shared::message::{Cancelled, Index, Opened, Outcome, Sealed, State};

use super::*;

fn job() -> Job {
    "j".parse().unwrap()
}

fn opened() -> Record {
    let model = "m".parse().unwrap();
    Record::Event(JobEvent::Opened(Opened { job: job(), model, source: "f".into(), opened_at: "2026-01-01T00:00:00Z".into() }))
}

fn sealed(total: u64) -> Record {
    Record::Event(JobEvent::Sealed(Sealed { job: job(), total }))
}

fn result(index: u32, outcome: Outcome) -> Record {
    let cause = if outcome == Outcome::Failed { "timeout".to_owned() } else { String::new() };
    Record::Result(Counted { job: job(), index: Index(index), outcome, attempt: 1, cause })
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
    let cancelled = Record::Event(JobEvent::Cancelled(Cancelled { job: job(), reason: "bad row".into(), total: Some(5) }));
    let ledger = fold([opened(), result(0, Outcome::Succeeded), cancelled, result(1, Outcome::Succeeded)]);
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
        let mut shuffled: Vec<Record> = std::iter::repeat_n(once.clone(), copies).flatten().collect();
        let mut random = seed;
        for last in (1..shuffled.len()).rev() {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            shuffled.swap(last, (random >> 33) as usize % (last + 1));
        }
        let counts = |ledger: &Ledger| {
            let done = ledger.job(&job()).unwrap().done(&job(), String::new(), 1.0);
            (done.state, done.total, done.succeeded, done.failed, done.causes)
        };
        prop_assert_eq!(counts(&fold(once)), counts(&fold(shuffled)));
    }

    #[test]
    fn a_snapshot_taken_anywhere_changes_nothing(
        (outcomes, cut) in (proptest::collection::vec((0_u32..50, any_outcome()), 1..80), any::<prop::sample::Index>())
    ) {
        let records: Vec<Record> = [opened(), sealed(40)].into_iter()
            .chain(outcomes.into_iter().map(|(index, outcome)| result(index, outcome))).collect();
        let cut = cut.index(records.len());
        let mut ledger = fold(records[..cut].to_vec());
        let json = serde_json::to_vec(&Snapshot::from(&ledger)).unwrap();
        ledger = Ledger::try_from(serde_json::from_slice::<Snapshot>(&json).unwrap()).unwrap();
        for (offset, record) in (cut as u64..).zip(records[cut..].to_vec()) {
            ledger.apply(offset, record);
        }
        prop_assert_eq!(ledger, fold(records));
    }
}
