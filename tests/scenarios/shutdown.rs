//! A process that is asked to stop does so in time, whatever it is doing and whether or not there is a broker.

use std::io::PipeWriter;
use std::net::TcpListener;
use std::time::Duration;

use rollcall_tests::{Broker, Fleet, Process, eventually};

use super::command_scorer::{assert_no_scorer_lives, companies, noted, pids};

/// The consumer's `--grace`, and the fixed grace period of the others.
const GRACE: &str = "5s";

/// The grace period, two seconds to close connections, and a little for a busy machine.
const GRACE_AND_MORE: Duration = Duration::from_secs(8);

/// The exit code by which a script knows that the command was interrupted.
const INTERRUPTED: i32 = 130;

/// An aggregator, a consumer and a producer, all busy.
struct Busy {
    aggregator: Process,
    consumer: Process,
    producer: Process,
    /// The producer waits for more of its file while this is open.
    _rest: PipeWriter,
}

impl Busy {
    fn on(fleet: &Fleet) -> Busy {
        let aggregator = fleet.aggregator(&[]);
        let consumer = fleet.consumer("n", &noted(fleet, "lasting"), &["--threads", "2", "--batch", "1", "--grace", GRACE]);
        let slow: Vec<(usize, &str)> = (0..500).map(|index| (index, "slow")).collect();
        fleet.enqueue(&companies(fleet, 500, &slow), "n", "slow", &[]).expect(0);
        fleet.mid_job("slow", 500);
        let (producer, rest) = fleet.unfinished_enqueue("j", 3_000, &[]);
        Busy { aggregator, consumer, producer, _rest: rest }
    }

    fn each(&self) -> [&Process; 3] {
        [&self.producer, &self.consumer, &self.aggregator]
    }

    fn assert_they_end(mut self, fleet: &Fleet) {
        self.producer.wait(GRACE_AND_MORE).expect(INTERRUPTED);
        for process in [&mut self.consumer, &mut self.aggregator] {
            process.wait(GRACE_AND_MORE).expect(0);
        }
        assert_no_scorer_lives(fleet);
    }
}

#[test]
fn asked_to_stop_twice_in_a_row_each_process_ends_in_good_order() {
    let fleet = Fleet::fresh();
    let busy = Busy::on(&fleet);
    for process in busy.each() {
        process.terminate();
        process.terminate();
    }
    busy.assert_they_end(&fleet);
    let record = fleet.ledger("j");
    assert!(record.events.iter().any(|(event, _)| event == "cancelled"), "the producer left without a word: {record:?}");
    let _next = [fleet.aggregator(&[]), fleet.consumer("n", &noted(&fleet, "mended"), &[])];
    fleet.finished("slow").assert_counted_once(500);
}

#[test]
fn asked_to_stop_while_the_broker_is_away_each_process_ends_and_leaves_no_scorer_behind() {
    let Some(broker) = Broker::private() else { return };
    let fleet = Fleet::on(&broker);
    let busy = Busy::on(&fleet);
    broker.kill_9();
    // The producer waits for its file and does not use its connection.
    for process in [&busy.consumer, &busy.aggregator] {
        process.wait_until_event("connection_lost");
    }
    for process in busy.each() {
        process.terminate();
    }
    busy.assert_they_end(&fleet);
}

#[test]
fn asked_to_stop_before_the_broker_has_answered_each_process_ends_and_leaves_no_scorer_behind() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let fleet = Fleet::fresh().at(&format!("amqp://{}/%2f", silent.local_addr().unwrap()));
    let file = companies(&fleet, 3, &[]);
    let (file, scorer) = (file.to_str().unwrap(), noted(&fleet, "lasting"));
    let starting: [(&str, &[&str], i32); 8] = [
        ("producer", &["enqueue", file, "-m", "m"], INTERRUPTED),
        ("producer", &["enqueue", file, "-m", "m", "--job", "j", "--wait"], INTERRUPTED),
        ("producer", &["enqueue", file, "--continue", "j"], INTERRUPTED),
        ("producer", &["redrive", "j"], INTERRUPTED),
        ("producer", &["results", "j"], INTERRUPTED),
        ("producer", &["failures", "j"], INTERRUPTED),
        ("consumer", &["--model", "m", "--scorer", &scorer, "--grace", GRACE], 0),
        ("aggregator", &["--log", "info"], 0),
    ];
    // A program that has connected to the broker has installed its signal handlers.
    let asked = starting.map(|(program, arguments, code)| {
        let process = fleet.program(program, arguments);
        (process, silent.accept().unwrap(), code)
    });
    eventually("the consumer has a scorer", || (!pids(&fleet).is_empty()).then_some(()));
    asked.iter().for_each(|(process, ..)| process.terminate());
    for (mut process, _link, code) in asked {
        process.wait(GRACE_AND_MORE).expect(code);
    }
    assert_no_scorer_lives(&fleet);
}
