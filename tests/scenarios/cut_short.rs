//! Jobs that end before every company has an outcome: cancelled, expired, or failed fast; and jobs that tolerate failures.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rollcall_tests::{Fleet, SCORER, eventually};
use serde_json::Value;

/// Companies of which the scorer refuses the first `bad` and takes 0.2 s for each of the others.
fn companies(fleet: &Fleet, count: usize, bad: usize) -> PathBuf {
    let what = |index| if index < bad { "refuse" } else { "slow" };
    let rows: String = (0..count).map(|index| format!("c{index},{}\n", what(index))).collect();
    fleet.file(&format!("{count}-{bad}.csv"), format!("company_id,do\n{rows}"))
}

fn assert_adds_up(done: &Value, total: u64) {
    let count = |key: &str| done[key].as_u64().unwrap();
    assert_eq!(count("succeeded") + count("failed") + count("cancelled"), total, "{done}");
    assert_eq!(done["total"], total);
}

/// Waits until `model`'s work queues are empty.
fn drained(fleet: &Fleet, model: &str) {
    for queue in [format!("work.{model}"), format!("work.{model}.express")] {
        eventually("what waited is gone", || (fleet.waiting_in(&fleet.name(&queue)) == Some(0)).then_some(()));
    }
}

#[test]
fn a_cancelled_job_ends_within_seconds_and_what_waits_is_not_scored() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let _consumer = fleet.consumer("m", SCORER, &["--threads", "1", "--batch", "1"]);
    fleet.enqueue(&companies(&fleet, 5_000, 0), "m", "j", &[]).expect(0);
    let mut waiting = fleet.start_producer(&["watch", "j"]);
    fleet.mid_job("j", 5_000);
    let asked = Instant::now();
    let cancelled = fleet.producer(&["cancel", "j", "--output", "json"]).expect(0).json();
    assert!(asked.elapsed() < Duration::from_secs(5), "it took {:?}", asked.elapsed());
    assert_eq!(cancelled["state"], "cancelled");
    assert_adds_up(&cancelled, 5_000);
    waiting.wait(Duration::from_secs(5)).expect(1);
    drained(&fleet, "m");
    let record = fleet.finished("j");
    record.assert_rounds();
    assert_eq!(record.done[0]["data"], cancelled);
    assert!(record.outcomes.len() < 1_000, "{} companies were scored", record.outcomes.len());
    let again = fleet.producer(&["cancel", "j"]).expect(1);
    assert!(again.error().contains("that j ended as cancelled"), "{again:?}");
    assert!(fleet.producer(&["cancel", "other"]).expect(2).error().contains("\"other\""));
}

#[test]
fn who_enqueues_a_job_that_is_cancelled_meanwhile_stops_and_is_told() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let (mut producer, _rest) = fleet.unfinished_enqueue("j", 3_000, &["--wait"]);
    fleet.producer(&["cancel", "j"]).expect(0);
    let ended = producer.wait(Duration::from_secs(10)).expect(1);
    assert!(ended.stdout.contains("a person cancelled it"), "{ended:?}");
}

#[test]
fn a_consumer_that_starts_after_the_order_obeys_it_too() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    fleet.enqueue(&companies(&fleet, 2_000, 0), "m", "j", &[]).expect(0);
    fleet.producer(&["cancel", "j"]).expect(0);
    let _consumer = fleet.consumer("m", SCORER, &["--threads", "1"]);
    drained(&fleet, "m");
    assert_eq!(fleet.finished("j").outcomes.len(), 0);
}

#[test]
fn a_job_whose_producer_never_came_back_can_be_cancelled() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let (mut producer, _rest) = fleet.unfinished_enqueue("j", 3_000, &[]);
    producer.kill_9();
    let status = fleet.producer(&["status", "j"]).expect(0).stdout;
    assert!(status.contains("unsealed for") && status.contains("--continue j"), "{status}");
    assert_eq!(fleet.producer(&["cancel", "j", "--output", "json"]).expect(0).json()["state"], "cancelled");
}

#[test]
fn failures_are_tolerated_as_far_as_the_job_says() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let _consumer = fleet.consumer("m", SCORER, &["--threads", "2"]);
    let file = companies(&fleet, 20, 2);
    for (job, tolerated, code, state) in
        [("none", "0", 1, "failed"), ("two", "2", 0, "succeeded"), ("part", "10%", 0, "succeeded"), ("less", "9%", 1, "failed")]
    {
        let flags = ["--wait", "--output", "json", "--tolerate-failures", tolerated];
        let done = fleet.enqueue(&file, "m", job, &flags).expect(code).json();
        assert_eq!((&done["state"], &done["failed"], &done["succeeded"]), (&state.into(), &2.into(), &18.into()), "{done}");
    }
    assert!(fleet.enqueue(&file, "m", "x", &["--tolerate-failures", "few"]).expect(2).stderr.contains("1%"));
}

#[test]
fn a_job_that_fails_fast_ends_with_the_failure_that_is_one_too_many() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    fleet.enqueue(&companies(&fleet, 5_000, 3), "m", "j", &["--tolerate-failures", "2", "--fail-fast"]).expect(0);
    let _consumer = fleet.consumer("m", SCORER, &["--threads", "1"]);
    let done = fleet.start_producer(&["watch", "j", "--output", "json"]).wait(Duration::from_secs(60)).expect(1).json();
    assert_eq!((&done["state"], &done["failed"]), (&"failed".into(), &3.into()));
    assert!(done["cancelled"].as_u64().unwrap() > 4_000 && done["reason"].as_str().unwrap().contains('2'), "{done}");
    assert_adds_up(&done, 5_000);
    drained(&fleet, "m");
    fleet.finished("j").assert_rounds();
}

#[test]
fn a_job_that_is_not_done_by_its_deadline_expires() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let _consumer = fleet.consumer("m", SCORER, &["--threads", "1"]);
    let enqueue = ["--deadline", "3s", "--wait", "--output", "json"];
    let done = fleet.enqueue(&companies(&fleet, 5_000, 0), "m", "j", &enqueue).expect(1).json();
    assert_eq!(done["state"], "expired");
    assert!(done["duration_seconds"].as_f64().unwrap() < 10.0 && done["reason"].is_string(), "{done}");
    assert_adds_up(&done, 5_000);
    drained(&fleet, "m");
    fleet.finished("j").assert_rounds();
}
