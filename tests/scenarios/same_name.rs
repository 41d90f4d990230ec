//! Two producers that use the same job name.

use std::io::{PipeWriter, Write, pipe};
use std::path::PathBuf;
use std::time::Duration;

use rollcall_tests::{Fleet, Process, SCORER, eventually};

const SOON: Duration = Duration::from_secs(60);

/// A file of this many companies, whose ids begin with the file's name.
fn file(fleet: &Fleet, name: &str, companies: usize) -> PathBuf {
    let rows: String = (0..companies).map(|row| format!("{name}{row},\n")).collect();
    fleet.file(&format!("{name}.csv"), format!("company_id,do\n{rows}"))
}

/// Asserts that the counted companies of `job` are those of the file of this name, and all of them.
fn assert_is_of(fleet: &Fleet, job: &str, name: &str, companies: u64) {
    let record = fleet.finished(job);
    record.assert_counted_once(companies);
    let is_of_it = |body: serde_json::Value| body["company_id"].as_str().unwrap().starts_with(name);
    assert!(record.bodies().all(is_of_it), "{job} has companies of another file than {name}");
    let to = format!("{job}.csv");
    fleet.producer(&["results", job, "--to", &to]).expect(0);
    let rows = std::fs::read_to_string(fleet.path(&to)).unwrap();
    assert!(rows.lines().skip(1).all(|row| row.split(',').nth(1).unwrap().starts_with(name)), "{rows}");
}

#[test]
fn of_two_producers_that_choose_the_same_name_at_the_same_time_one_has_it_and_the_other_enqueues_nothing() {
    let fleet = Fleet::fresh();
    let aggregator = fleet.aggregator(&[]);
    aggregator.wait_until_event("counting");
    let _consumer = fleet.consumer("m", SCORER, &["--threads", "1"]);
    let files = [("a", 50), ("b", 70)].map(|(name, companies)| (name, companies, file(&fleet, name, companies)));
    for round in 0..4 {
        let job = format!("same-{round}");
        let wait: &[&str] = if round % 2 == 0 { &["--wait"] } else { &[] };
        let mut producers = files.each_ref().map(|(_, _, file)| fleet.start_enqueue(file, "m", &job, wait));
        let ended = producers.each_mut().map(|producer| producer.wait(SOON));
        let codes = ended.each_ref().map(|ended| ended.code.unwrap());
        assert!(codes == [0, 2] || codes == [2, 0], "{ended:?}");
        let (winner, loser) = if codes[0] == 0 { (0, 1) } else { (1, 0) };
        let refused = ended[loser].error();
        assert!(refused.contains(&format!("expected a new name for --job, found {job}")), "{refused}");
        let (name, companies, _) = &files[winner];
        assert_is_of(&fleet, &job, name, *companies as u64);
        let others = fleet.ledger(&job).others;
        assert!(others.iter().all(|(event, _)| event == "opened"), "the other has said more than its opening: {others:?}");
    }
}

#[test]
fn of_two_that_nobody_could_tell_of_one_another_only_the_first_is_counted_and_who_waits_for_the_other_is_told() {
    let fleet = Fleet::fresh();
    let _consumer = fleet.consumer("m", SCORER, &["--threads", "1"]);
    let [first, second] = [("a", 50), ("b", 70)].map(|(name, companies)| file(&fleet, name, companies));
    fleet.enqueue(&first, "m", "j", &[]).expect(0);
    let mut other = fleet.start_enqueue(&second, "m", "j", &["--wait"]);
    eventually("the other is enqueued too", || fleet.ledger("j").others.iter().any(|(event, _)| event == "sealed").then_some(()));
    let _aggregator = fleet.aggregator(&[]);
    let refused = other.wait(SOON).expect(2);
    assert!(refused.stderr.contains("another producer opened first"), "{refused:?}");
    assert!(refused.stderr.contains("none of the 70 companies"), "{refused:?}");
    assert_is_of(&fleet, "j", "a", 50);
}

#[test]
fn a_producer_that_learns_in_mid_file_that_the_name_is_anothers_stops_there_and_leaves_that_job_alone() {
    let fleet = Fleet::fresh();
    let (_first, _rest) = unfinished(&fleet, 3_000);
    let queue = fleet.name("work.m");
    eventually("the first enqueues", || fleet.waiting_in(&queue).filter(|&companies| companies > 0));
    let (mut second, _others_rest) = unfinished(&fleet, 3_000);
    eventually("the second has opened its job too", || (!fleet.ledger("j").others.is_empty()).then_some(()));
    let _aggregator = fleet.aggregator(&[]);
    let refused = second.wait(SOON).expect(2);
    assert!(refused.stderr.contains("another producer opened first"), "{refused:?}");
    assert_eq!(fleet.status("j")["state"], "unsealed", "the first's job is neither sealed nor cancelled");
    let others = fleet.ledger("j").others;
    assert!(!others.iter().any(|(event, _)| event == "sealed" || event == "cancelled"), "{others:?}");
}

/// Starts a producer of job `j` that waits for the rest of its input, whether or not an aggregator runs.
fn unfinished(fleet: &Fleet, companies: u32) -> (Process, PipeWriter) {
    let (input, mut rest) = pipe().unwrap();
    let mut producer = fleet.producer_command(&["enqueue", "-", "-m", "m", "--job", "j", "--priority", "normal"]);
    producer.stdin(input);
    let producer = fleet.start("producer", producer);
    let rows: String = (0..companies).map(|row| format!("{row}\n")).collect();
    rest.write_all(format!("company_id\n{rows}").as_bytes()).unwrap();
    (producer, rest)
}
