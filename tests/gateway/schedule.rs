//! Schedules: one job a tick, however many gateways run.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rollcall_tests::{Fleet, Gateway, SCORER, within};

#[test]
fn each_second_of_a_minute_is_one_job_while_gateways_are_killed_and_started() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let file = fleet.file("c.csv", "company_id\n1\n");
    let schedule =
        format!("[[schedule]]\nname = \"each\"\ncron = \"* * * * * *\"\nfile = {:?}\nmodel = \"m\"\n", file.to_str().unwrap());
    let first = Gateway::with(&fleet, &schedule);
    let mut second = Gateway::with(&fleet, &schedule);
    let ticks = || -> BTreeSet<String> {
        first.jobs().iter().map(|job| job["job"].as_str().unwrap().strip_prefix("each-").unwrap().to_owned()).collect()
    };
    within(Duration::from_secs(30), "it has begun", || (!ticks().is_empty()).then_some(()));
    let began = Instant::now();
    let mut killed = 0;
    // The load of the test for a minute, and not a wait for a condition.
    while began.elapsed() < Duration::from_secs(62) {
        second.process.kill_9();
        killed += 1;
        second = Gateway::with(&fleet, &schedule);
        within(Duration::from_secs(30), "both are there", || second.is_up().then_some(()));
        std::thread::sleep(Duration::from_millis(2_500));
    }
    let seconds: Vec<i64> = ticks().iter().map(|tick| in_seconds(tick)).collect();
    let span = seconds.last().unwrap() - seconds.first().unwrap() + 1;
    assert!(span >= 60 && killed >= 5, "{span} s, killed {killed} times");
    assert_eq!(seconds.len() as i64, span, "one job for each second: {seconds:?}");
}

/// Seconds of a tick such as 20270131T060000Z within its month.
fn in_seconds(tick: &str) -> i64 {
    let number = |range: std::ops::Range<usize>| tick[range].parse::<i64>().unwrap();
    number(6..8) * 86_400 + number(9..11) * 3_600 + number(11..13) * 60 + number(13..15)
}

#[test]
fn a_tick_of_which_no_job_could_be_made_is_not_tried_again_by_the_next_gateway() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let file = fleet.file("c.csv", "company_id\n1\n");
    let schedule =
        format!("[[schedule]]\nname = \"each\"\ncron = \"* * * * * *\"\nfile = {:?}\nmodel = \"m\"\n", file.to_str().unwrap());
    let mut gateway = Gateway::with(&fleet, &schedule);
    within(Duration::from_secs(30), "a job is made", || (!gateway.jobs().is_empty()).then_some(()));
    fleet.file("c.csv", "company_id\n1\n1\n");
    let refused = |gateway: &Gateway| -> Vec<String> {
        let refusals = gateway.get("/v1/refusals").expect(200).json()["refusals"].as_array().unwrap().clone();
        refusals.iter().map(|refusal| refusal["subject"].as_str().unwrap().to_owned()).collect()
    };
    within(Duration::from_secs(30), "some are refused", || (refused(&gateway).len() >= 3).then_some(()));
    gateway.process.kill_9();
    let next = Gateway::with(&fleet, &schedule);
    let before = refused(&next).len();
    within(Duration::from_secs(60), "the next gateway refuses", || (refused(&next).len() >= before + 3).then_some(()));
    let all = refused(&next);
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len(), "each once: {all:?}");
}

#[test]
fn a_tick_is_skipped_or_cancels_the_older_job_as_configured_also_by_the_next_gateway() {
    let fleet = Fleet::fresh();
    let (_aggregator, _consumer) = (fleet.aggregator(&[]), fleet.consumer("m", SCORER, &[]));
    let file = fleet.file("c.csv", "company_id,do\n1,long\n2,long\n3,long\n4,long\n5,long\n");
    let schedule = |name: &str, overlap: &str| {
        let file = file.to_str().unwrap();
        format!(
            "[[schedule]]\nname = {name:?}\ncron = \"*/2 * * * * *\"\nfile = {file:?}\nmodel = \"m\"\noverlap = {overlap:?}\n"
        )
    };
    let schedules = schedule("skips", "skip") + &schedule("cancels", "cancel_older");
    let mut gateway = Gateway::with(&fleet, &schedules);
    let of = |gateway: &Gateway, name: &str, state: &str| {
        let jobs = gateway.jobs();
        jobs.iter()
            .filter(|job| job["job"].as_str().unwrap().starts_with(name) && (state.is_empty() || job["state"] == state))
            .count()
    };
    let await_both = |gateway: &Gateway| {
        let cancelled = of(gateway, "cancels", "cancelled");
        within(Duration::from_secs(40), "some are cancelled and some skipped", || {
            let skipped = gateway.process.stderr().contains("tick_skipped");
            (skipped && of(gateway, "cancels", "cancelled") >= cancelled + 2).then_some(())
        });
        let jobs = gateway.jobs().into_iter();
        let running = jobs.filter(|job| job["job"].as_str().unwrap().starts_with("skips") && job["done_at"].is_null());
        assert!(running.count() <= 1);
    };
    await_both(&gateway);
    gateway.process.kill_9();
    let log = gateway.process.stderr();
    let skipped = log.lines().filter(|line| line.contains("tick_skipped"));
    let skipped: Vec<&str> = skipped.filter_map(|line| line.split("job=").nth(1)?.split_whitespace().next()).collect();
    let next = Gateway::with(&fleet, &schedules);
    await_both(&next);
    let jobs = next.jobs();
    let made = |job: &str| jobs.iter().any(|found| found["job"] == job);
    assert!(!skipped.is_empty() && !skipped.iter().any(|job| made(job)), "{skipped:?}");
}
