//! Processes that die in mid-job.

use std::time::Duration;

use rollcall_tests::{Fleet, eventually};

/// Waits until some, and not all, of the job's companies are counted.
fn mid_job(fleet: &Fleet, job: &str, companies: u64) {
    let counted =
        eventually("some companies are counted", || fleet.status(job)["succeeded"].as_u64().filter(|&counted| counted > 0));
    assert!(counted < companies, "the job is over before the test has begun: make it longer");
}

#[test]
fn a_job_outlives_the_kill_of_a_consumer_and_of_the_active_aggregator() {
    let fleet = Fleet::fresh();
    let mut active = fleet.aggregator(&[]);
    active.wait_until_it_says("counting");
    let standby = fleet.aggregator(&[]);
    standby.wait_until_it_says("waiting for the baton");
    let (mut doomed, _other) = (fleet.demo_consumer(), fleet.demo_consumer());
    let companies = fleet.companies(20_000);
    let enqueue = ["enqueue", companies.to_str().unwrap(), "-m", "questionnaire", "--job", "j", "--wait"];
    let mut producer = fleet.start_producer(&enqueue);
    mid_job(&fleet, "j", 20_000);
    doomed.kill_9();
    active.kill_9();
    standby.wait_until_it_says("counting");
    producer.wait(Duration::from_secs(60)).expect(0);
    fleet.finished("j").assert_counted_once(20_000);
}

#[test]
fn results_that_came_while_no_aggregator_ran_are_counted_when_one_starts() {
    let fleet = Fleet::fresh();
    let _consumer = fleet.demo_consumer();
    let companies = fleet.companies(500);
    fleet.producer(&["enqueue", companies.to_str().unwrap(), "-m", "questionnaire", "--job", "j"]).expect(0);
    eventually("every result is in the ledger", || (fleet.ledger("j").outcomes.len() == 500).then_some(()));
    let _aggregator = fleet.aggregator(&[]);
    fleet.finished("j").assert_counted_once(500);
}

#[test]
fn a_consumer_that_is_asked_to_stop_finishes_what_it_scores_and_returns_the_rest() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let (mut leaving, _staying) = (fleet.demo_consumer(), fleet.demo_consumer());
    let companies = fleet.companies(20_000);
    let enqueue = ["enqueue", companies.to_str().unwrap(), "-m", "questionnaire", "--job", "j", "--wait"];
    let mut producer = fleet.start_producer(&enqueue);
    mid_job(&fleet, "j", 20_000);
    leaving.terminate();
    leaving.wait(Duration::from_secs(30)).expect(0);
    producer.wait(Duration::from_secs(60)).expect(0);
    let record = fleet.finished("j");
    record.assert_counted_once(20_000);
    assert_eq!(record.duplicates(), 0, "no company is scored twice");
}
