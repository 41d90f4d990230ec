//! No company fails, waits or is scored again because of something that others do.

use std::fs;
use std::time::{Duration, Instant};

use rollcall_tests::{Fleet, Process, Relay, SCORER, eventually, free_address, metrics, value};
use serde_json::json;

const DEADLINE: Duration = Duration::from_secs(90);

/// Companies that take four seconds each.
fn long_companies(fleet: &Fleet, count: usize) -> std::path::PathBuf {
    let rows: String = (0..count).map(|index| format!("c{index},long\n")).collect();
    fleet.file("long.csv", format!("company_id,do\n{rows}"))
}

/// A scorer that finishes company `ann` once the file `ann` is in the folder, and the folder.
fn gated_scorer(fleet: &Fleet) -> (std::path::PathBuf, String) {
    let gate = fleet.path("gate");
    fs::create_dir(&gate).unwrap();
    let scorer = format!("command:/usr/bin/python3 tests/fixtures/gated.py {}", gate.display());
    (gate, scorer)
}

/// A file of that company.
fn ann(fleet: &Fleet) -> std::path::PathBuf {
    fleet.file("c.csv", "company_id,name\n1,ann\n")
}

/// Cuts every link with this name as soon as it is there, for this long; returns how often.
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

/// Waits until all of job `j` is enqueued, and delivered to a consumer.
fn wait_until_taken(fleet: &Fleet) {
    let is_sealed = || fleet.status("j")["total"].is_number();
    let is_taken = || fleet.waiting_in(&fleet.name("work.m")) == Some(0);
    eventually("it is taken", || (is_sealed() && is_taken()).then_some(()));
}

/// Asserts that the only company of job `j` was scored once, in its first attempt.
fn assert_scored_once(fleet: &Fleet) {
    let record = fleet.finished("j");
    record.assert_counted_once(1);
    let done = &record.done[0]["data"];
    assert_eq!((record.duplicates(), &done["retries"], &done["failed"]), (0, &json!(0), &json!(0)));
    assert_eq!(record.bodies().next().unwrap()["attempt"], 1);
}

#[test]
fn a_consumer_that_lives_answers_over_its_next_connection_for_what_it_was_scoring() {
    let fleet = Fleet::fresh();
    let relay = Relay::before(fleet.url());
    let _aggregator = fleet.aggregator(&[]);
    let (gate, scorer) = gated_scorer(&fleet);
    let consumer = fleet.behind(&relay).consumer("m", &scorer, &["--threads", "1", "--max-deliveries", "2"]);
    let producer = fleet.start_enqueue(&ann(&fleet), "m", "j", &["--wait"]);
    eventually("it is being scored", || gate.join("ann.begun").exists().then_some(()));
    let before = consumer.times_event("taking_work");
    for cut in 1..=6 {
        relay.cut(": work");
        eventually("it takes work again", || (consumer.times_event("taking_work") >= before + cut).then_some(()));
    }
    // Only now: a result whose confirm is lost with a connection is published again.
    fs::write(gate.join("ann"), "").unwrap();
    wait(producer);
    assert_scored_once(&fleet);
    eventually("nothing is left", || (fleet.waiting_in(&fleet.name("quarantine.m")) == Some(0)).then_some(()));
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
    assert!(record.bodies().all(|body| body["attempt"] == 1));
}

