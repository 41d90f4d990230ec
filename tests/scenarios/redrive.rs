//! A redrive enqueues chosen companies of an ended job again, and their latest outcomes count.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use rollcall_tests::{Fleet, SCORER, eventually};
use serde_json::Value;

fn counts(done: &Value) -> [u64; 4] {
    ["total", "succeeded", "failed", "cancelled"].map(|key| done[key].as_u64().unwrap())
}

/// Redrives and waits; returns the done event's data.
fn redrive(fleet: &Fleet, more: &[&str], code: i32) -> Value {
    fleet.producer(&[&["redrive", "j", "--wait", "--output", "json"], more].concat()).expect(code).json()
}

pub(crate) const MENDED: &str = "command:/usr/bin/python3 tests/fixtures/scorer.py /dev/null mended";

const REFUSING: &str = "command:/usr/bin/python3 tests/fixtures/scorer.py /dev/null refusing";

#[test]
fn what_failed_for_a_cause_is_tried_again_with_a_mended_scorer_and_only_that() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let broken = fleet.consumer("m", SCORER, &["--threads", "1", "--max-attempts", "1"]);
    let file = fleet.file("c.csv", "company_id,do\na,\nb,busy\nc,refuse\nd,busy\ne,refuse\n");
    let done = fleet.enqueue(&file, "m", "j", &["--wait", "--output", "json"]).expect(1).json();
    assert_eq!(counts(&done), [5, 1, 4, 0]);
    let failures = fleet.producer(&["failures", "j", "--output", "json"]).expect(0).json();
    let causes: BTreeMap<&str, u64> = failures
        .as_array()
        .unwrap()
        .iter()
        .map(|cause| (cause["cause"].as_str().unwrap(), cause["count"].as_u64().unwrap()))
        .collect();
    assert_eq!(causes, [("busy", 2), ("no_data", 2)].into());
    let text = fleet.producer(&["failures", "j"]).expect(0).stdout;
    assert!(text.contains("b (index 1, attempt 1): try again later") && text.contains("--cause"), "{text}");
    drop(broken);
    let _mended = fleet.consumer("m", MENDED, &["--threads", "1"]);
    let done = redrive(&fleet, &["--cause", "busy"], 1);
    assert_eq!((counts(&done), &done["redrives"]), ([5, 3, 2, 0], &1.into()));
    let done = redrive(&fleet, &[], 0);
    assert_eq!((counts(&done), &done["state"], &done["redrives"]), ([5, 5, 0, 0], &"succeeded".into(), &2.into()));
    let record = fleet.finished("j");
    record.assert_rounds();
    let ids: Vec<&str> = record.done.iter().map(|done| done["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["j/done", "j/done/1", "j/done/2"]);
    let tried: Vec<usize> = record.outcomes.values().map(Vec::len).collect();
    assert_eq!(tried, [1, 2, 2, 2, 2], "exactly those");
    assert_results(&fleet, &[("a", "succeeded"), ("b", "succeeded"), ("c", "succeeded"), ("d", "succeeded"), ("e", "succeeded")]);
    let nothing = fleet.producer(&["redrive", "j"]).expect(2);
    assert!(nothing.error().contains("found none"), "{nothing:?}");
}

/// Asserts that the job's results are these, one per company, in any order.
fn assert_results(fleet: &Fleet, expected: &[(&str, &str)]) {
    fleet.producer(&["results", "j", "--to", "r.jsonl"]).expect(0);
    let text = fs::read_to_string(fleet.path("r.jsonl")).unwrap();
    let mut results: Vec<(String, String)> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|row| (row["company_id"].as_str().unwrap().to_owned(), row["outcome"].as_str().unwrap().to_owned()))
        .collect();
    results.sort();
    assert_eq!(results, expected.iter().map(|(id, outcome)| ((*id).to_owned(), (*outcome).to_owned())).collect::<Vec<_>>());
}

