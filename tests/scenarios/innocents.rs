//! No company fails, waits or is scored again for what others do.

use std::time::{Duration, Instant};

use rollcall_tests::{Fleet, Process, Relay, SCORER, eventually};
use serde_json::json;

const DEADLINE: Duration = Duration::from_secs(90);

/// Companies of each of which a score takes four seconds.
fn long_companies(fleet: &Fleet, count: usize) -> std::path::PathBuf {
    let rows: String = (0..count).map(|index| format!("c{index},long\n")).collect();
    fleet.file("long.csv", format!("company_id,do\n{rows}"))
}

/// Cuts what is named so, again and again, for as long as that; says how often.
fn flap(relay: &Relay, words: &str, during: Duration) -> usize {
    let (until, mut cuts) = (Instant::now() + during, 0);
    while Instant::now() < until {
        eventually("it is connected, or it is over", || (relay.links(words) > 0 || Instant::now() >= until).then_some(()));
        if relay.links(words) > 0 {
            relay.cut(words);
            cuts += 1;
        }
    }
    cuts
}

fn wait(mut producer: Process) {
    producer.wait(DEADLINE).expect(0);
}

/// Checks that the only company of job `j` was scored once, in its first attempt.
fn assert_scored_once(fleet: &Fleet) {
    let record = fleet.finished("j");
    record.assert_counted_once(1);
    let done = &record.done[0]["data"];
    assert_eq!((record.duplicates(), &done["retries"], &done["failed"]), (0, &json!(0), &json!(0)));
    assert_eq!(record.bodies[0]["attempt"], 1);
}

#[test]
fn a_consumer_that_lives_answers_over_its_next_connection_for_what_it_was_scoring() {
    let fleet = Fleet::fresh();
    let relay = Relay::before(fleet.url());
    let _aggregator = fleet.aggregator(&[]);
    let consumer = fleet.behind(&relay).consumer("m", SCORER, &["--threads", "1", "--max-deliveries", "2"]);
    let producer = fleet.start_enqueue(&long_companies(&fleet, 1), "m", "j", &["--wait"]);
    eventually("it is being scored", || (fleet.waiting_in(&fleet.name("work.m")) == Some(0)).then_some(()));
    let before = consumer.times_it_says("taking work");
    for cut in 0..6 {
        eventually("it takes work again", || (consumer.times_it_says("taking work") >= before + cut).then_some(()));
        relay.cut(": work");
    }
    wait(producer);
    assert_scored_once(&fleet);
    eventually("nothing is left", || (fleet.waiting_in(&fleet.name("suspect.m")) == Some(0)).then_some(()));
}

#[test]
fn connections_that_are_cut_in_turn_charge_no_company_whichever_consumer_has_it() {
    let fleet = Fleet::fresh();
    let relay = Relay::before(fleet.url());
    let _aggregator = fleet.aggregator(&[]);
    let start = || fleet.behind(&relay).consumer("m", SCORER, &["--threads", "2", "--batch", "1", "--max-deliveries", "2"]);
    let _consumers = [start(), start(), start()];
    let producer = fleet.start_enqueue(&long_companies(&fleet, 12), "m", "j", &["--wait"]);
    let cuts = flap(&relay, ": work", Duration::from_secs(15));
    assert!(cuts > 5, "{cuts} cuts");
    wait(producer);
    let record = fleet.finished("j");
    record.assert_counted_once(12);
    assert_eq!(record.done[0]["data"]["failed"], 0);
    assert!(record.bodies.iter().all(|body| body["attempt"] == 1));
}

#[test]
fn a_consumer_that_is_stopped_with_less_grace_than_a_score_takes_gives_the_company_back_uncharged() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let producer = fleet.start_enqueue(&long_companies(&fleet, 1), "m", "j", &["--wait"]);
    let arguments = ["--threads", "1", "--grace", "1s", "--max-deliveries", "2"];
    for _ in 0..4 {
        let mut consumer = fleet.consumer("m", SCORER, &arguments);
        eventually("it is being scored", || (fleet.waiting_in(&fleet.name("work.m")) == Some(0)).then_some(()));
        consumer.wait_until_it_says("scorer is ready");
        consumer.terminate();
        consumer.wait(Duration::from_secs(10)).expect(0);
        assert_eq!(fleet.waiting_in(&fleet.name("work.m")), Some(1), "it went back to where it came from");
    }
    let _last = fleet.consumer("m", SCORER, &["--threads", "1", "--max-deliveries", "2"]);
    wait(producer);
    assert_scored_once(&fleet);
}

