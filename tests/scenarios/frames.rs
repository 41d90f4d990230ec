//! Brokers with a maximum frame size other than RabbitMQ's default.

use std::fs;

use rollcall_tests::{Broker, Fleet, Process, SCORER};

/// The memory limit, in kB, for a process that does little.
const MOST_KB: u64 = 100_000;

/// Runs a job through a broker that allows frames of `most` bytes; 0 is unlimited.
fn job_with_frames_of(most: u32) {
    let Some(broker) = Broker::private() else { return };
    let version = broker.evaluate("rabbit_misc:version().");
    let least = if version.contains("\"3.") || version.contains("\"4.0.") { 4_096 } else { 8_192 };
    let most = if most == LEAST { least } else { most };
    broker.evaluate(&format!("application:set_env(rabbit, frame_max, {most})."));
    let fleet = Fleet::on(&broker);
    let (aggregator, consumer) = (fleet.aggregator(&[]), fleet.consumer("m", SCORER, &["--threads", "1"]));
    // Larger than the smallest frame, in both directions.
    let text = "x".repeat(20_000);
    let file = fleet.file("c.csv", format!("company_id,text\na,{text}\nb,{text}\nc,\n"));
    fleet.enqueue(&file, "m", "j", &["--wait"]).expect(0);
    fleet.producer(&["results", "j", "--to", "r.jsonl"]).expect(0);
    assert_eq!(fs::read_to_string(fleet.path("r.jsonl")).unwrap().lines().count(), 3);
    let take = |process: &Process| process.peak_kb().unwrap();
    assert!(take(&aggregator) < MOST_KB && take(&consumer) < MOST_KB, "{} kB, {} kB", take(&aggregator), take(&consumer));
}

/// Stands for the smallest maximum: 4,096 bytes up to RabbitMQ 4.0, 8,192 in later versions.
const LEAST: u32 = 1;

#[test]
fn a_broker_without_a_limit_of_frames_costs_no_memory() {
    job_with_frames_of(0);
}

#[test]
fn a_broker_that_allows_frames_of_ten_megabytes_costs_no_memory() {
    job_with_frames_of(10 << 20);
}

#[test]
fn a_broker_with_the_smallest_frames_that_it_may_have_takes_a_job() {
    job_with_frames_of(LEAST);
}