#[test]
fn what_a_cancelled_job_lacks_is_enqueued_from_its_file_and_the_job_is_whole() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let rows: String = (0..2_000).map(|index| format!("c{index},{}\n", if index < 100 { "" } else { "slow" })).collect();
    let file = fleet.file("c.csv", format!("company_id,do\n{rows}"));
    let slow = fleet.consumer("m", SCORER, &["--threads", "1", "--batch", "1"]);
    fleet.enqueue(&file, "m", "j", &[]).expect(0);
    fleet.mid_job("j", 2_000);
    fleet.producer(&["cancel", "j"]).expect(0);
    drop(slow);
    let path = Path::to_str(&file).unwrap();
    let refused = fleet.producer(&["redrive", "j", "--missing"]).expect(2);
    assert!(refused.error().contains("--file"), "what was never scored is not in the ledger: {refused:?}");
    let short = fleet.file("short.csv", "company_id,do\na,\n");
    let refused = fleet.producer(&["redrive", "j", "--missing", "--file", short.to_str().unwrap()]).expect(2);
    assert!(refused.error().contains("2,000 companies"), "{refused:?}");
    let _mended = fleet.consumer("m", MENDED, &["--threads", "1"]);
    let done = redrive(&fleet, &["--missing", "--file", path], 0);
    assert_eq!((counts(&done), &done["state"]), ([2_000, 2_000, 0, 0], &"succeeded".into()));
    let fetched = fleet.producer(&["results", "j", "--to", "r.csv", "--output", "json"]).expect(0).json();
    assert_eq!(fetched["rows"], 2_000);
    fleet.finished("j").assert_rounds();
}

#[test]
fn a_job_that_was_cancelled_in_mid_file_is_whole_only_when_it_is_redriven_from_the_whole_file() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let (mut producer, _rest) = fleet.unfinished_enqueue("j", 3_000, &[]);
    eventually("the ledger has a position", || (fleet.status("j")["enqueued"].as_u64() > Some(10)).then_some(()));
    fleet.producer(&["cancel", "j"]).expect(0);
    producer.kill_9();
    let missing = |rows: usize| {
        let rows: String = (0..rows).map(|row| format!("{row}\n")).collect();
        let file = fleet.file("whole.csv", format!("company_id\n{rows}"));
        fleet.producer(&["redrive", "j", "--missing", "--file", file.to_str().unwrap(), "--wait", "--output", "json"])
    };
    let refused = missing(10).expect(2);
    assert!(refused.error().contains("at least"), "it has fewer rows than were enqueued: {refused:?}");
    let _consumer = fleet.consumer("m", SCORER, &["--threads", "1"]);
    let done = missing(5_000).expect(0).json();
    assert_eq!((counts(&done), &done["state"]), ([5_000, 5_000, 0, 0], &"succeeded".into()));
    fleet.finished("j").assert_rounds();
}

#[test]
fn what_is_left_of_a_redrive_of_a_job_that_was_cut_short_are_its_companies_and_no_others() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let refusing = fleet.consumer("m", REFUSING, &["--threads", "1"]);
    let (mut producer, _rest) = fleet.unfinished_enqueue("j", 3_000, &[]);
    eventually("some companies have failed", || (fleet.status("j")["failed"].as_u64() > Some(100)).then_some(()));
    fleet.producer(&["cancel", "j"]).expect(0);
    producer.kill_9();
    drop(refusing);
    let cut = fleet.status("j");
    fleet.producer(&["redrive", "j", "--cause", "no_data"]).expect(0);
    // As if its producer had been killed before it enqueued them.
    fleet.purge(&fleet.name("work.m"));
    let _mended = fleet.consumer("m", MENDED, &["--threads", "1"]);
    let done = redrive(&fleet, &["--missing"], 1);
    let [total, failed] = ["total", "failed"].map(|key| cut[key].as_u64().unwrap());
    assert_eq!((counts(&done), &done["state"]), ([total, failed, 0, total - failed], &"cancelled".into()));
    fleet.finished("j").assert_rounds();
}

#[test]
fn named_companies_are_done_again_with_the_records_of_a_mended_file() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let _consumer = fleet.consumer("m", SCORER, &["--threads", "1"]);
    let file = fleet.file("c.csv", "company_id,do\na,\nb,refuse\nc,\n");
    fleet.enqueue(&file, "m", "j", &["--wait"]).expect(1);
    let mended = fleet.file("mended.csv", "company_id,do\na,refuse\nb,\nc,\n");
    let done = redrive(&fleet, &["--index", "0-1", "--file", mended.to_str().unwrap()], 1);
    assert_eq!(counts(&done), [3, 2, 1, 0]);
    assert_results(&fleet, &[("a", "failed"), ("b", "succeeded"), ("c", "succeeded")]);
    fleet.finished("j").assert_rounds();
    let sorted = fleet.file("sorted.csv", "company_id,do\nc,\nb,\na,\n");
    let refused = fleet.producer(&["redrive", "j", "--index", "1", "--file", sorted.to_str().unwrap()]).expect(2);
    assert!(["row 1", "\"a\"", "\"c\"", "same order"].iter().all(|words| refused.error().contains(words)), "{refused:?}");
    let pipe = fleet.path("pipe.csv");
    assert!(fleet.command("mkfifo").arg(&pipe).status().unwrap().success());
    let pipe = pipe.to_str().unwrap();
    for (more, words) in [
        (["--file", pipe], "read twice"),
        (["--index", "3"], "0 to 2"),
        (["--index", "x"], "3,17-20"),
        (["--cause", "no_such"], "no_such"),
    ] {
        let refused = fleet.producer(&["redrive", "j", more[0], more[1]]).expect(2);
        assert!(refused.stderr.contains(words), "{refused:?}");
    }
}

