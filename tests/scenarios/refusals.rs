//! The broker refuses an operation while processes work, for want of a permission or because of a limit: no process ends, and
//! the refusal is logged until the operation succeeds.

use std::time::Duration;

use rollcall_tests::{Fleet, SCORER, eventually};
use serde_json::json;

/// For a small job, on a busy machine.
const SOON: Duration = Duration::from_secs(60);

fn companies(fleet: &Fleet, count: usize, what: &str) -> std::path::PathBuf {
    let rows: String = (0..count).map(|index| format!("c{index},{what}\n")).collect();
    fleet.file(&format!("{what}-{count}.csv"), format!("company_id,do\n{rows}"))
}

#[test]
fn a_right_that_is_taken_away_in_mid_work_is_waited_for_and_the_job_goes_on_when_it_is_given_back() {
    let fleet = Fleet::fresh();
    let mut aggregator = fleet.aggregator(&[]);
    let mut consumer = fleet.consumer("m", SCORER, &["--threads", "1", "--batch", "1"]);
    fleet.enqueue(&companies(&fleet, 100, "slow"), "m", "j", &[]).expect(0);
    fleet.mid_job("j", 100);
    if fleet.rabbitmqctl("set_permissions", &["guest", "^nothing$", ".*", ".*"]).is_none() {
        return;
    }
    fleet.rabbitmqctl("close_all_connections", &["an operator cut it"]);
    for process in [&aggregator, &consumer] {
        process.wait_until_event("broker_refuses");
    }
    assert!(aggregator.ended().is_none() && consumer.ended().is_none(), "they wait");
    fleet.rabbitmqctl("set_permissions", &["guest", ".*", ".*", ".*"]);
    fleet.finished("j").assert_counted_once(100);
}

#[test]
fn the_permissions_that_readme_has_are_enough_for_every_program() {
    let fleet = Fleet::fresh();
    let readme = include_str!("../../README.md");
    let command = readme.lines().find(|line| line.starts_with("rabbitmqctl set_permissions ")).unwrap();
    let patterns: Vec<&str> = command.split('\'').skip(1).step_by(2).collect();
    assert_eq!(patterns.len(), 3, "{command}");
    if fleet.rabbitmqctl("set_permissions", &[&["guest"], &patterns[..]].concat()).is_none() {
        return;
    }
    let _aggregator = fleet.aggregator(&[]);
    let file = companies(&fleet, 3, "");
    fleet.enqueue(&file, "m", "j", &[]).expect(0);
    fleet.producer(&["pause", "j"]).expect(0);
    let mut watch = fleet.start_producer(&["watch", "j"]);
    watch.wait_until_it_says("producer resume j");
    let consumer = fleet.consumer("m", SCORER, &["--threads", "1"]);
    let paused = fleet.name("paused.j");
    eventually("its companies are set aside", || (fleet.waiting_in(&paused) == Some(3)).then_some(()));
    fleet.producer(&["resume", "j"]).expect(0);
    watch.wait(SOON).expect(0);
    fleet.producer(&["redrive", "j", "--index", "0", "--file", file.to_str().unwrap(), "--wait"]).expect(0);
    fleet
        .enqueue(&companies(&fleet, 1, "busy"), "m", "retried", &["--wait", "--max-attempts", "2", "--retry-delays", "1s"])
        .expect(1);
    for arguments in [&["status"][..], &["results", "j"], &["failures", "retried"]] {
        fleet.producer(arguments).expect(0);
    }
    drop(consumer);
    fleet.ledger("j").assert_rounds();
}

#[test]
fn queues_of_one_model_that_cannot_be_had_hold_up_no_other_and_are_had_when_they_can() {
    let fleet = Fleet::fresh();
    let aggregator = fleet.aggregator(&[]);
    let _consumer = fleet.consumer("m", SCORER, &["--threads", "1"]);
    fleet.enqueue(&companies(&fleet, 5, ""), "m", "first", &["--wait"]).expect(0);
    fleet.enqueue(&companies(&fleet, 3, ""), "idle", "resumed", &[]).expect(0);
    fleet.producer(&["pause", "resumed"]).expect(0);
    if fleet.rabbitmqctl("set_vhost_limits", &[r#"{"max-queues": 1}"#]).is_none() {
        return;
    }
    // A job of a model that has no queues yet, opened as another program might; and one whose queue of paused companies does
    // not exist.
    let opened = json!({
        "specversion": "1.0", "id": "other/opened", "source": "/", "type": "rollcall.job.opened", "subject": "other",
        "time": "2027-01-01T00:00:00Z", "datacontenttype": "application/json",
        "data": {"job": "other", "model": "other", "source": "-", "opened_at": "2027-01-01T00:00:00Z"},
    });
    fleet.publish_from_python("events", "job.other.opened", "rollcall.job.opened", &json!({}), &opened.to_string());
    fleet.producer(&["resume", "resumed"]).expect(0);
    aggregator.wait_until_it_says("rollcall.dead.other");
    aggregator.wait_until_it_says("rollcall.paused.resumed");
    assert!(aggregator.times_event("queue_refused") > 0 && aggregator.stderr().contains("queue limit"));
    fleet.enqueue(&companies(&fleet, 5, ""), "m", "second", &[]).expect(0);
    fleet.finished("second").assert_counted_once(5);
    fleet.producer(&["cancel", "other"]).expect(0);
    fleet.rabbitmqctl("clear_vhost_limits", &[]);
    let queue = fleet.name("paused.resumed");
    eventually("its queue is declared after all", || fleet.waiting_in(&queue));
    assert_eq!(aggregator.times_event("became_leader"), 1);
}

#[test]
fn a_paused_job_whose_queue_cannot_be_had_holds_up_no_other_job_of_its_model_and_is_scored_when_it_is_resumed() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let consumer = fleet.consumer("m", SCORER, &["--threads", "1", "--batch", "1", "--prefetch", "4"]);
    fleet.enqueue(&companies(&fleet, 60, "slow"), "m", "paused", &[]).expect(0);
    if fleet.rabbitmqctl("set_vhost_limits", &[r#"{"max-queues": 1}"#]).is_none() {
        return;
    }
    fleet.producer(&["pause", "paused"]).expect(0);
    consumer.wait_until_event("queue_refused");
    assert!(consumer.stderr().contains("set_vhost_limits"), "{}", consumer.stderr());
    fleet.enqueue(&companies(&fleet, 10, "slow"), "m", "other", &[]).expect(0);
    fleet.finished("other").assert_counted_once(10);
    assert!(fleet.ledger("paused").done.is_empty());
    fleet.producer(&["resume", "paused"]).expect(0);
    fleet.finished("paused").assert_counted_once(60);
    fleet.rabbitmqctl("clear_vhost_limits", &[]);
}