#[test]
fn a_consumer_that_is_stopped_with_less_grace_than_a_score_takes_gives_the_company_back_uncharged() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let (gate, scorer) = gated_scorer(&fleet);
    let producer = fleet.start_enqueue(&ann(&fleet), "m", "j", &["--wait"]);
    let arguments = ["--threads", "1", "--grace", "4s", "--max-deliveries", "2"];
    for _ in 0..4 {
        let mut consumer = fleet.consumer("m", &scorer, &arguments);
        let begun = gate.join("ann.begun");
        eventually("it is being scored", || begun.exists().then_some(()));
        fs::remove_file(begun).unwrap();
        consumer.terminate();
        consumer.wait(Duration::from_secs(20)).expect(0);
        eventually("it is where it came from", || (fleet.waiting_in(&fleet.name("work.m")) == Some(1)).then_some(()));
    }
    fs::write(gate.join("ann"), "").unwrap();
    let _last = fleet.consumer("m", &scorer, &["--threads", "1", "--max-deliveries", "2"]);
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
    assert!(consumer.times_event("subscriber_refuses") > 0 && consumer.times_event("connection_lost") == 0);
    for queue in ["work.m", "work.m.express", "quarantine.m", "dead.m"] {
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
        fleet.publish_from_python("work", "m", "rollcall.company.v1", &headers, "{\"x\":1}");
    }
    let rows: String = (0..50).map(|index| format!("c{index}\n")).collect();
    wait(fleet.start_enqueue(&fleet.file("c.csv", format!("company_id\n{rows}")), "m", "j", &["--wait"]));
    fleet.finished("j").assert_counted_once(50);
    assert_eq!(consumer.times_it_says("event=\"malformed_work\""), 3);
    assert_eq!(consumer.times_event("connection_lost"), 0);
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
    // The aggregator declares its own queues before it counts the first job.
    fleet.enqueue(&fleet.file("one.csv", "company_id\na\n"), "m", "first", &["--wait"]).expect(0);
    if !fleet.refuse_queues(true) {
        return;
    }
    fleet.enqueue(&file, "m", "j", &["--retry-delays", "300ms"]).expect(0);
    eventually("all others are scored", || (fleet.status("j")["succeeded"] == 49).then_some(()));
    consumer.wait_until_event("queue_refused");
    assert!(fleet.refuse_queues(false));
    let record = fleet.finished("j");
    record.assert_counted_once(50);
    assert_eq!((&record.done[0]["data"]["failed"], consumer.times_event("connection_lost")), (&json!(0), 0));
}

#[test]
fn a_record_of_the_ledger_that_nobody_can_read_stops_no_count() {
    let fleet = Fleet::fresh();
    let aggregator = fleet.aggregator(&[]);
    let _consumer = fleet.consumer("m", SCORER, &["--threads", "1"]);
    let file = fleet.file("c.csv", "company_id\na\nb\nc\n");
    fleet.enqueue(&file, "m", "before", &["--wait"]).expect(0);
    // The record fits into a frame, but not with the stream offset that the broker adds on delivery.
    let headers = json!({ "job": "foreign", "index": 0, "outcome": "succeeded", "attempt": 1, "x": "x".repeat(130_960) });
    fleet.publish_from_python("results", "m.foreign.succeeded", "rollcall.result.v1", &headers, "{}");
    aggregator.wait_until_event("record_unreadable");
    fleet.enqueue(&file, "m", "after", &["--wait"]).expect(0);
}

#[test]
fn a_subscriber_whose_queue_confirms_nothing_holds_up_its_results_for_some_seconds_and_no_session_is_lost() {
    let fleet = Fleet::fresh();
    let aggregator = fleet.aggregator(&[]);
    let consumer = fleet.consumer("m", SCORER, &["--threads", "1"]);
    fleet.bind_bounded("mine", "results", 1_000_000);
    if !fleet.freeze_queue("mine") {
        return;
    }
    let rows: String = (0..200).map(|index| format!("c{index}\n")).collect();
    wait(fleet.start_enqueue(&fleet.file("c.csv", format!("company_id\n{rows}")), "m", "j", &["--wait"]));
    let record = fleet.finished("j");
    record.assert_counted_once(200);
    assert_eq!(record.done[0]["data"]["duplicates"], 0);
    consumer.wait_until_event("subscriber_refuses");
    for process in [&aggregator, &consumer] {
        assert_eq!(process.times_event("connection_lost"), 0, "{}", process.stderr());
    }
    eventually("the work is acknowledged", || (fleet.waiting_in(&fleet.name("work.m")) == Some(0)).then_some(()));
}

/// A scorer that exits on every batch of several companies once the file `go` exists, and takes 0.3 s for a single one.
const DIES_OF_BATCHES: &str = "
import json, os, sys, time
folder = sys.argv[1]
for line in sys.stdin:
    b = json.loads(line)
    if len(b['instances']) > 1:
        open(folder + '/begun', 'w')
        while not os.path.exists(folder + '/go'):
            time.sleep(0.02)
        os._exit(3)
    time.sleep(0.3)
    print(json.dumps({'id': b['id'], 'predictions': [1]}), flush=True)
";

fn scorer_that_dies_of_batches(fleet: &Fleet) -> String {
    format!("command:/usr/bin/python3 {} {}", fleet.file("batches.py", DIES_OF_BATCHES).display(), fleet.path("").display())
}

