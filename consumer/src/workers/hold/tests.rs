use proptest::prelude::*;

use super::*;

const HOLD: f64 = 2.0;

fn measured(batch: usize) -> Measured {
    Measured::new(&HoldLimits { batch, ..limits(1, 512) })
}

fn limits(workers: usize, prefetch: usize) -> HoldLimits {
    HoldLimits { hold: Duration::from_secs_f64(HOLD), workers, prefetch, batch: 32, score_timeout: Duration::from_secs(60) }
}

fn holds(measured: &mut Measured, limits: &HoldLimits) -> usize {
    measured.workers = limits.workers;
    measured.target(limits, Instant::now()).companies
}

/// Makes calls of the largest allowed size to a scorer that needs `seconds` for a number of companies; returns the next allowed size.
fn calls(measured: &mut Measured, number: usize, seconds: impl Fn(usize) -> f64) -> usize {
    for _ in 0..number {
        let companies = measured.batch.most();
        measured.scored(companies, seconds(companies), &limits(1, 512));
        measured.batch.try_larger();
    }
    measured.batch.most()
}

#[test]
fn before_anything_is_measured_a_company_counts_as_a_second() {
    let mut fresh = measured(32);
    assert_eq!(holds(&mut fresh, &limits(1, 512)), 2);
    assert_eq!(holds(&mut fresh, &limits(4, 512)), 8);
    assert_eq!(fresh.batch.most(), 1);
    let day = HoldLimits { hold: Duration::from_secs(86_400), batch: 2_500, ..limits(1, 10_000) };
    let mut whole_day = Measured::new(&day);
    assert_eq!((whole_day.batch.most(), holds(&mut whole_day, &day)), (2_500, 10_000));
}

#[test]
fn a_fast_scorer_is_given_as_much_as_it_may_have_after_a_few_calls() {
    let mut measured = measured(32);
    assert_eq!(calls(&mut measured, 6, |companies| companies as f64 * 1e-5), 32);
    assert_eq!(holds(&mut measured, &limits(1, 512)), 512);
}

#[test]
fn a_slow_scorer_is_given_what_its_workers_are_at_and_nothing_beyond() {
    let mut measured = measured(32);
    assert_eq!(calls(&mut measured, 20, |companies| companies as f64 * 5.0), 1);
    assert_eq!(holds(&mut measured, &limits(4, 512)), 4);
}

#[test]
fn a_scorer_that_needs_the_same_for_any_number_gets_whole_batches_and_the_next_ones_ahead() {
    for seconds in [0.08, 1.0, 5.0] {
        let mut measured = measured(32);
        assert_eq!(calls(&mut measured, 9, |_| seconds), 32, "{seconds} s");
        assert!(holds(&mut measured, &limits(1, 512)) >= 4 * 32, "{seconds} s");
    }
}

/// A worker finds only what is held beyond its call: a trial must not wait forever for more.
#[test]
fn a_scorer_that_needs_seconds_for_any_number_is_found_out_with_what_is_held() {
    for seconds in [0.5, 1.0, 3.0, 10.0] {
        let (mut measured, limits) = (measured(32), limits(1, 512));
        let mut in_call = 1;
        for _ in 0..40 {
            measured.scored(in_call, seconds, &limits);
            measured.batch.try_larger();
            let waiting = holds(&mut measured, &limits).saturating_sub(in_call).max(1);
            in_call = waiting.min(measured.batch.most());
        }
        assert_eq!(in_call, 32, "{seconds} s");
    }
}

#[test]
fn behind_a_trial_of_a_slow_scorer_nothing_is_held() {
    let mut measured = measured(32);
    calls(&mut measured, 2, |companies| companies as f64 * 5.0);
    assert_eq!(measured.batch.most(), 2, "no trial");
    assert_eq!(holds(&mut measured, &limits(1, 512)), 4);
    measured.running.push(RunningCall { call: 1, companies: 2, began: Instant::now() });
    let target = measured.target(&limits(1, 512), Instant::now());
    assert_eq!((target.companies, target.waiting), (2, 0));
}

#[test]
fn a_small_call_or_an_outlier_does_not_take_whole_batches_from_a_scorer_that_is_fast_with_them() {
    let mut measured = measured(32);
    calls(&mut measured, 9, |_| 1.0);
    measured.scored(1, 1.0, &limits(1, 512));
    assert_eq!(measured.batch.most(), 32);
    measured.scored(32, 10.0, &limits(1, 512));
    assert_eq!(calls(&mut measured, 1, |_| 1.0), 32);
    // A scorer that has become slow with whole batches loses them.
    assert_eq!(calls(&mut measured, 3, |companies| companies as f64), 1);
}

#[test]
fn a_scorer_that_is_fast_with_larger_batches_up_to_a_size_stays_at_that_size() {
    let mut measured = measured(32);
    let seconds = |companies: usize| if companies <= 8 { 1.0 } else { companies as f64 / 8.0 };
    let sizes: Vec<usize> = (0..60).map(|_| calls(&mut measured, 1, seconds)).collect();
    assert!(sizes[9..].iter().filter(|&&size| size == 8).count() > 45, "{sizes:?}");
    assert!(sizes.iter().all(|&size| size <= 16), "{sizes:?}");
}