#[test]
fn companies_that_got_lost_on_the_broker_are_enqueued_again_while_the_job_waits_for_them() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let file = fleet.companies(200);
    fleet.enqueue(&file, "questionnaire", "j", &[]).expect(0);
    fleet.purge(&fleet.name("work.questionnaire"));
    let _consumer = fleet.quick_consumer();
    let running = fleet.producer(&["redrive", "j"]).expect(2);
    assert!(running.error().contains("--missing"), "{running:?}");
    fleet.producer(&["redrive", "j", "--missing", "--file", file.to_str().unwrap(), "--wait"]).expect(0);
    fleet.finished("j").assert_counted_once(200);
}

#[test]
fn what_a_too_short_retention_has_taken_from_the_ledger_is_told_once_and_can_be_done_again() {
    let fleet = Fleet::fresh();
    if !fleet.set_ledger_policy(r#"{"stream-max-segment-size-bytes":1000000,"max-length-bytes":2000000}"#) {
        return;
    }
    let mut stopped = fleet.aggregator(&[]);
    let file = fleet.companies(4_000);
    fleet.enqueue(&file, "questionnaire", "j", &[]).expect(0);
    eventually("the job is known", || (fleet.status("j")["total"] == 4_000).then_some(()));
    stopped.terminate();
    stopped.wait(Duration::from_secs(10)).expect(0);
    let _consumer = fleet.demo_consumer();
    eventually("all are scored", || (fleet.waiting_in(&fleet.name("work.questionnaire")) == Some(0)).then_some(()));
    let aggregator = fleet.aggregator(&[]);
    aggregator.wait_until_event("ledger_gap");
    assert!(fleet.status("j")["succeeded"].as_u64().unwrap() < 4_000);
    assert_eq!(fleet.stderr_of_all("aggregator").matches("ERROR").count(), 1);
    assert!(fleet.set_ledger_policy(r#"{"max-length-bytes":1000000000}"#), "retention is mended first");
    let redrive = ["redrive", "j", "--missing", "--file", file.to_str().unwrap(), "--wait", "--output", "json"];
    assert_eq!(counts(&fleet.producer(&redrive).expect(0).json()), [4_000, 4_000, 0, 0]);
}

#[test]
fn a_redrive_that_is_interrupted_leaves_the_job_open_and_says_how_to_finish_it() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let (mut producer, _rest) = fleet.unfinished_enqueue("j", 3_000, &[]);
    producer.interrupt();
    producer.wait(Duration::from_secs(10)).expect(130);
    fleet.finished("j");
    let file = fleet.path("a file");
    fs::rename(fleet.companies(100_000), &file).unwrap();
    let missing = ["redrive", "j", "--missing", "--file", file.to_str().unwrap(), "--format", "csv"];
    let mut redrive = fleet.start_producer(&missing);
    eventually("the redrive has begun", || (fleet.status("j")["redrives"] == 1).then_some(()));
    redrive.interrupt();
    let ended = redrive.wait(Duration::from_secs(10)).expect(130);
    let rest = format!("`producer redrive j --missing --file '{}' --format csv`", file.display());
    assert!(ended.error().contains(&rest) && !ended.error().contains("cancelled"), "{ended:?}");
    let status = fleet.status("j");
    assert!(status["done_at"].is_null() && status["total"] == 100_000, "{status}");
    assert!(fleet.producer(&["status", "j"]).expect(0).stdout.contains("redrive 1 is under way"));
    fleet.producer(&["cancel", "j"]).expect(0);
    let cancelled: Vec<u64> = named(&fleet, "cancelled").iter().map(|data| data["redrives"].as_u64().unwrap_or(0)).collect();
    assert_eq!(cancelled, [0, 1]);
    fleet.finished("j").assert_rounds();
}

/// The data of the job's events of this name.
fn named(fleet: &Fleet, name: &str) -> Vec<Value> {
    fleet.ledger("j").events.into_iter().filter(|(of, _)| of == name).map(|(_, data)| data).collect()
}
