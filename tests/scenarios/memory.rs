//! What memory may grow with, and what it must not.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::time::Duration;

use rollcall_tests::{Fleet, Process, SCORER, eventually, within};

/// A file of small rows.
fn rows(fleet: &Fleet, count: usize) -> PathBuf {
    let rows: String = (0..count).map(|row| format!("company-{row},x\n")).collect();
    fleet.file(&format!("{count}.csv"), format!("company_id,sector\n{rows}"))
}

/// Waits for a process's end, and returns its peak memory, in kB.
fn peak_kb_of(mut process: Process) -> u64 {
    let mut peak = 0;
    // The kernel keeps the peak, so the last sample before the end misses little.
    let ended = within(Duration::from_secs(240), "the process ends", || {
        peak = process.peak_kb().unwrap_or(peak);
        process.ended()
    });
    ended.expect(0);
    peak
}

/// The peak memory of enqueueing this many companies, in kB.
fn peak_kb(fleet: &Fleet, companies: usize) -> u64 {
    let file = rows(fleet, companies);
    peak_kb_of(fleet.start_enqueue(&file, "m", &format!("j{companies}"), &[]))
}

#[test]
fn a_file_four_times_as_long_takes_no_more_memory_to_enqueue() {
    let fleet = Fleet::fresh();
    let (short, long) = (peak_kb(&fleet, 50_000), peak_kb(&fleet, 200_000));
    assert!(long <= short + short / 10, "50,000 rows: {short} kB; 200,000 rows: {long} kB");
}

/// The memory limit, in kB, for any process while records and predictions are large.
const MOST_KB: u64 = 100_000;

fn assert_small(what: &str, peak_kb: u64) {
    assert!(peak_kb < MOST_KB, "{what} took {peak_kb} kB");
}

/// A file of records of 0.9 MB. Every other company fails; the prediction of the others is their record.
fn large_records(fleet: &Fleet, companies: usize) -> PathBuf {
    let file = fleet.path("large.jsonl");
    let mut rows = BufWriter::new(File::create(&file).unwrap());
    let text = "x".repeat(900_000);
    for row in 0..companies {
        let word = if row % 2 == 0 { "refuse" } else { "" };
        writeln!(rows, r#"{{"company_id":"c{row}","do":"{word}","text":"{text}"}}"#).unwrap();
    }
    file
}

#[test]
fn of_large_records_no_process_holds_many() {
    const COMPANIES: usize = 200;
    let fleet = Fleet::fresh();
    let (aggregator, consumer) = (fleet.aggregator(&[]), fleet.consumer("m", SCORER, &["--threads", "1"]));
    let file = large_records(&fleet, COMPANIES);
    let tolerant = &["--wait", "--tolerate-failures", "50%"];
    assert_small("enqueue", peak_kb_of(fleet.start_enqueue(&file, "m", "j", tolerant)));
    for arguments in [
        &["failures", "j"][..],
        &["results", "j"],
        &["results", "j", "--to", "r.jsonl"],
        &["results", "j", "--to", "r.csv"],
        &["results", "j", "--to", "r.parquet"],
        &["redrive", "j"],
    ] {
        assert_small(&arguments.join(" "), peak_kb_of(fleet.start_producer(arguments)));
    }
    eventually("the redrive is over", || (fleet.status("j")["state"] == "succeeded").then_some(()));
    assert_eq!(fs::read_to_string(fleet.path("r.jsonl")).unwrap().lines().count(), COMPANIES);
    assert_small("the consumer", consumer.peak_kb().unwrap());
    assert_small("the aggregator", aggregator.peak_kb().unwrap());
    // A standby that takes over reads all of the ledger at once.
    let later = fleet.aggregator(&[]);
    drop(aggregator);
    later.wait_until_event("counting");
    assert_small("the next aggregator", later.peak_kb().unwrap());
}

#[test]
fn of_large_predictions_no_process_holds_many() {
    const COMPANIES: usize = 80;
    let fleet = Fleet::fresh();
    let (aggregator, consumer) = (fleet.aggregator(&[]), fleet.consumer("m", SCORER, &["--threads", "1"]));
    let rows: String = (0..COMPANIES).map(|row| format!("c{row},large\n")).collect();
    let file = fleet.file("c.csv", format!("company_id,do\n{rows}"));
    fleet.enqueue(&file, "m", "j", &["--wait"]).expect(0);
    for arguments in [
        &["results", "j"][..],
        &["results", "j", "--to", "r.jsonl"],
        &["results", "j", "--to", "r.csv"],
        &["results", "j", "--to", "r.parquet"],
    ] {
        assert_small(&arguments.join(" "), peak_kb_of(fleet.start_producer(arguments)));
    }
    assert_eq!(fs::read_to_string(fleet.path("r.jsonl")).unwrap().lines().count(), COMPANIES);
    assert_small("the consumer", consumer.peak_kb().unwrap());
    assert_small("the aggregator", aggregator.peak_kb().unwrap());
}

#[test]
fn a_ledger_that_grows_beyond_a_segment_is_counted_on() {
    let fleet = Fleet::fresh();
    if !fleet.set_ledger_policy(r#"{"stream-max-segment-size-bytes":1000000}"#) {
        return;
    }
    let (_aggregator, _consumer) = (fleet.aggregator(&[]), fleet.demo_consumer());
    let companies = fleet.companies(2_000);
    fleet.enqueue(&companies, "questionnaire", "j", &["--wait"]).expect(0);
    fleet.finished("j").assert_counted_once(2_000);
    // A replay crosses the boundaries between segments too.
    let results = fleet.producer(&["results", "j", "--to", "x.jsonl", "--output", "json"]).expect(0).json();
    assert_eq!(results["rows"], 2_000);
}