#[test]
fn a_subscriber_whose_queue_is_full_misses_results_and_nobody_else_does() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let consumer = fleet.consumer("m", SCORER, &["--threads", "1"]);
    fleet.bind_bounded("mine", "results", 10);
    fleet.bind_bounded("events-of-mine", "events", 1);
    let rows: String = (0..300).map(|index| format!("c{index}\n")).collect();
    let file = fleet.file("c.csv", format!("company_id\n{rows}"));
    for job in ["first", "second"] {
        wait(fleet.start_enqueue(&file, "m", job, &["--wait"]));
        let record = fleet.finished(job);
        record.assert_counted_once(300);
        let done = &record.done[0]["data"];
        assert_eq!((&done["retries"], &done["failed"], &done["duplicates"]), (&json!(0), &json!(0), &json!(0)));
    }
    assert!(consumer.stderr().contains("subscriber_refuses") && !consumer.stderr().contains("lost the connection"));
    for queue in ["work.m", "work.m.express", "suspect.m", "dead.m"] {
        eventually("nothing is left", || (fleet.waiting_in(&fleet.name(queue)) == Some(0)).then_some(()));
    }
    let (_producer, _rest) = fleet.unfinished_enqueue("third", 1_200, &[]);
    let status = fleet.producer(&["status", "third"]).expect(0);
    assert!(status.stdout.contains("a subscriber's queue refuses results"), "{}", status.stdout);
}

#[test]
fn a_work_message_that_no_header_of_a_result_can_hold_costs_no_other_company_anything() {
    let fleet = Fleet::fresh();
    let (_aggregator, consumer) = (fleet.aggregator(&[]), fleet.consumer("m", SCORER, &["--threads", "1"]));
    for bytes in [600, 70_000, 130_900] {
        let headers = json!({ "job": "foreign", "index": 0, "company_id": "x".repeat(bytes) });
        fleet.somebody_publishes("work", "m", "rollcall.company.v1", &headers, "{\"x\":1}");
    }
    let rows: String = (0..50).map(|index| format!("c{index}\n")).collect();
    wait(fleet.start_enqueue(&fleet.file("c.csv", format!("company_id\n{rows}")), "m", "j", &["--wait"]));
    fleet.finished("j").assert_counted_once(50);
    assert_eq!(consumer.times_it_says("is no work"), 3);
    assert_eq!(consumer.times_it_says("lost the connection"), 0);
}

#[test]
fn a_company_whose_retry_queue_cannot_be_declared_waits_for_it_and_nobody_else_does() {
    let fleet = Fleet::fresh();
    let (_aggregator, consumer) = (fleet.aggregator(&[]), {
        let scorer = format!("{SCORER} {}", fleet.path("notes").display());
        fleet.consumer("m", &scorer, &["--threads", "1"])
    });
    let rows: String = (0..50).map(|index| format!("c{index},{}\n", if index == 7 { "busy twice" } else { "" })).collect();
    let file = fleet.file("c.csv", format!("company_id,do\n{rows}"));
    // The aggregator's own queues are there once it has counted a job.
    fleet.enqueue(&fleet.file("one.csv", "company_id\na\n"), "m", "first", &["--wait"]).expect(0);
    if !fleet.refuse_queues(true) {
        return;
    }
    fleet.enqueue(&file, "m", "j", &["--retry-delays", "300ms"]).expect(0);
    eventually("all others are scored", || (fleet.status("j")["succeeded"] == 49).then_some(()));
    consumer.wait_until_it_says("queue_refused");
    assert!(fleet.refuse_queues(false));
    let record = fleet.finished("j");
    record.assert_counted_once(50);
    assert_eq!((&record.done[0]["data"]["failed"], consumer.times_it_says("lost the connection")), (&json!(0), 0));
}

#[test]
fn a_record_of_the_ledger_that_nobody_can_read_stops_no_count() {
    let fleet = Fleet::fresh();
    let aggregator = fleet.aggregator(&[]);
    let _consumer = fleet.consumer("m", SCORER, &["--threads", "1"]);
    let file = fleet.file("c.csv", "company_id\na\nb\nc\n");
    fleet.enqueue(&file, "m", "before", &["--wait"]).expect(0);
    // It fits in a frame, and no longer when the broker adds where in the stream it is.
    let headers = json!({ "job": "foreign", "index": 0, "outcome": "succeeded", "attempt": 1, "x": "x".repeat(130_960) });
    fleet.somebody_publishes("results", "m.foreign.succeeded", "rollcall.result.v1", &headers, "{}");
    aggregator.wait_until_it_says("record_unreadable");
    fleet.enqueue(&file, "m", "after", &["--wait"]).expect(0);
}
