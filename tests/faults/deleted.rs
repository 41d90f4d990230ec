//! Queues and exchanges are deleted while processes use them.

use std::time::Duration;

use lapin::options::{ExchangeDeleteOptions, QueueDeleteOptions};
use lapin::{Channel, Connection, ConnectionProperties};
use rollcall_tests::{Fleet, eventually};

/// Runs `act` with a channel of a new connection.
fn on_a_channel(fleet: &Fleet, act: impl AsyncFnOnce(&Channel)) {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let connection = Connection::connect(fleet.url(), ConnectionProperties::default()).await.unwrap();
        // Dropping the channel closes it, so it must outlive `act`.
        let channel = connection.create_channel().await.unwrap();
        act(&channel).await;
        connection.close(200, "".into()).await.unwrap();
    });
}

#[test]
fn a_queue_that_is_deleted_under_its_consumer_is_declared_anew_and_the_next_job_runs_through() {
    let fleet = Fleet::fresh();
    let (_aggregator, consumer) = (fleet.aggregator(&[]), fleet.quick_consumer());
    let queue = fleet.name("work.questionnaire");
    on_a_channel(&fleet, async |channel| {
        channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await.unwrap();
    });
    consumer.wait_until_it_says(&format!("the broker cancelled the consumer of {queue}"));
    eventually("it takes work again", || (consumer.times_event("taking_work") == 2).then_some(()));
    let companies = fleet.companies(500);
    fleet.enqueue(&companies, "questionnaire", "j", &["--wait"]).expect(0);
    fleet.finished("j").assert_counted_once(500);
}

#[test]
fn an_exchange_that_is_deleted_in_mid_job_closes_channels_and_the_job_still_ends() {
    for exchange in ["results", "events", "work"] {
        let fleet = Fleet::fresh();
        let _running = [fleet.aggregator(&[]), fleet.quick_consumer(), fleet.quick_consumer()];
        let companies = fleet.companies(20_000);
        let mut producer = fleet.start_enqueue(&companies, "questionnaire", "j", &["--wait"]);
        fleet.mid_job("j", 20_000);
        on_a_channel(&fleet, async |channel| {
            channel.exchange_delete(fleet.name(exchange).into(), ExchangeDeleteOptions::default()).await.unwrap();
        });
        producer.wait(Duration::from_secs(60)).expect(0);
        fleet.finished("j").assert_counted_once(20_000);
    }
}
