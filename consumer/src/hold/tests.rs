use proptest::prelude::*;

use super::*;

const HOLD: f64 = 2.0;

fn measured(most_in_a_call: usize) -> Measured {
    Measured {
        seconds_per_company: UNMEASURED_SECONDS,
        calls_ended: 0,
        batch: BatchSize::new(most_in_a_call, HOLD * CALL_PART, HOLD, UNMEASURED_SECONDS),
        running: Vec::new(),
        calls_begun: 0,
    }
}

fn limits(workers: usize, prefetch: usize) -> HoldLimits {
    HoldLimits { hold: Duration::from_secs_f64(HOLD), workers, prefetch, batch: 32 }
}

fn holds(measured: &Measured, limits: &HoldLimits) -> usize {
    measured.target(limits, Instant::now()).companies
}

/// Calls of a scorer that needs `seconds` for so many companies, each as large as it may be; returns the size of the last.
fn calls(measured: &mut Measured, number: usize, seconds: impl Fn(usize) -> f64) -> usize {
    for _ in 0..number {
        let companies = measured.batch.most();
        measured.ended(companies, seconds(companies));
        if measured.batch.wants_backlog() {
            measured.batch.grow();
        }
    }
    measured.batch.most()
}

#[test]
fn before_anything_is_measured_a_company_counts_as_a_second() {
    let measured = measured(32);
    assert_eq!(holds(&measured, &limits(1, 512)), 2);
    assert_eq!(holds(&measured, &limits(4, 512)), 8);
    assert_eq!(measured.batch.most(), 1);
    let whole_day = BatchSize::new(2_500, 86_400.0 * CALL_PART, 86_400.0, UNMEASURED_SECONDS);
    assert_eq!(whole_day.most(), 2_500);
}

#[test]
fn a_fast_scorer_is_given_as_much_as_it_may_have_after_a_few_calls() {
    let mut measured = measured(32);
    assert_eq!(calls(&mut measured, 6, |companies| companies as f64 * 1e-5), 32);
    assert_eq!(holds(&measured, &limits(1, 512)), 512);
}

#[test]
fn a_slow_scorer_is_given_what_its_workers_are_at_and_nothing_beyond() {
    let mut measured = measured(32);
    assert_eq!(calls(&mut measured, 20, |companies| companies as f64 * 5.0), 1);
    let target = measured.target(&limits(4, 512), Instant::now());
    assert_eq!(target.companies, 4);
}

#[test]
fn a_scorer_that_needs_the_same_for_any_number_gets_whole_batches_and_the_next_ones_ahead() {
    for seconds in [0.08, 1.0, 5.0] {
        let mut measured = measured(32);
        assert_eq!(calls(&mut measured, 12, |_| seconds), 32, "{seconds} s");
        assert!(holds(&measured, &limits(1, 512)) >= 4 * 32, "{seconds} s");
    }
}

#[test]
fn a_size_that_was_not_worth_it_is_not_tried_again_at_once() {
    let mut measured = measured(32);
    let mut larger = 0;
    for _ in 0..100 {
        let companies = measured.batch.most();
        larger += usize::from(companies > 1);
        calls(&mut measured, 1, |companies| companies as f64);
    }
    assert!((1..=3).contains(&larger), "{larger} trials in 100 calls");
}

#[test]
fn a_worker_that_does_not_come_back_counts_for_what_it_has_and_for_no_more() {
    let mut measured = measured(32);
    calls(&mut measured, 10, |companies| companies as f64 * 0.25);
    let (limits, began) = (limits(1, 512), Instant::now());
    measured.running.push(Running { call: 1, companies: 1, began });
    let at = |seconds: u64| measured.target(&limits, began + Duration::from_secs(seconds));
    assert_eq!((at(1).companies, at(1).waiting), (8, 7));
    assert_eq!((at(3).companies, at(3).waiting), (1, 0));
}

#[test]
fn one_late_worker_of_four_leaves_the_others_their_share() {
    let mut measured = measured(32);
    calls(&mut measured, 10, |companies| companies as f64 * 0.25);
    let began = Instant::now();
    measured.running.push(Running { call: 1, companies: 1, began });
    assert_eq!(measured.target(&limits(4, 512), began + Duration::from_secs(9)).companies, 3 * 8 + 1);
}

proptest! {
    /// From 10 microseconds to 10 minutes a company, whatever the speed was before.
    #[test]
    fn about_two_seconds_of_work_are_held_at_any_speed_a_few_calls_after_it_has_changed(
        (before, after, workers, prefetch) in (-5.0_f64..2.7, -5.0_f64..2.7, 1_usize..8, 1_usize..2_000)
    ) {
        let mut measured = measured(32);
        let limits = limits(workers, prefetch);
        for power in [before, after] {
            let each = 10_f64.powf(power);
            calls(&mut measured, 60, |companies| companies as f64 * each);
            let target = measured.target(&limits, Instant::now());
            let exact = (HOLD / each).max(1.0) * workers as f64;
            let (least, most) = (workers.min(prefetch) as f64, prefetch as f64);
            prop_assert!(target.companies as f64 >= (exact * 0.8 - workers as f64).clamp(least, most), "{target:?} at {each} s");
            prop_assert!(target.companies as f64 <= (exact * 1.25 + workers as f64).clamp(least, most), "{target:?} at {each} s");
            // A call is short, unless one company alone is longer; now and then it is a trial of twice as many.
            let call = measured.batch.most() as f64 * each;
            prop_assert!(call <= 2.001 * (HOLD * CALL_PART).max(each), "a call of {call} s at {each} s");
        }
    }

    #[test]
    fn whatever_is_measured_the_target_is_within_the_limits(
        (workers, prefetch, batch, ended) in
            (1_usize..70, 1_usize..65_535, 1_usize..65_535, prop::collection::vec((1_usize..65_535, 0.0_f64..1e9), 0..30))
    ) {
        let mut measured = measured(batch);
        let limits = limits(workers, prefetch);
        for (companies, seconds) in ended {
            measured.ended(companies, seconds);
            let target = measured.target(&limits, Instant::now());
            prop_assert!((workers.min(prefetch)..=prefetch).contains(&target.companies), "{target:?}");
            prop_assert!((1..=batch).contains(&measured.batch.most()));
        }
    }
}
