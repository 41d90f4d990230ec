//! A consumer holds little enough work that other consumers find some, whatever its scorer's speed.

use std::fmt::Write as _;
use std::time::Duration;

use rollcall_tests::{Fleet, Process, SCORER, eventually, free_address, metrics, value};
use serde_json::Value;

const CALM: &str = "command:/usr/bin/python3 tests/fixtures/scorer.py /dev/null calm";

/// A file of companies whose column `do` says what the scorer does with each.
fn companies(fleet: &Fleet, name: &str, what: &[(u32, &str)]) -> std::path::PathBuf {
    let mut file = "company_id,do\n".to_owned();
    let each = what.iter().flat_map(|&(companies, what)| (0..companies).map(move |_| what));
    for (index, what) in each.enumerate() {
        writeln!(file, "{index},{what}").unwrap();
    }
    fleet.file(name, file)
}

/// Asserts that no company of the job was charged an attempt or scored twice because of where it was held.
fn assert_uncharged(fleet: &Fleet, job: &str, companies: u64) {
    let record = fleet.finished(job);
    record.assert_counted_once(companies);
    let done = &record.done[0]["data"];
    let costs = ["failed", "retries", "duplicates"].map(|key| done[key].as_u64().unwrap());
    assert_eq!((costs, record.duplicates()), ([0, 0, 0], 0), "{done}");
    assert!(record.bodies().all(|body| body["attempt"] == 1));
}

fn fleet_of(fleet: &Fleet, job: &str) -> Value {
    fleet.status(job)["fleet"].clone()
}

#[test]
fn a_slow_scorer_holds_two_seconds_of_work_and_leaves_the_rest_to_others() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let address = free_address();
    let slow = ["--threads", "1", "--metrics-addr", &address.to_string()];
    let _first = fleet.consumer("m", SCORER, &slow);
    // Each company takes 0.2 s.
    fleet.enqueue(&companies(&fleet, "c.csv", &[(300, "slow")]), "m", "j", &[]).expect(0);
    let held = eventually("the first consumer has measured its speed", || {
        let fleet = fleet_of(&fleet, "j");
        (!fleet["companies_per_second"].is_null()).then_some(fleet)
    });
    assert!(held["held"].as_u64().unwrap() <= 20 && held["waiting"].as_u64().unwrap() >= 200, "{held}");
    let _others: Vec<Process> = (0..3).map(|_| fleet.consumer("m", SCORER, &["--threads", "1"])).collect();
    let all = eventually("all four hold some", || {
        let fleet = fleet_of(&fleet, "j");
        (fleet["answered"] == 4 && fleet["held"].as_u64() > Some(12)).then_some(fleet)
    });
    assert!(all["held"].as_u64().unwrap() <= 80, "{all}");
    let text = fleet.producer(&["status", "j"]).expect(0).stdout;
    assert!(text.contains("model m: consumers 4, held ") && text.contains(" companies/s when all threads are busy"), "{text}");
    let gauges = metrics(address);
    let target = value(&gauges, "rollcall_hold_target_companies").unwrap();
    let seconds = value(&gauges, "rollcall_seconds_per_company").unwrap();
    assert!((2.0..=20.0).contains(&target) && (0.1..=1.0).contains(&seconds), "{gauges}");
    assert_uncharged(&fleet, "j", 300);
}

