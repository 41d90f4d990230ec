//! Deadlines and durations, over takeovers and with clocks that are wrong.

use rollcall_shared::message::{Span, Timestamp};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn deadline_in(seconds: f64) -> Record {
    // By a wrong clock of the producer, it has passed.
    let deadline_at = Some("2020-01-01T00:00:00Z".parse().unwrap());
    opened_with(Settings { deadline_seconds: Some(Span::try_from(seconds).unwrap()), deadline_at, ..Settings::default() })
}

fn is_overdue(jobs: &Jobs) -> bool {
    jobs.overdue(at("2026-01-01T00:00:00Z")).next().is_some()
}

fn at(time: &str) -> Timestamp {
    time.parse().unwrap()
}

fn seconds(jobs: &Jobs) -> Option<f64> {
    jobs.running_seconds(jobs.get(&job()).unwrap())
}

fn kept(jobs: &Jobs) -> Jobs {
    Jobs::from_checkpoint(&jobs.to_checkpoint().unwrap()).unwrap()
}

#[test]
fn a_deadline_that_is_a_span_is_counted_from_the_reading_of_the_opening_and_by_no_clock_of_a_machine() {
    let mut jobs = Jobs::default();
    jobs.advance(SECOND * 5_000);
    jobs.apply(0, Some(SECOND * 30), deadline_in(20.0));
    assert!(!is_overdue(&jobs), "the opening was said 30 s ago by another clock");
    jobs.advance(SECOND * 19);
    assert!(!is_overdue(&jobs));
    jobs = kept(&jobs);
    jobs.continue_after(Some(SECOND * 50));
    assert!(!is_overdue(&jobs), "time in which nobody counted does not count");
    jobs.advance(SECOND);
    assert!(is_overdue(&jobs));
}

#[test]
fn a_deadline_that_is_a_point_in_time_is_by_the_clock_of_who_counts() {
    let until = Settings { deadline_at: Some(at("2026-01-01T00:00:30Z")), ..Settings::default() };
    let jobs = fold([opened_with(until)]);
    assert_eq!(jobs.overdue(at("2026-01-01T00:00:29.999Z")).count(), 0);
    assert_eq!(jobs.overdue(at("2026-01-01T00:00:30Z")).count(), 1);
}

#[test]
fn what_has_ended_or_is_redriven_has_no_deadline() {
    let mut jobs = live([deadline_in(1.0), sealed(1), result(0, Failed)]);
    jobs.advance(SECOND * 2);
    assert!(!is_overdue(&jobs));
    take(&mut jobs, redriven(1, "a", "0"));
    assert!(!is_overdue(&jobs) && jobs.any_unfinished());
}

#[test]
fn a_duration_is_measured_where_one_aggregator_saw_both_ends_and_begins_anew_with_a_redrive() {
    let mut jobs = live([opened(), sealed(1)]);
    jobs.advance(SECOND * 3);
    assert_eq!(seconds(&jobs), Some(3.0));
    take(&mut jobs, result(0, Failed));
    let done = done(&jobs);
    take(&mut jobs, done);
    take(&mut jobs, redriven(1, "a", "0"));
    jobs.advance(SECOND * 2);
    assert_eq!(seconds(&jobs), Some(2.0));
}

#[test]
fn a_duration_over_a_takeover_has_the_time_between_or_is_unknown() {
    let mut jobs = live([opened(), sealed(1)]);
    jobs.advance(SECOND * 3);
    let mut soon = kept(&jobs);
    soon.continue_after(Some(SECOND * 7));
    soon.advance(SECOND);
    assert_eq!(seconds(&soon), Some(11.0));
    let mut who_knows_when = kept(&jobs);
    who_knows_when.continue_after(None);
    who_knows_when.advance(SECOND);
    assert_eq!(seconds(&who_knows_when), None);
    take(&mut who_knows_when, result(0, Succeeded));
    let done = who_knows_when.get(&job()).unwrap().done(&job(), ended_at(), seconds(&who_knows_when));
    assert_eq!((done.duration_seconds, done.companies_per_second), (None, None));
}

#[test]
fn the_duration_of_a_job_that_was_opened_while_nobody_counted_has_that_time_or_is_unknown() {
    for (age, expected) in [(Some(SECOND * 4), Some(5.0)), (None, None)] {
        let mut jobs = Jobs::default();
        jobs.apply(0, age, opened());
        jobs.advance(SECOND);
        assert_eq!(seconds(&jobs), expected);
    }
}
