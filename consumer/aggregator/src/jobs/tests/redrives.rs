//! Jobs whose companies are enqueued again.

use super::*;

#[test]
fn the_newest_round_counts_and_each_round_ends_with_a_done_event_of_its_own() {
    let first = [opened(), sealed(4), result(0, Succeeded), result(1, Failed), result(2, Failed), result(3, Succeeded)];
    let again = first.clone().into_iter().chain([redriven(1, "a", "1-2")]);
    let jobs = live(again.clone());
    assert_eq!((state(&jobs), counts(&jobs)), (State::Running, [4, 2, 0, 0, 0]), "what is redriven no longer counts");
    let late = in_round(0, result(1, Succeeded));
    let jobs = live(again.clone().chain([late, in_round(1, result(1, Succeeded))]));
    assert_eq!((state(&jobs), counts(&jobs)), (State::Running, [4, 3, 0, 0, 1]), "a late result of an earlier round");
    let jobs = live(again.chain([in_round(1, result(1, Succeeded)), in_round(1, result(2, Failed))]));
    assert_eq!((state(&jobs), counts(&jobs)), (State::Failed, [4, 3, 1, 0, 0]));
    assert_eq!(jobs.get(&job()).unwrap().status(&job(), None, 0).redrives, 1);
}

#[test]
fn of_two_who_redrive_at_the_same_time_the_first_does() {
    let records = [opened(), sealed(1), result(0, Failed), redriven(1, "first", "0"), redriven(1, "second", "0")];
    let status = live(records).get(&job()).unwrap().status(&job(), None, 0);
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
    let job_status = live(sealed_late).get(&job()).unwrap().status(&job(), None, 0);
    assert_eq!((job_status.state, job_status.total, job_status.sealed), (State::Cancelled, Some(2), Some(3)));
}

#[test]
fn an_outcome_beyond_what_the_producer_told_of_so_far_is_kept_when_others_are_redriven_and_can_be_redriven_itself() {
    let by_a_person = || cancelled(None);
    let cut = [opened(), enqueued(2), result(5, Failed), result(1, Failed), by_a_person()];
    let one = cut.into_iter().chain([redriven_without_file(1, "a", "1"), in_round(1, result(1, Succeeded))]);
    assert_eq!((state(&live(one.clone())), counts(&live(one.clone()))), (State::Cancelled, [2, 1, 1, 0, 0]));
    let jobs = live(one.chain([redriven_without_file(2, "a", "5-6"), in_round(2, result(5, Succeeded))]));
    assert_eq!((state(&jobs), counts(&jobs)), (State::Cancelled, [2, 2, 0, 0, 0]), "of 6 nobody has heard");
}

#[test]
fn outcomes_beyond_what_the_producer_enqueued_before_it_gave_up_are_none_of_the_jobs() {
    let jobs = live([opened(), result(0, Succeeded), result(u32::MAX, Failed), cancelled(Some(3))]);
    assert_eq!((state(&jobs), counts(&jobs)), (State::Cancelled, [3, 1, 0, 2, 0]));
}

#[test]
fn a_redriven_job_can_be_cancelled_too() {
    let again = [opened(), sealed(1), result(0, Failed), redriven(1, "a", "0")];
    let jobs = live(again.into_iter().chain([in_round(1, cancelled(None))]));
    assert_eq!((state(&jobs), counts(&jobs)), (State::Cancelled, [1, 0, 0, 1, 0]));
    assert_eq!(jobs.get(&job()).unwrap().dropped_round(), Some(1));
}

#[test]
fn a_cancelling_that_is_said_again_does_not_end_what_was_redriven_since() {
    let again = [opened(), result(0, Succeeded), cancelled(Some(2)), redriven(1, "a", "1"), cancelled(Some(2))];
    let jobs = live(again);
    assert_eq!((state(&jobs), jobs.get(&job()).unwrap().dropped_round()), (State::Running, None));
}

#[test]
fn indices_that_the_job_does_not_have_are_not_waited_for_when_it_is_redriven() {
    let first = [opened(), sealed(4), result(0, Failed), result(1, Succeeded), result(2, Succeeded), result(3, Succeeded)];
    let jobs = live(first.into_iter().chain([redriven(1, "a", "0,4-9"), in_round(1, result(0, Succeeded))]));
    assert_eq!((state(&jobs), counts(&jobs)), (State::Succeeded, [4, 4, 0, 0, 0]));
}

#[test]
fn the_rate_of_a_job_that_was_redriven_is_known_after_its_companies_are_forgotten() {
    let mut jobs = live([opened(), sealed(1), result(0, Failed), redriven(1, "a", "0"), in_round(1, result(0, Succeeded))]);
    jobs.jobs.values_mut().for_each(|state| state.forget_companies().unwrap());
    assert_eq!(jobs.get(&job()).unwrap().status(&job(), None, 0).companies_per_second, Some(1.0));
}

#[test]
fn how_far_a_producer_has_come_changes_nothing_in_a_done_event_that_is_on_its_way() {
    let cut = [opened(), enqueued(2), result(0, Succeeded), result(1, Failed), cancelled(None)];
    let mut jobs = live(cut.into_iter().chain([redriven_without_file(1, "a", "1")]));
    take(&mut jobs, in_round(1, result(1, Succeeded)));
    let done = done(&jobs);
    take(&mut jobs, enqueued(3));
    assert_eq!(take(&mut jobs, done), Applied::To(job()));
    assert_eq!((state(&jobs), counts(&jobs)), (State::Cancelled, [2, 2, 0, 0, 0]));
}

#[test]
fn a_seal_during_a_redrive_takes_out_companies_that_the_job_does_not_have_and_the_round_ends_without_them() {
    let cut = [opened(), enqueued(2), result(5, Failed), result(1, Failed), cancelled(None)];
    for (reopened, expected) in [("1,5", [2, 1, 0, 1, 0]), ("1", [2, 1, 0, 1, 0])] {
        let again = [redriven_without_file(1, "a", reopened), sealed(2), in_round(1, result(1, Succeeded))];
        let jobs = live(cut.clone().into_iter().chain(again));
        assert_eq!((state(&jobs), counts(&jobs)), (State::Cancelled, expected), "{reopened}");
    }
}
