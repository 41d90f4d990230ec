//! Consumers and aggregators die while a job runs.

use std::time::Duration;

use lapin::options::{BasicGetOptions, QueueDeleteOptions};
use lapin::{Connection, ConnectionProperties};
use rollcall_tests::{Fleet, eventually};

#[test]
fn a_job_outlives_the_kill_of_a_consumer_and_of_the_active_aggregator() {
    let fleet = Fleet::fresh();
    let mut active = fleet.aggregator(&[]);
    active.wait_until_event("counting");
    let standby = fleet.aggregator(&[]);
    standby.wait_until_event("standing_by");
    let (mut doomed, _other) = (fleet.quick_consumer(), fleet.quick_consumer());
    let companies = fleet.companies(60_000);
    let mut producer = fleet.start_enqueue(&companies, "questionnaire", "j", &["--wait"]);
    fleet.mid_job("j", 60_000);
    doomed.kill_9();
    active.kill_9();
    standby.wait_until_event("counting");
    producer.wait(Duration::from_secs(60)).expect(0);
    fleet.finished("j").assert_counted_once(60_000);
}

#[test]
fn results_that_came_while_no_aggregator_ran_are_counted_when_one_starts() {
    let fleet = Fleet::fresh();
    let _consumer = fleet.quick_consumer();
    let companies = fleet.companies(500);
    fleet.producer(&["enqueue", companies.to_str().unwrap(), "-m", "questionnaire", "--job", "j"]).expect(0);
    eventually("every result is in the ledger", || (fleet.ledger("j").outcomes.len() == 500).then_some(()));
    let _aggregator = fleet.aggregator(&[]);
    fleet.finished("j").assert_counted_once(500);
}

/// Takes a model's only ready company and closes the connection, as a consumer that crashes does. Returns whether there was
/// one.
async fn take_and_disconnect(url: &str, queue: &str) -> bool {
    let connection = Connection::connect(url, ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let taken = channel.basic_get(queue.into(), BasicGetOptions::default()).await.unwrap().is_some();
    connection.close(200, "".into()).await.unwrap();
    taken
}

#[test]
fn a_company_that_kills_every_consumer_becomes_a_failed_result_and_its_job_ends() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let file = fleet.file("c.csv", "company_id,x\npoison,1\n");
    fleet.producer(&["enqueue", file.to_str().unwrap(), "-m", "m", "--job", "j", "--priority", "normal"]).expect(0);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    eventually("the broker gives the company up", || {
        let taken = runtime.block_on(take_and_disconnect(fleet.url(), &fleet.name("work.m")));
        (!taken).then_some(())
    });
    let record = fleet.finished("j");
    record.assert_counted_once(1);
    // Our consumers would have reported `consumer_crashed`: here the broker applied its own delivery limit.
    assert_eq!(record.causes().into_iter().collect::<Vec<_>>(), [("delivery_limit", 1)]);
}

async fn delete_queue(url: &str, queue: &str) {
    let connection = Connection::connect(url, ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await.unwrap();
    connection.close(200, "".into()).await.unwrap();
}

#[test]
fn a_ledger_that_was_replaced_and_has_grown_past_the_checkpoint_is_counted_from_its_beginning() {
    let fleet = Fleet::fresh();
    let _consumer = fleet.quick_consumer();
    let (few, many) = (fleet.companies(100), fleet.companies(500));
    let mut first = fleet.aggregator(&[]);
    fleet.enqueue(&few, "questionnaire", "before", &["--wait"]).expect(0);
    first.terminate();
    first.wait(Duration::from_secs(10)).expect(0);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(delete_queue(fleet.url(), &fleet.name("ledger")));
    fleet.enqueue(&many, "questionnaire", "after", &[]).expect(0);
    eventually("every result is in the new ledger", || (fleet.answered("after") == 500).then_some(()));
    let mut second = fleet.aggregator(&[]);
    second.wait_until_event("counting");
    assert_eq!(second.times_event("ledger_replaced"), 1);
    fleet.producer(&["watch", "after"]).expect(0);
    fleet.finished("after").assert_counted_once(500);
    second.terminate();
    second.wait(Duration::from_secs(10)).expect(0);
    let third = fleet.aggregator(&[]);
    third.wait_until_event("counting");
    assert_eq!(third.times_event("ledger_replaced"), 0, "it is the same ledger");
}

#[test]
fn a_ledger_that_was_deleted_and_declared_anew_is_counted_from_its_beginning() {
    let fleet = Fleet::fresh();
    let _consumer = fleet.quick_consumer();
    let companies = fleet.companies(200);
    let run = |job: &str| fleet.enqueue(&companies, "questionnaire", job, &["--wait"]);
    let mut first = fleet.aggregator(&[]);
    run("before").expect(0);
    first.terminate();
    first.wait(Duration::from_secs(10)).expect(0);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(delete_queue(fleet.url(), &fleet.name("ledger")));
    let second = fleet.aggregator(&[]);
    second.wait_until_event("ledger_replaced");
    run("after").expect(0);
    fleet.finished("after").assert_counted_once(200);
}
