//! Connections are cut at the worst moments, and repeatedly.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rollcall_tests::{BOTH, Fleet, Process, Relay, Way, eventually, free_address, metrics, soon, value};

const DEADLINE: Duration = Duration::from_secs(60);

/// What a consumer of these tests holds at least, whatever its scorer's speed: it does not resubscribe for the last fifth of
/// its prefetch, which is 512.
const HELD: usize = 512 * 4 / 5;

const WORK: &str = ": work";
const RESULTS: &str = ": results";

/// Starts an aggregator and a consumer behind a relay, and holds one direction of a link there before the job begins.
fn begin(fleet: &Fleet, words: &str, way: Way) -> (Relay, [Process; 2]) {
    let relay = Relay::before(fleet.url());
    let aggregator = fleet.aggregator(&[]);
    let consumer = holding_consumer(fleet, &relay, 600, &[]);
    relay.hold(words, &[way]);
    (relay, [aggregator, consumer])
}

/// Starts a consumer behind the relay, and waits until it has subscribed for as much as it will hold. It does so once it has
/// measured the size of companies.
fn holding_consumer(fleet: &Fleet, relay: &Relay, first: u32, more: &[&str]) -> Process {
    let arguments = ["--particles", "50", "--threads", "1", "--hold", "1d"];
    let arguments = [&arguments, more].concat();
    let consumer = fleet.behind(relay).consumer("questionnaire", "bayes:deploy/demo/questionnaire.bif", &arguments);
    fleet.enqueue(&fleet.companies(first), "questionnaire", "first", &["--wait"]).expect(0);
    consumer
}

/// Starts a job of 3,000 companies, waits until there are as many results as the consumer holds, and returns their number.
fn start_job(fleet: &Fleet) -> (Process, usize) {
    let companies = fleet.companies(3_000);
    let producer = fleet.start_enqueue(&companies, "questionnaire", "j", &["--wait"]);
    let answered = || Some(fleet.answered("j")).filter(|&answered| answered >= HELD);
    (producer, eventually("as many as it holds are in the ledger", answered))
}

/// Waits for the end of the job, and asserts that at least `twice` companies were scored twice and counted once.
fn assert_counted_once_in_spite_of(fleet: &Fleet, mut producer: Process, twice: usize) {
    producer.wait(DEADLINE).expect(0);
    let record = fleet.finished("j");
    record.assert_counted_once(3_000);
    assert!(record.duplicates() >= twice, "{} duplicates: the fault has not struck", record.duplicates());
}

#[test]
fn results_that_are_lost_with_their_link_are_scored_again() {
    let fleet = Fleet::fresh();
    let relay = Relay::before(fleet.url());
    let _aggregator = fleet.aggregator(&[]);
    let address = free_address();
    let consumer = holding_consumer(&fleet, &relay, 50, &["--metrics-addr", &address.to_string()]);
    relay.hold(RESULTS, &[Way::ToBroker]);
    let companies = fleet.companies(3_000);
    let mut producer = fleet.start_enqueue(&companies, "questionnaire", "j", &["--wait"]);
    eventually("it has answered for all that it took", || {
        value(&metrics(address), "rollcall_confirms_pending").filter(|&pending| pending >= HELD as f64)
    });
    assert_eq!(fleet.answered("j"), 0, "the link is held, and results get through");
    relay.cut(RESULTS);
    consumer.wait_until_event("connection_lost");
    producer.wait(DEADLINE).expect(0);
    fleet.finished("j").assert_counted_once(3_000);
}

#[test]
fn results_whose_confirms_are_lost_with_their_link_are_published_again_and_counted_once() {
    let fleet = Fleet::fresh();
    let (relay, [_aggregator, consumer]) = begin(&fleet, RESULTS, Way::ToClient);
    let (producer, answered) = start_job(&fleet);
    relay.cut(RESULTS);
    consumer.wait_until_event("connection_lost");
    assert_counted_once_in_spite_of(&fleet, producer, answered);
}

#[test]
fn results_whose_acknowledgements_are_lost_with_their_link_are_published_again_and_counted_once() {
    let fleet = Fleet::fresh();
    let (relay, [_aggregator, consumer]) = begin(&fleet, WORK, Way::ToBroker);
    let (producer, answered) = start_job(&fleet);
    relay.cut(WORK);
    consumer.wait_until_event("connection_lost");
    assert_counted_once_in_spite_of(&fleet, producer, answered);
}

/// A consumer that scores one company at a time, each once its file is in `gate`, and takes `prefetch` ahead.
fn gated_consumer(fleet: &Fleet, gate: &Path, prefetch: &str) -> Process {
    fs::create_dir_all(gate).unwrap();
    let scorer = format!("command:/usr/bin/python3 tests/fixtures/gated.py {}", gate.display());
    fleet.consumer("m", &scorer, &["--prefetch", prefetch, "--threads", "1", "--batch", "1"])
}

fn wait_until_begun(gate: &Path, company: &str) {
    let begun = gate.join(format!("{company}.begun"));
    eventually(&format!("{company} is being scored"), || begun.exists().then_some(()));
}

