//! How a job ends, and how it is paused.

use super::*;

#[test]
fn failures_are_tolerated_up_to_a_number_or_a_part_of_the_total() {
    for (tolerated, expected) in
        [("0", State::Failed), ("1", State::Succeeded), ("25%", State::Succeeded), ("24%", State::Failed)]
    {
        let settings = Settings { tolerate_failures: tolerated.parse().unwrap(), ..Settings::default() };
        let outcomes = [result(0, Failed), result(1, Succeeded), result(2, Succeeded), result(3, Succeeded)];
        let jobs = live([opened_with(settings), sealed(4)].into_iter().chain(outcomes));
        assert_eq!((state(&jobs), counts(&jobs)), (expected, [4, 3, 1, 0, 0]), "{tolerated}");
    }
}

#[test]
fn a_job_that_fails_fast_ends_with_the_failure_that_is_one_too_many() {
    let settings = Settings { tolerate_failures: "1".parse().unwrap(), fail_fast: true, ..Settings::default() };
    let first = [opened_with(settings.clone()), sealed(4), result(0, Failed), result(1, Succeeded)];
    assert_eq!(state(&live(first.clone())), State::Running);
    let jobs = live(first.into_iter().chain([result(2, Failed), result(3, Failed)]));
    assert_eq!((state(&jobs), counts(&jobs)), (State::Failed, [4, 1, 2, 1, 0]));
    assert_eq!(jobs.get(&job()).unwrap().dropped_round(), Some(0));
    let part = Settings { tolerate_failures: "50%".parse().unwrap(), ..settings };
    let unsealed = [opened_with(part), result(0, Failed), result(1, Failed), result(2, Failed)];
    assert_eq!(state(&live(unsealed.clone())), State::Unsealed, "a part of a total that is not known");
    assert_eq!(state(&live(unsealed.into_iter().chain([sealed(4)]))), State::Failed);
}

#[test]
fn a_job_that_expires_leaves_the_rest_cancelled() {
    let until = Settings { deadline_at: Some("2026-01-01T00:00:30Z".parse().unwrap()), ..Settings::default() };
    let within = Settings { deadline_seconds: Some(7_200.0.try_into().unwrap()), ..until.clone() };
    for (settings, why) in [(until, "it was to be done by 2026-01-01T00:00:30.000Z"), (within, "it was to be done within 2h")] {
        let jobs = live([opened_with(settings), sealed(4), result(0, Succeeded), expired(), result(1, Succeeded)]);
        assert_eq!((state(&jobs), counts(&jobs)), (State::Expired, [4, 1, 0, 3, 0]));
        let status = jobs.get(&job()).unwrap().status(&job(), None, 0);
        assert_eq!(status.reason.as_deref(), Some(why), "whatever the event says");
    }
}

#[test]
fn a_paused_job_goes_on_counting_what_was_being_scored() {
    let pause = || Pause { job: job(), at: Some("2026-01-01T00:00:00Z".parse().unwrap()) };
    let paused = Record::Event(JobEvent::Paused(pause()));
    let records = [opened(), sealed(2), paused, result(0, Succeeded)];
    let jobs = live(records.clone());
    assert_eq!((state(&jobs), counts(&jobs)[1]), (State::Paused, 1));
    assert_eq!(state(&live(records.clone().into_iter().chain([Record::Event(JobEvent::Resumed(pause()))]))), State::Running);
    assert_eq!(state(&live(records.into_iter().chain([result(1, Succeeded)]))), State::Succeeded, "it has no more to wait for");
}