#[test]
fn what_a_consumer_holds_when_its_scorer_stalls_is_scored_by_another() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    // A fast scorer hangs for minutes on one company; by then its consumer holds hundreds.
    let file = companies(&fleet, "c.csv", &[(1_500, ""), (1, "hang"), (1_500, "")]);
    let stalled = fleet.consumer("m", SCORER, &["--threads", "1", "--score-timeout", "5m"]);
    fleet.enqueue(&file, "m", "j", &[]).expect(0);
    stalled.wait_until_it_says("scorer is hanging");
    // With this limit, it would quarantine every company that was charged a delivery.
    let address = free_address();
    let other = ["--threads", "1", "--max-deliveries", "1", "--metrics-addr", &address.to_string()];
    let _other = fleet.consumer("m", CALM, &other);
    // Companies of the batch that hangs cannot be released.
    let in_call = eventually("all others are scored", || {
        let (left, held) = (3_001 - fleet.answered("j") as u64, fleet_of(&fleet, "j"));
        (left <= 32 && (held["held"].as_u64(), held["waiting"].as_u64()) == (Some(left), Some(0))).then_some(left)
    });
    assert!(in_call > 0, "the scorer did not hang");
    // The stalled consumer takes its share of a small job that comes now, and releases it.
    fleet.enqueue(&companies(&fleet, "d.csv", &[(20, "")]), "m", "small", &["--priority", "auto"]).expect(0);
    assert_uncharged(&fleet, "small", 20);
    assert_eq!(value(&metrics(address), r#"rollcall_moved_total{to="quarantine"}"#).unwrap_or_default(), 0.0);
    // The stalled consumer is killed, as if its machine were lost: the other gets the rest of that batch.
    drop(stalled);
    assert_uncharged(&fleet, "j", 3_001);
}

#[test]
fn a_consumer_that_was_stopped_for_longer_than_its_heartbeat_loses_its_work_to_others_and_goes_on() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    // The scorer stays within its timeout, although the consumer is stopped for longer than that.
    let mut frozen = fleet.with_heartbeat(1).consumer("m", SCORER, &["--threads", "1", "--score-timeout", "2s"]);
    fleet.enqueue(&companies(&fleet, "c.csv", &[(60, "slow")]), "m", "j", &[]).expect(0);
    fleet.mid_job("j", 60);
    frozen.freeze();
    let mut other = fleet.consumer("m", SCORER, &["--threads", "1"]);
    fleet.finished("j").assert_counted_once(60);
    frozen.thaw();
    eventually("it takes work again", || (frozen.times_event("taking_work") == 2).then_some(()));
    other.terminate();
    other.wait(Duration::from_secs(30)).expect(0);
    fleet.enqueue(&companies(&fleet, "d.csv", &[(20, "")]), "m", "k", &["--wait"]).expect(0);
    assert_uncharged(&fleet, "k", 20);
    let record = fleet.ledger("j");
    assert!(record.causes().is_empty() && record.bodies().all(|body| body["attempt"] == 1), "{:?}", record.causes());
    frozen.terminate();
    let ended = frozen.wait(Duration::from_secs(30)).expect(0);
    let is_blamed = ["event=\"worker_replaced\"", "event=\"scorer_killed\""].iter().any(|words| ended.stderr.contains(words));
    assert!(!is_blamed, "{}", ended.stderr);
}

#[test]
fn a_small_file_goes_ahead_of_a_large_one_by_itself_and_a_large_one_does_not() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    for (job, number, priority) in
        [("large", 3_000, "auto"), ("small", 999, "auto"), ("in-turn", 100, "normal"), ("first", 2_000, "high")]
    {
        let file = companies(&fleet, &format!("{job}.csv"), &[(number, "")]);
        fleet.enqueue(&file, "m", job, &["--priority", priority]).expect(0);
    }
    let priority = |job: &str| fleet.status(job)["priority"].as_str().unwrap().to_owned();
    assert_eq!(["large", "small", "in-turn", "first"].map(priority), ["normal", "high", "normal", "high"]);
    let _consumer = fleet.consumer("m", SCORER, &["--threads", "1"]);
    let done_at = |job: &str| fleet.finished(job).done[0]["data"]["done_at"].as_str().unwrap().to_owned();
    let [large, small] = ["large", "small"].map(done_at);
    assert!(small < large, "small: {small}, large: {large}");
}

#[test]
fn what_is_left_of_a_large_job_that_was_cancelled_does_not_hold_up_the_next_one_however_slow_the_scorer() {
    const COMPANIES: u32 = 200_000;
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let _consumer = fleet.consumer("m", SCORER, &["--threads", "1", "--hold", "100ms"]);
    fleet.enqueue(&companies(&fleet, "c.csv", &[(COMPANIES, "slow")]), "m", "j", &[]).expect(0);
    fleet.mid_job("j", COMPANIES.into());
    fleet.producer(&["cancel", "j"]).expect(0);
    // At the rate of such a scorer, discarding the companies one by one would take longer than this deadline.
    let behind = companies(&fleet, "d.csv", &[(5, "")]);
    let mut behind = fleet.start_enqueue(&behind, "m", "k", &["--wait"]);
    behind.wait(Duration::from_secs(60)).expect(0);
    assert_uncharged(&fleet, "k", 5);
}
