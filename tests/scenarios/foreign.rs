//! Messages that other programs publish.

use std::path::PathBuf;
use std::time::Duration;

use rollcall_tests::{Fleet, SCORER, eventually, free_address, metrics, value};
use serde_json::{Value, json};

fn three(fleet: &Fleet) -> PathBuf {
    fleet.file("three.csv", "company_id,do\na,\nb,\nc,\n")
}

fn somebodys_event(fleet: &Fleet, job: &str, name: &str, mut data: Value) {
    data["job"] = job.into();
    let kind = format!("rollcall.job.{name}");
    let event = json!({ "specversion": "1.0", "id": format!("{job}/{name}"), "source": "/rollcall", "type": kind, "subject": job,
        "time": "2026-01-01T00:00:00.000Z", "datacontenttype": "application/json", "data": data });
    fleet.publish_from_python("events", &format!("job.{job}.{name}"), &kind, &json!({}), &event.to_string());
}

fn somebodys_result(fleet: &Fleet, job: &str, index: u32) {
    let headers = json!({ "job": job, "index": index, "outcome": "succeeded", "attempt": 1 });
    fleet.publish_from_python("results", &format!("m.{job}.succeeded"), "rollcall.result.v1", &headers, "{}");
}

fn a_done_event(total: u64) -> Value {
    json!({ "model": "m", "state": "succeeded", "total": total, "succeeded": total, "failed": 0, "cancelled": 0, "duplicates": 0,
        "retries": 0, "opened_at": null, "done_at": "2026-01-01T00:00:00.000Z", "duration_seconds": 1.0, "companies_per_second": 1.0,
        "causes": [] })
}

#[test]
fn a_made_up_done_event_ends_neither_a_job_nor_those_who_wait_for_it() {
    let fleet = Fleet::fresh();
    let address = free_address();
    let aggregator = fleet.aggregator(&["--metrics-addr", &address.to_string()]);
    let mut waiting = fleet.start_enqueue(&three(&fleet), "m", "j", &["--wait", "--output", "json"]);
    eventually("the job is sealed", || (fleet.status("j")["state"] == "running").then_some(()));
    let mut watching = fleet.start_producer(&["watch", "j", "--output", "json"]);
    watching.wait_until_it_says("no consumer takes work");
    for _ in 0..3 {
        somebodys_event(&fleet, "j", "done", a_done_event(999));
    }
    let ignored = || value(&metrics(address), r#"rollcall_ignored_records_total{why="contradiction"}"#);
    eventually("they are counted as what they are", || (ignored() == Some(3.0)).then_some(()));
    assert_eq!(aggregator.times_it_says("event=\"record_ignored\""), 1, "one line of log for many");
    assert_eq!((&fleet.status("j")["state"], &fleet.status("j")["done_at"]), (&"running".into(), &Value::Null));
    assert!(waiting.ended().is_none() && watching.ended().is_none());
    let _consumer = fleet.consumer("m", SCORER, &["--threads", "1"]);
    for process in [&mut waiting, &mut watching] {
        let done = process.wait(Duration::from_secs(60)).expect(0).json();
        assert_eq!((&done["total"], &done["succeeded"]), (&3.into(), &3.into()), "{done}");
    }
    let totals: Vec<Value> = fleet.finished("j").done.iter().map(|done| done["data"]["total"].clone()).collect();
    assert_eq!(totals, [999, 999, 999, 3], "the aggregator has said it once, and all the same");
}

#[test]
fn a_made_up_index_is_no_number_of_companies() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let (mut producer, _rest) = fleet.unfinished_enqueue("j", 3_000, &[]);
    let enqueued =
        eventually("the ledger has a position", || fleet.status("j")["enqueued"].as_u64().filter(|&enqueued| enqueued > 0));
    somebodys_result(&fleet, "j", u32::MAX);
    eventually("it is counted", || (fleet.status("j")["succeeded"] == 1).then_some(()));
    producer.kill_9();
    let done = fleet.producer(&["cancel", "j", "--output", "json"]).expect(0).json();
    assert!(enqueued <= 3_000 && done["total"].as_u64() <= Some(3_000) && done["cancelled"].as_u64() <= Some(3_000), "{done}");
    let (mut producer, _rest) = fleet.unfinished_enqueue("k", 3_000, &[]);
    somebodys_result(&fleet, "k", u32::MAX);
    eventually("it is counted", || (fleet.status("k")["succeeded"] == 1).then_some(()));
    producer.interrupt();
    producer.wait(Duration::from_secs(10)).expect(130);
    let done = fleet.producer(&["watch", "k", "--output", "json"]).expect(1).json();
    let (total, left) = (done["total"].as_u64().unwrap(), done["cancelled"].as_u64().unwrap());
    assert!(total == left && (1..=3_000).contains(&total) && done["succeeded"] == 0, "its producer published the total: {done}");
}

