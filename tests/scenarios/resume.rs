//! A producer is killed in the middle of its file, and another continues.

use std::fs;

use rollcall_tests::{Fleet, SCORER, eventually};
use serde_json::Value;

#[test]
fn a_killed_producer_is_followed_by_one_that_goes_on_with_the_same_file() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let _consumer = fleet.consumer("m", SCORER, &["--threads", "1"]);
    let companies = fs::read_to_string(fleet.companies(40_000)).unwrap();
    let file = fleet.file("companies.txt", companies.replacen("company_id", "id", 1));
    let asked = ["--max-attempts", "2", "--format", "csv", "--id-column", "id"];
    let mut killed = fleet.start_enqueue(&file, "m", "j", &asked);
    let enqueued =
        eventually("the ledger has a position", || fleet.status("j")["enqueued"].as_u64().filter(|&enqueued| enqueued > 0));
    killed.kill_9();
    assert_eq!(fleet.status("j")["state"], "unsealed", "the job was sealed before the test has begun: make it longer");
    let path = file.to_str().unwrap();
    let resume = |file: &str, more: &[&str]| fleet.producer(&[&["enqueue", "--continue", "j", file], more].concat());
    let mut other = fs::read(&file).unwrap();
    other.push(b'\n');
    let other = fleet.file("other.csv", other);
    let refused = resume(other.to_str().unwrap(), &[]).expect(2);
    assert!(refused.error().contains("the file that job j was opened with"), "{refused:?}");
    for (other, then) in [
        (&["--model", "other"][..], "--model m,"),
        (&["--format", "jsonl"], "--format csv,"),
        (&["--id-column", "other"], "--id-column id,"),
        (&["--max-record-bytes", "5"], "--max-record-bytes 1048576,"),
        (&["--allow-duplicate-ids"], "no --allow-duplicate-ids,"),
    ] {
        let refused = resume(path, other).expect(2);
        assert!(refused.error().contains(then), "{refused:?}");
    }
    let resumed = resume(path, &["--wait", "--format", "csv"]).expect(0);
    assert!(resumed.stderr.contains("going on after"), "{resumed:?}");
    let record = fleet.finished("j");
    record.assert_counted_once(40_000);
    let id_of_the_file = |body: Value| body["company_id"].as_str().unwrap().starts_with("synthetic-");
    assert!(record.bodies().all(id_of_the_file), "its rows were not read as they were");
    assert!(enqueued < 40_000);
    let again = resume(path, &[]).expect(2);
    assert!(again.error().contains("has ended") || again.error().contains("rest of its file"), "{again:?}");
}

#[test]
fn what_came_by_standard_input_cannot_be_resumed() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let (mut producer, _rest) = fleet.unfinished_enqueue("j", 2_000, &[]);
    producer.kill_9();
    let file = fleet.file("c.csv", "company_id\na\n");
    // Scripts may still say --resume.
    for flag in ["--continue", "--resume"] {
        let refused = fleet.producer(&["enqueue", flag, "j", file.to_str().unwrap()]).expect(2);
        assert!(refused.error().contains("cannot be read again"), "{refused:?}");
    }
}
