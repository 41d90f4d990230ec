//! `consumer fleet`: consumers that start and stop by themselves.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use rollcall_tests::{Fleet, Process, SCORER, children_of, eventually};

const SOON: Duration = Duration::from_secs(60);

/// Starts a fleet of consumers of model `m`.
fn consumer_fleet(fleet: &Fleet, scorer: &str, arguments: &[&str]) -> Process {
    fleet.start("consumer", fleet_command(fleet, scorer, arguments))
}

fn fleet_command(fleet: &Fleet, scorer: &str, arguments: &[&str]) -> Command {
    let all = [&["fleet", "--model", "m", "--scorer", scorer, "--idle", "3s"], arguments].concat();
    fleet.program_command("consumer", &all)
}

/// Sends a signal to a process or, if `to` begins with a minus, to a process group.
fn signal(signal: &str, to: &str) {
    assert!(Command::new("kill").args([signal, "--", to]).status().unwrap().success());
}

/// The processes whose parent is this one.
fn children(parent: &Process) -> Vec<u32> {
    children_of(parent.id())
}

fn is_alive(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/stat"));
    status.is_ok_and(|stat| !stat.contains(") Z "))
}

fn has(consumers: usize, fleet: &Process) -> Option<()> {
    (children(fleet).len() == consumers).then_some(())
}

fn companies(fleet: &Fleet, number: usize, what: &str) -> std::path::PathBuf {
    let rows: String = (0..number).map(|row| format!("{row},{what}\n")).collect();
    fleet.file(&format!("{what}-{number}.csv"), format!("company_id,do\n{rows}"))
}

#[test]
fn a_fleet_grows_from_none_with_a_job_and_shrinks_to_none_after_it_and_again_with_the_next() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let mut consumers = consumer_fleet(&fleet, SCORER, &["--max", "4", "--target", "5s"]);
    let file = companies(&fleet, 200, "slow");
    for job in ["first", "second"] {
        eventually("there is no consumer", || has(0, &consumers));
        let mut waiting = fleet.start_enqueue(&file, "m", job, &["--wait"]);
        eventually("there are four consumers", || has(4, &consumers));
        waiting.wait(SOON).expect(0);
        eventually("there is no consumer any more", || has(0, &consumers));
        let record = fleet.finished(job);
        record.assert_counted_once(200);
        assert_eq!(record.duplicates(), 0);
    }
    let said = consumers.stderr();
    let (_, after_growth) = said.split_once(" to=4 ").unwrap_or_else(|| panic!("it never grew to four: {said}"));
    assert!(after_growth.contains(" to=0 "), "it told nothing of shrinking to none: {said}");
    assert!(said.contains(r#"event="leader_answers" model=m min=0 max=4 target_seconds=5.0"#), "{said}");
    assert!((1..=4).all(|number| said.lines().any(|line| line.ends_with(&format!(" consumer={number}")))), "{said}");
    consumers.terminate();
    consumers.wait(SOON).expect(0);
}

#[test]
fn a_consumer_that_dies_is_started_again_and_the_job_goes_on() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let consumers = consumer_fleet(&fleet, SCORER, &["--min", "2", "--max", "2"]);
    eventually("there are two consumers", || has(2, &consumers));
    let name = |consumer: &u32| fs::read_to_string(format!("/proc/{consumer}/comm")).unwrap_or_default();
    eventually("they are called so", || children(&consumers).iter().all(|child| name(child) == "consumer\n").then_some(()));
    let mut waiting = fleet.start_enqueue(&companies(&fleet, 100, "slow"), "m", "j", &["--wait"]);
    fleet.mid_job("j", 100);
    for consumer in children(&consumers) {
        signal("-9", &consumer.to_string());
    }
    eventually("two deaths are told", || (consumers.times_event("consumer_died") == 2).then_some(()));
    consumers.wait_until_event("consumers_restarted");
    assert_eq!(consumers.times_event("fleet_scaled"), 1, "a restart changes no number: {}", consumers.stderr());
    waiting.wait(SOON).expect(0);
    fleet.finished("j").assert_counted_once(100);
    eventually("there are two consumers again", || has(2, &consumers));
}