/// Lets another consumer finish job `j`, and asserts that no company was charged a delivery: with `--max-deliveries 1`, that
/// consumer would quarantine any that was.
fn assert_nobody_is_charged(fleet: &Fleet, scorer: &str, producer: Process, companies: u64) {
    let address = free_address();
    let address_text = address.to_string();
    let arguments = ["--threads", "1", "--batch", "1", "--max-deliveries", "1", "--metrics-addr", &address_text];
    let _other = fleet.consumer("m", scorer, &arguments);
    wait(producer);
    let record = fleet.finished("j");
    record.assert_counted_once(companies);
    assert!(record.causes().is_empty(), "{:?}", record.causes());
    assert_eq!(value(&metrics(address), "rollcall_moved_total{to=\"quarantine\"}"), None, "companies were charged");
}

#[test]
fn a_batch_that_fails_after_its_connection_was_cut_loses_no_company_to_an_order_about_its_job() {
    let fleet = Fleet::fresh();
    let relay = Relay::before(fleet.url());
    let _aggregator = fleet.aggregator(&[]);
    let arguments = ["--threads", "1", "--batch", "16", "--hold", "1d"];
    let consumer = fleet.behind(&relay).consumer("m", &scorer_that_dies_of_batches(&fleet), &arguments);
    let rows: String = (0..16).map(|index| format!("c{index}\n")).collect();
    let producer = fleet.start_enqueue(&fleet.file("c.csv", format!("company_id\n{rows}")), "m", "j", &["--wait"]);
    eventually("a batch is being scored", || fleet.path("begun").exists().then_some(()));
    let before = consumer.times_event("taking_work");
    relay.cut(": work");
    eventually("it takes work again", || (consumer.times_event("taking_work") > before).then_some(()));
    std::fs::write(fleet.path("go"), "").unwrap();
    consumer.wait_until_event("batch_failed");
    for order in ["pause", "resume"] {
        fleet.producer(&[order, "j"]).expect(0);
    }
    wait(producer);
    let record = fleet.finished("j");
    record.assert_counted_once(16);
    assert_eq!((record.causes().len(), &record.done[0]["data"]["retries"]), (0, &json!(0)));
}

#[test]
fn a_consumer_that_is_stopped_while_a_batch_fails_gives_its_companies_back_uncharged() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let scorer = scorer_that_dies_of_batches(&fleet);
    let arguments = ["--threads", "1", "--batch", "16", "--hold", "1d", "--grace", "3s", "--max-deliveries", "1"];
    let mut consumer = fleet.consumer("m", &scorer, &arguments);
    let rows: String = (0..40).map(|index| format!("c{index}\n")).collect();
    let producer = fleet.start_enqueue(&fleet.file("c.csv", format!("company_id\n{rows}")), "m", "j", &["--wait"]);
    eventually("a batch is being scored", || fleet.path("begun").exists().then_some(()));
    consumer.terminate();
    consumer.wait_until_event("stopping");
    std::fs::write(fleet.path("go"), "").unwrap();
    consumer.wait(Duration::from_secs(15)).expect(0);
    assert_eq!(consumer.times_event("session_dropped"), 0, "{}", consumer.stderr());
    assert_nobody_is_charged(&fleet, &scorer, producer, 40);
}

#[test]
fn a_consumer_that_is_stopped_while_its_connection_is_lost_says_what_it_held() {
    let fleet = Fleet::fresh();
    let relay = Relay::before(fleet.url());
    let _aggregator = fleet.aggregator(&[]);
    let arguments = ["--threads", "1", "--grace", "20s", "--max-deliveries", "1", "--log", "info,rollcall_shared=debug"];
    let mut consumer = fleet.behind(&relay).consumer("m", SCORER, &arguments);
    let producer = fleet.start_enqueue(&long_companies(&fleet, 3), "m", "j", &["--wait"]);
    wait_until_taken(&fleet);
    consumer.wait_until_it_says("scorer is ready");
    // Nothing listens there, so the consumer's pauses between connection attempts grow. It is stopped during such a pause.
    relay.redirect_to("amqp://guest:guest@127.0.0.1:1/%2f");
    relay.cut_all();
    let attempts = || consumer.times_event("reconnection_failed");
    eventually("it has tried in vain, and pauses for seconds", || (attempts() >= 4).then_some(()));
    consumer.terminate();
    relay.redirect_to(fleet.url());
    consumer.wait(Duration::from_secs(30)).expect(0);
    assert_nobody_is_charged(&fleet, SCORER, producer, 3);
}
