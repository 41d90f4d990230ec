//! Time: deadlines and durations, over the deaths of aggregators and whatever clocks say.

use rollcall_shared::message::{Span, Timestamp};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn deadline_in(seconds: f64) -> Record {
    // What the producer's clock says of it is an hour off.
    let deadline_at = Some("2020-01-01T00:00:00Z".parse().unwrap());
    opened_with(Settings { deadline_seconds: Some(Span::try_from(seconds).unwrap()), deadline_at, ..Settings::default() })
}

fn is_overdue(ledger: &Ledger) -> bool {
    ledger.overdue(at("2026-01-01T00:00:00Z")).next().is_some()
}

fn at(time: &str) -> Timestamp {
    time.parse().unwrap()
}

fn seconds(ledger: &Ledger) -> Option<f64> {
    ledger.seconds_of(ledger.job(&job()).unwrap())
}

fn kept(ledger: &Ledger) -> Ledger {
    Ledger::from_snapshot(&ledger.to_snapshot().unwrap()).unwrap()
}

#[test]
fn a_deadline_that_is_a_span_is_counted_from_the_reading_of_the_opening_and_by_no_clock_of_a_machine() {
    let mut ledger = Ledger::default();
    ledger.advance(SECOND * 5_000);
    ledger.apply(0, Some(SECOND * 30), deadline_in(20.0));
    assert!(!is_overdue(&ledger), "the opening was said 30 s ago by another clock");
    ledger.advance(SECOND * 19);
    assert!(!is_overdue(&ledger));
    ledger = kept(&ledger);
    ledger.go_on_after(Some(SECOND * 50));
    assert!(!is_overdue(&ledger), "time in which nobody counted does not count");
    ledger.advance(SECOND);
    assert!(is_overdue(&ledger));
}

#[test]
fn a_deadline_that_is_a_point_in_time_is_by_the_clock_of_who_counts() {
    let until = Settings { deadline_at: Some(at("2026-01-01T00:00:30Z")), ..Settings::default() };
    let ledger = fold([opened_with(until)]);
    assert_eq!(ledger.overdue(at("2026-01-01T00:00:29.999Z")).count(), 0);
    assert_eq!(ledger.overdue(at("2026-01-01T00:00:30Z")).count(), 1);
}

#[test]
fn what_has_ended_or_is_redriven_has_no_deadline() {
    let mut ledger = live([deadline_in(1.0), sealed(1), result(0, Failed)]);
    ledger.advance(SECOND * 2);
    assert!(!is_overdue(&ledger));
    take(&mut ledger, redriven(1, "a", "0"));
    assert!(!is_overdue(&ledger) && ledger.is_busy());
}

#[test]
fn a_duration_is_measured_where_one_aggregator_saw_both_ends_and_begins_anew_with_a_redrive() {
    let mut ledger = live([opened(), sealed(1)]);
    ledger.advance(SECOND * 3);
    assert_eq!(seconds(&ledger), Some(3.0));
    take(&mut ledger, result(0, Failed));
    let done = done(&ledger);
    take(&mut ledger, done);
    take(&mut ledger, redriven(1, "a", "0"));
    ledger.advance(SECOND * 2);
    assert_eq!(seconds(&ledger), Some(2.0));
}

#[test]
fn a_duration_over_a_takeover_has_the_time_between_or_is_unknown() {
    let mut ledger = live([opened(), sealed(1)]);
    ledger.advance(SECOND * 3);
    let mut soon = kept(&ledger);
    soon.go_on_after(Some(SECOND * 7));
    soon.advance(SECOND);
    assert_eq!(seconds(&soon), Some(11.0));
    let mut who_knows_when = kept(&ledger);
    who_knows_when.go_on_after(None);
    who_knows_when.advance(SECOND);
    assert_eq!(seconds(&who_knows_when), None);
    take(&mut who_knows_when, result(0, Succeeded));
    let done = who_knows_when.job(&job()).unwrap().done(&job(), ended_at(), seconds(&who_knows_when));
    assert_eq!((done.duration_seconds, done.companies_per_second), (None, None));
}

#[test]
fn the_duration_of_a_job_that_was_opened_while_nobody_counted_has_that_time_or_is_unknown() {
    for (age, expected) in [(Some(SECOND * 4), Some(5.0)), (None, None)] {
        let mut ledger = Ledger::default();
        ledger.apply(0, age, opened());
        ledger.advance(SECOND);
        assert_eq!(seconds(&ledger), expected);
    }
}
