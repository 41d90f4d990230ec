//! What may grow with a job, and what must not.

use std::path::PathBuf;
use std::time::Duration;

use rollcall_tests::{Fleet, eventually};

/// A file of small rows.
fn rows(fleet: &Fleet, count: usize) -> PathBuf {
    let rows: String = (0..count).map(|row| format!("company-{row},x\n")).collect();
    fleet.file(&format!("{count}.csv"), format!("company_id,sector\n{rows}"))
}

/// The most memory that enqueueing so many companies takes, in kB.
fn peak_kb(fleet: &Fleet, companies: usize) -> u64 {
    let file = rows(fleet, companies);
    let mut producer = fleet.start_enqueue(&file, "m", &format!("j{companies}"), &[]);
    let mut peak = 0;
    // The kernel keeps the peak; the last look before its end has nearly all of it.
    eventually(&format!("{companies} companies are enqueued"), || match producer.peak_kb() {
        Some(now) => {
            peak = now;
            None
        }
        None => Some(()),
    });
    producer.wait(Duration::from_secs(10)).expect(0);
    peak
}

#[test]
fn a_file_ten_times_as_long_takes_no_more_memory_to_enqueue() {
    let fleet = Fleet::fresh();
    let (short, long) = (peak_kb(&fleet, 20_000), peak_kb(&fleet, 200_000));
    assert!(long <= short + short / 10, "20,000 rows: {short} kB; 200,000 rows: {long} kB");
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
    // A replay meets the seams between segments, too.
    let results = fleet.producer(&["results", "j", "--to", "x.jsonl", "--output", "json"]).expect(0).json();
    assert_eq!(results["rows"], 2_000);
}