#[test]
fn an_answer_that_outlived_its_connection_acknowledges_nobody_elses_company() {
    let fleet = Fleet::fresh();
    let relay = Relay::before(fleet.url());
    let _aggregator = fleet.aggregator(&[]);
    let enqueue = |job: &str, names: &str| {
        let file = fleet.file(&format!("{job}.csv"), format!("name\n{names}"));
        fleet.enqueue(&file, "m", job, &[]).expect(0);
    };
    // Ann is being scored when her consumer's connection is cut, and is redelivered to another. Bob then gets the same
    // delivery tag.
    let (gate, other_gate) = (fleet.path("gate"), fleet.path("other"));
    let mut cut_off = gated_consumer(&fleet.behind(&relay), &gate, "1");
    enqueue("ann", "ann\n");
    wait_until_begun(&gate, "ann");
    let _other = gated_consumer(&fleet, &other_gate, "1");
    relay.cut(WORK);
    wait_until_begun(&other_gate, "ann");
    enqueue("bob", "bob\n");
    fs::write(gate.join("ann"), "").unwrap();
    wait_until_begun(&gate, "bob");
    // Ann's result is published, and Bob's is not: if Ann's ack had acknowledged Bob, no consumer would have him now.
    eventually("bob's job waits for him", || (fleet.status("bob")["state"] == "running").then_some(()));
    cut_off.kill_9();
    for name in ["ann", "bob"] {
        fs::write(other_gate.join(name), "").unwrap();
        fleet.finished(name).assert_counted_once(1);
    }
}

#[test]
fn a_producer_whose_link_is_cut_in_mid_file_goes_on_where_it_stopped() {
    const PRODUCER: &str = "rollcall producer j";
    let fleet = Fleet::fresh();
    let relay = Relay::before(fleet.url());
    let _running = [fleet.aggregator(&[]), fleet.quick_consumer()];
    let companies = fleet.companies(40_000);
    let mut producer = fleet.behind(&relay).start_enqueue(&companies, "questionnaire", "j", &[]);
    for _ in 0..3 {
        eventually("it is connected", || (relay.links(PRODUCER) > 0).then_some(()));
        // At most 1,000 messages are unconfirmed, so enqueuing takes 20 seconds more: it cannot end before the cut.
        relay.delay(PRODUCER, BOTH, Duration::from_millis(300));
        let before = fleet.answered("j");
        eventually("more companies have come", || (fleet.answered("j") > before).then_some(()));
        relay.cut(PRODUCER);
    }
    producer.wait(DEADLINE).expect(0);
    fleet.finished("j").assert_counted_once(40_000);
    assert!(producer.times_event("connection_lost") > 0, "the fault has not struck");
}

#[test]
fn a_producer_whose_link_is_cut_after_it_has_read_its_file_seals_its_job_all_the_same() {
    let fleet = Fleet::fresh();
    let relay = Relay::before(fleet.url());
    let aggregator = fleet.aggregator(&[]);
    eventually("it takes queries", || (fleet.producer(&["status"]).code == Some(0)).then_some(()));
    // At the end of its file, the producer waits some seconds for an aggregator that takes queries to say which producer owns the name.
    aggregator.freeze();
    let companies = fleet.companies(50);
    let mut producer = fleet.behind(&relay).start_enqueue(&companies, "questionnaire", "j", &[]);
    soon("it has enqueued its file", || (fleet.waiting_in(&fleet.name("work.questionnaire")) == Some(50)).then_some(()));
    relay.cut("rollcall producer j");
    producer.wait_until_event("connection_lost");
    aggregator.thaw();
    let _consumer = fleet.quick_consumer();
    producer.wait(DEADLINE).expect(0);
    fleet.finished("j").assert_counted_once(50);
}

#[test]
fn a_consumer_behind_a_frozen_link_loses_its_work_to_another_and_comes_back() {
    let fleet = Fleet::fresh();
    let relay = Relay::before(fleet.url());
    let _aggregator = fleet.aggregator(&[]);
    let frozen = fleet.behind(&relay).with_heartbeat(1).quick_consumer();
    relay.hold(WORK, BOTH);
    let _other = fleet.quick_consumer();
    let companies = fleet.companies(3_000);
    fleet.enqueue(&companies, "questionnaire", "j", &["--wait"]).expect(0);
    fleet.finished("j").assert_counted_once(3_000);
    relay.pass();
    eventually("it takes work again", || (frozen.times_event("taking_work") == 2).then_some(()));
}

#[test]
fn a_job_outlives_every_link_being_cut_again_and_again() {
    let fleet = Fleet::fresh();
    let relay = Relay::before(fleet.url());
    let far = fleet.behind(&relay);
    let _running = [far.aggregator(&[]), far.quick_consumer(), far.quick_consumer()];
    let companies = fleet.companies(60_000);
    let mut producer = far.start_enqueue(&companies, "questionnaire", "j", &["--wait"]);
    let mut answered = 0;
    for _ in 0..5 {
        answered = eventually("the job has moved on", || Some(fleet.answered("j")).filter(|&now| now > answered));
        eventually("links were cut", || (relay.cut_all() > 0).then_some(()));
    }
    producer.wait(DEADLINE).expect(0);
    fleet.finished("j").assert_counted_once(60_000);
}

#[test]
fn a_job_runs_through_over_slow_links() {
    let fleet = Fleet::fresh();
    let relay = Relay::before(fleet.url());
    let far = fleet.behind(&relay);
    let _running = [far.aggregator(&[]), far.quick_consumer()];
    relay.delay("", BOTH, Duration::from_millis(100));
    let companies = fleet.companies(2_000);
    far.enqueue(&companies, "questionnaire", "j", &["--wait"]).expect(0);
    let record = fleet.finished("j");
    record.assert_counted_once(2_000);
    assert_eq!(record.duplicates(), 0);
}
