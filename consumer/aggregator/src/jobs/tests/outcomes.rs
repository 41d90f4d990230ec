//! How outcomes are counted.

use super::*;

#[test]
fn a_job_is_due_when_it_is_sealed_and_every_company_has_an_outcome() {
    let mut records = vec![opened(), result(0, Outcome::Succeeded), result(1, Outcome::Succeeded)];
    assert_eq!(state(&fold(records.clone())), State::Unsealed);
    records.push(sealed(3));
    assert_eq!(state(&fold(records.clone())), State::Running);
    records.push(result(2, Outcome::Succeeded));
    let jobs = fold(records.clone());
    assert!(jobs.get(&job()).unwrap().is_due());
    let done = jobs.get(&job()).unwrap().done(&job(), ended_at(), Some(1.0));
    records.push(Record::Event(JobEvent::Done(done)));
    let jobs = fold(records);
    assert_eq!(state(&jobs), State::Succeeded);
    assert!(!jobs.get(&job()).unwrap().is_due(), "the ledger says so already");
}

#[test]
fn one_failed_company_fails_the_job_and_is_counted_by_its_cause() {
    let jobs = fold([opened(), sealed(2), result(0, Outcome::Failed), result(1, Outcome::Succeeded)]);
    let done = jobs.get(&job()).unwrap().done(&job(), ended_at(), Some(2.0));
    assert_eq!((done.state, done.total, done.succeeded, done.failed), (State::Failed, 2, 1, 1));
    assert_eq!((done.causes[0].cause.as_str(), done.causes[0].count), ("timeout", 1));
}

#[test]
fn the_first_outcome_of_a_company_wins_and_a_later_one_is_a_duplicate() {
    let jobs = fold([opened(), sealed(1), result(0, Outcome::Succeeded), result(0, Outcome::Failed)]);
    let done = jobs.get(&job()).unwrap().done(&job(), ended_at(), Some(1.0));
    assert_eq!((done.state, done.succeeded, done.failed, done.duplicates), (State::Succeeded, 1, 0, 1));
}

#[test]
fn outcomes_after_a_cancellation_are_ignored_and_the_rest_counts_as_cancelled() {
    let jobs = fold([opened(), result(0, Outcome::Succeeded), cancelled(Some(5)), result(1, Outcome::Succeeded)]);
    let done = jobs.get(&job()).unwrap().done(&job(), ended_at(), Some(1.0));
    assert_eq!((done.state, done.total, done.succeeded, done.cancelled), (State::Cancelled, 5, 1, 4));
    assert_eq!(done.reason.as_deref(), Some("bad row"));
}

#[test]
fn an_index_that_the_job_does_not_have_never_completes_it() {
    let jobs =
        fold([opened(), result(9, Outcome::Failed), sealed(2), result(0, Outcome::Succeeded), result(2, Outcome::Succeeded)]);
    assert_eq!(state(&jobs), State::Running);
}

#[test]
fn a_record_read_again_changes_nothing() {
    let mut jobs = fold([opened(), sealed(2), result(0, Outcome::Succeeded)]);
    let before = jobs.clone();
    assert_eq!(jobs.apply(2, None, result(0, Outcome::Succeeded)), Applied::Nothing);
    assert_eq!(jobs, before);
}

#[test]
fn what_companies_came_to_can_be_asked_for_after_the_end() {
    let jobs = live([opened(), sealed(4), result(0, Succeeded), result(1, Failed), result(3, Failed), cancelled(None)]);
    let state = jobs.get(&job()).unwrap();
    let indices = |which: CompanySet| state.companies(&which).unwrap().to_string();
    assert_eq!([indices(CompanySet::Counted), indices(CompanySet::Failed)], ["0-1,3", "1,3"]);
    assert_eq!([indices(CompanySet::Cause("timeout".into())), indices(CompanySet::Cause("other".into()))], ["1,3", ""]);
}