#[test]
fn ctrl_c_reaches_the_fleet_alone_which_then_stops_its_consumers_in_order() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let mut command = fleet_command(&fleet, SCORER, &["--min", "2", "--max", "2"]);
    // As a shell starts it.
    command.process_group(0);
    let mut consumers = fleet.start("consumer", command);
    fleet.enqueue(&companies(&fleet, 200, "slow"), "m", "j", &[]).expect(0);
    fleet.mid_job("j", 200);
    // While it is stopped it does not heed the signal, and a consumer that did would score no more.
    consumers.freeze();
    signal("-INT", &format!("-{}", consumers.id()));
    let more = (fleet.answered("j") + 20).min(200);
    eventually("its consumers go on", || (fleet.answered("j") >= more).then_some(()));
    consumers.thaw();
    let ended = consumers.wait(SOON).expect(0);
    assert!(ended.stderr.contains(r#"event="fleet_stopping" model=m consumers=2"#), "{ended:?}");
    assert!(!ended.stderr.contains("consumer_died") && !ended.stderr.contains("consumer_killed"), "{ended:?}");
    let _next = fleet.consumer("m", SCORER, &[]);
    let record = fleet.finished("j");
    record.assert_counted_once(200);
    assert_eq!(record.duplicates(), 0);
}

#[test]
fn a_fleet_that_is_killed_leaves_no_consumer_and_no_scorer_behind() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let mut consumers = consumer_fleet(&fleet, SCORER, &["--min", "2", "--max", "2"]);
    let own = eventually("each consumer has its scorer", || {
        let own = children(&consumers);
        let scorers: Vec<u32> = own.iter().flat_map(|consumer| children_of(*consumer)).collect();
        (own.len() == 2 && scorers.len() >= 2).then(|| [own, scorers].concat())
    });
    consumers.kill_9();
    eventually("all of them have ended", || own.iter().all(|pid| !is_alive(*pid)).then_some(()));
}

#[test]
fn a_fleet_whose_consumers_cannot_work_ends_with_their_error() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let mut consumers = consumer_fleet(&fleet, "command:false", &["--min", "2", "--max", "2"]);
    fleet.enqueue(&companies(&fleet, 100, "score"), "m", "j", &[]).expect(0);
    let ended = consumers.wait(SOON).expect(2);
    let words = ["error: expected the scorer \"false\" to answer", "error: expected a consumer to work"];
    assert!(words.iter().all(|words| ended.stderr.contains(words)), "{ended:?}");
}

#[test]
fn a_fleet_that_has_scored_goes_on_where_a_new_consumer_gives_up_its_scorer() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let consumers = consumer_fleet(&fleet, SCORER, &["--max", "1", "--batch", "1", "--max-attempts", "1"]);
    fleet.enqueue(&companies(&fleet, 5, "score"), "m", "first", &["--wait"]).expect(0);
    eventually("there is no consumer any more", || has(0, &consumers));
    let rows: String = (0..10).map(|row| format!("{row},{}\n", if row < 3 { "crash" } else { "" })).collect();
    let file = fleet.file("crashes.csv", format!("company_id,do\n{rows}"));
    fleet.enqueue(&file, "m", "second", &["--wait"]).expect(1);
    assert!(consumers.times_event("consumer_died") > 0, "no consumer gave up: {}", consumers.stderr());
    let record = fleet.finished("second");
    record.assert_counted_once(10);
    assert_eq!(record.causes(), [("scorer_crashed", 3)].into());
}

#[test]
fn a_fleet_whose_scorer_or_flags_do_not_work_says_so_before_it_connects() {
    let fleet = Fleet::fresh().at("amqp://127.0.0.1:1");
    for scorer in ["bayes:no-such.bif", "command:no-such-program"] {
        let consumer = fleet.program("consumer", &["--model", "m", "--scorer", scorer]).wait(SOON).expect(2);
        let ended = consumer_fleet(&fleet, scorer, &[]).wait(SOON).expect(2);
        assert_eq!(ended.error(), consumer.error());
    }
    consumer_fleet(&fleet, SCORER, &["--check-only"]).wait(SOON).expect(0);
    consumer_fleet(&fleet, SCORER, &[]).wait(SOON).expect(3);
    for (arguments, words) in [
        (&["--min", "3", "--max", "2"][..], "--min 3 and --max 2"),
        (&["--max", "0"], "0 is not in 1"),
        (&["--target", "0s"], "above zero"),
    ] {
        let ended = consumer_fleet(&fleet, SCORER, arguments).wait(SOON).expect(2);
        assert!(ended.stderr.contains(words), "{arguments:?}: {ended:?}");
    }
}