#[test]
fn what_is_said_of_a_job_that_nobody_opened_makes_no_job_and_counts_once_it_is_opened() {
    let fleet = Fleet::fresh();
    let aggregator = fleet.aggregator(&[]);
    aggregator.wait_until_it_says("event=\"counting\"");
    somebodys_result(&fleet, "other", 0);
    somebodys_event(&fleet, "other", "paused", json!({ "at": "" }));
    somebodys_event(&fleet, "other", "done", a_done_event(1));
    somebodys_result(&fleet, "j", 0);
    somebodys_event(&fleet, "j", "sealed", json!({ "total": 2 }));
    aggregator.wait_until_it_says("why=\"not_opened\"");
    assert_eq!(fleet.producer(&["status", "--output", "json"]).expect(0).json(), json!([]));
    for command in ["status", "watch", "cancel"] {
        assert!(fleet.producer(&[command, "other"]).expect(2).error().contains("\"other\""));
    }
    let opened = json!({ "model": "m", "source": "theirs", "opened_at": "2026-01-01T00:00:00Z" });
    somebodys_event(&fleet, "j", "opened", opened.clone());
    let status = fleet.status("j");
    assert_eq!(json!([status["total"], status["succeeded"], status["state"]]), json!([2, 1, "running"]));
    somebodys_event(
        &fleet,
        "j",
        "opened",
        json!({ "model": "other", "source": "another's", "opened_at": "2026-01-01T00:00:01Z" }),
    );
    somebodys_event(&fleet, "j", "expired", json!({ "deadline_at": "2026-01-01T00:00:01Z" }));
    somebodys_result(&fleet, "j", 1);
    let done = fleet.producer(&["watch", "j", "--output", "json"]).expect(0).json();
    assert_eq!(json!([done["total"], done["succeeded"], done["model"]]), json!([2, 2, "m"]));
    assert_eq!(fleet.producer(&["results", "j", "--to", "x.csv", "--output", "json"]).expect(0).json()["rows"], 2);
}

#[test]
fn an_opening_whose_deadline_is_no_time_is_refused_and_says_so() {
    let fleet = Fleet::fresh();
    let aggregator = fleet.aggregator(&[]);
    aggregator.wait_until_it_says("event=\"counting\"");
    for deadline in [json!({ "deadline_at": "soon" }), json!({ "deadline_seconds": -1 }), json!({ "deadline_at": "" })] {
        let mut opened = json!({ "model": "m", "source": "theirs", "opened_at": "2026-01-01T00:00:00Z" });
        opened.as_object_mut().unwrap().extend(deadline.as_object().unwrap().clone());
        somebodys_event(&fleet, "j", "opened", opened);
    }
    eventually("each is refused", || (aggregator.times_it_says("event=\"malformed_record\"") == 3).then_some(()));
    assert_eq!(fleet.producer(&["status", "--output", "json"]).expect(0).json(), json!([]));
}