#[test]
fn a_size_that_was_not_worth_it_is_not_tried_again_at_once() {
    let mut measured = measured(32);
    let mut larger = 0;
    for _ in 0..100 {
        larger += usize::from(measured.batch.most() > 1);
        calls(&mut measured, 1, |companies| companies as f64);
    }
    assert!((1..=3).contains(&larger), "{larger} trials in 100 calls");
}

#[test]
fn no_trial_takes_longer_than_half_of_what_a_scorer_may_take() {
    let mut measured = measured(32);
    assert_eq!(calls(&mut measured, 20, |_| 16.0), 1);
}

#[test]
fn one_outlier_among_many_fast_companies_changes_little() {
    let mut measured = measured(32);
    calls(&mut measured, 100, |companies| companies as f64 * 0.01);
    let before = holds(&mut measured, &limits(1, 512));
    let companies = measured.batch.most();
    measured.scored(companies, 1.0, &limits(1, 512));
    let after = holds(&mut measured, &limits(1, 512));
    assert!(after * 4 > before, "{before}, then {after}");
}

#[test]
fn a_call_that_failed_says_nothing_of_the_speed() {
    let hold = Hold::new(limits(1, 512));
    let call = hold.begin(1);
    hold.end(&call, false);
    assert_eq!(hold.seconds_per_company(), None);
    let call = hold.begin(1);
    hold.end(&call, true);
    assert!(hold.seconds_per_company().is_some());
}

#[test]
fn a_worker_that_does_not_come_back_counts_for_what_it_has_and_for_no_more() {
    let mut measured = measured(32);
    calls(&mut measured, 10, |companies| companies as f64 * 0.25);
    let (limits, began) = (limits(1, 512), Instant::now());
    measured.running.push(RunningCall { call: 1, companies: 1, began });
    let at = |seconds: u64| measured.target(&limits, began + Duration::from_secs(seconds));
    assert_eq!((at(1).companies, at(1).waiting), (8, 7));
    assert_eq!((at(3).companies, at(3).waiting), (1, 0));
}

#[test]
fn one_late_worker_of_four_leaves_the_others_their_share() {
    let mut measured = measured(32);
    calls(&mut measured, 10, |companies| companies as f64 * 0.25);
    let began = Instant::now();
    measured.running.push(RunningCall { call: 1, companies: 1, began });
    measured.workers = 4;
    assert_eq!(measured.target(&limits(4, 512), began + Duration::from_secs(9)).companies, 3 * 8 + 1);
}

proptest! {
    /// From 10 microseconds to 10 minutes per company, whatever the speed was before.
    #[test]
    fn about_two_seconds_of_work_are_held_at_any_speed_soon_after_it_has_changed(
        (before, after, workers, prefetch) in (-5.0_f64..2.7, -5.0_f64..2.7, 1_usize..8, 1_usize..2_000)
    ) {
        let mut measured = measured(32);
        let limits = limits(workers, prefetch);
        for power in [before, after] {
            let each = 10_f64.powf(power);
            measured.workers = workers;
            for _ in 0..200 {
                let companies = measured.batch.most();
                measured.scored(companies, companies as f64 * each, &limits);
            }
            let target = measured.target(&limits, Instant::now());
            let exact = (HOLD / each).max(1.0) * workers as f64;
            let (least, most) = (workers.min(prefetch) as f64, prefetch as f64);
            prop_assert!(target.companies as f64 >= (exact * 0.8 - workers as f64).clamp(least, most), "{target:?} at {each} s");
            prop_assert!(target.companies as f64 <= (exact * 1.25 + workers as f64).clamp(least, most), "{target:?} at {each} s");
            // A call is short, unless one company takes longer; sometimes it is a trial with twice as many.
            let call = measured.batch.most() as f64 * each;
            prop_assert!(call <= 2.001 * (HOLD * CALL_PART).max(each), "a call of {call} s at {each} s");
        }
    }

    #[test]
    fn whatever_is_measured_the_target_is_within_the_limits(
        (workers, prefetch, batch, ended) in
            (1_usize..70, 1_usize..65_535, 1_usize..65_535, prop::collection::vec((1_usize..65_535, 0.0_f64..1e9), 0..30))
    ) {
        let limits = HoldLimits { batch, ..limits(workers, prefetch) };
        let mut measured = Measured::new(&limits);
        for (companies, seconds) in ended {
            measured.scored(companies, seconds, &limits);
            measured.batch.try_larger();
            let target = measured.target(&limits, Instant::now());
            prop_assert!((workers.min(prefetch)..=prefetch).contains(&target.companies), "{target:?}");
            prop_assert!((1..=batch).contains(&measured.batch.most()));
        }
    }
}

/// For a scorer that needs twice the mean time for twice the companies, with random durations.
#[test]
fn chance_does_not_make_larger_batches_look_faster() {
    for seed in 0..20 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut measured = measured(32);
        let mut large = 0;
        for _ in 0..500 {
            let companies = measured.batch.most();
            large += usize::from(companies > 1);
            // Exponentially distributed: most are short, some are several times as long.
            let seconds: f64 = (0..companies).map(|_| -random.f64().max(1e-9).ln()).sum();
            measured.scored(companies, seconds, &limits(1, 512));
            measured.batch.try_larger();
        }
        assert!(large < 100, "seed {seed}: {large} of 500 calls had more than one company");
    }
}