#[test]
fn a_fleet_keeps_its_consumers_while_no_aggregator_answers() {
    let fleet = Fleet::fresh();
    let mut aggregator = fleet.aggregator(&[]);
    let address = rollcall_tests::free_address();
    let consumers = consumer_fleet(&fleet, SCORER, &["--max", "1", "--metrics-addr", &address.to_string()]);
    let (mut producer, rest) = fleet.unfinished_enqueue("j", 2_000, &[]);
    eventually("there is a consumer", || has(1, &consumers));
    let before = consumers.times_event("leader_answers");
    aggregator.kill_9();
    drop(rest);
    producer.wait(SOON).expect(0);
    eventually("all results are in the ledger", || (fleet.answered("j") == 2_000).then_some(()));
    consumers.wait_until_event("no_leader_answers");
    let (status, why) = rollcall_tests::get(address, "/readyz").unwrap();
    assert!(status == 503 && why.contains("no aggregator answers"), "{why}");
    assert_eq!(children(&consumers).len(), 1, "a fleet that knows nothing changes nothing");
    let _next = fleet.aggregator(&[]);
    eventually("there is no consumer any more", || has(0, &consumers));
    assert!(before > 0 && consumers.times_event("leader_answers") > before, "{}", consumers.stderr());
    fleet.finished("j").assert_counted_once(2_000);
}

#[test]
fn each_consumer_of_a_fleet_serves_its_own_metrics_on_a_port_that_is_free() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let address = four_free_addresses();
    let on = |number| SocketAddr::new(address.ip(), address.port() + number);
    let _other_program = TcpListener::bind(on(1)).unwrap();
    let mut consumers = consumer_fleet(&fleet, SCORER, &["--min", "2", "--max", "2", "--metrics-addr", &address.to_string()]);
    eventually("the fleet is ready", || rollcall_tests::get(address, "/readyz").filter(|(status, _)| *status == 200));
    let shown = rollcall_tests::metrics(address);
    assert_eq!(rollcall_tests::value(&shown, "rollcall_fleet_consumers"), Some(2.0), "{shown}");
    for own in [on(2), on(3)] {
        eventually("a consumer is ready", || rollcall_tests::get(own, "/readyz").filter(|(status, _)| *status == 200));
        assert_eq!(rollcall_tests::value(&rollcall_tests::metrics(own), "rollcall_workers"), Some(1.0));
    }
    assert!(consumers.ended().is_none());
    assert_eq!(consumers.times_event("metrics_port_taken"), 1, "{}", consumers.stderr());
}

#[test]
fn a_fleet_that_cannot_start_another_consumer_goes_on_with_those_it_has_and_tries_again() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    // Of all ports the last three, on an address that no other test has.
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    let on = |port| SocketAddr::new(Ipv4Addr::new(127, high.saturating_add(1), middle, low).into(), port);
    let last = TcpListener::bind(on(65_535)).unwrap();
    let consumers = consumer_fleet(&fleet, SCORER, &["--min", "2", "--max", "2", "--metrics-addr", &on(65_533).to_string()]);
    consumers.wait_until_event("consumer_not_started");
    eventually("there is one consumer", || has(1, &consumers));
    drop(last);
    eventually("there are two consumers", || has(2, &consumers));
}

/// An address whose port and the three after it are free.
fn four_free_addresses() -> SocketAddr {
    eventually("four ports in a row are free", || {
        let address = rollcall_tests::free_address();
        let is_free = |number| TcpListener::bind((address.ip(), address.port().checked_add(number)?)).ok();
        (1..=3).all(|number| is_free(number).is_some()).then_some(address)
    })
}
