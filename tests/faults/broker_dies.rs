//! The broker is killed or frozen while a job runs.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use rollcall_tests::{Broker, Fleet, Process, eventually};

const COMPANIES: u32 = 40_000;
const DEADLINE: Duration = Duration::from_secs(90);

/// What a process logs when it loses its connection.
const OUTAGE: &str = "connection_lost";

/// Starts two aggregators and two consumers.
fn start_all(fleet: &Fleet) -> Vec<Process> {
    let active = fleet.aggregator(&[]);
    active.wait_until_event("counting");
    let standby = fleet.aggregator(&[]);
    standby.wait_until_event("standing_by");
    vec![active, standby, fleet.quick_consumer(), fleet.quick_consumer()]
}

/// Starts a job and waits until some of its companies are counted.
fn start_job(fleet: &Fleet) -> Process {
    let companies = fleet.companies(COMPANIES);
    let producer = fleet.start_enqueue(&companies, "questionnaire", "j", &["--wait"]);
    fleet.mid_job("j", COMPANIES.into());
    producer
}

fn assert_it_ends(fleet: &Fleet, mut producer: Process) {
    producer.wait(DEADLINE).expect(0);
    fleet.finished("j").assert_counted_once(COMPANIES.into());
}

#[test]
fn a_job_outlives_the_kill_of_the_broker_and_each_process_tells_of_it_once() {
    let Some(broker) = Broker::private() else { return };
    let fleet = Fleet::on(&broker);
    let processes = start_all(&fleet);
    // The wait comes before the job, so that the job is not over before the kill.
    broker.wait_until_queues_are_durable();
    let producer = start_job(&fleet);
    broker.kill_9();
    for process in &processes {
        process.wait_until_event(OUTAGE);
    }
    broker.restart();
    assert_it_ends(&fleet, producer);
    for process in &processes {
        assert_eq!(process.times_event(OUTAGE), 1, "{}", process.stderr());
    }
}

/// Whether the broker answers a client's first bytes within two seconds.
fn answers(broker: &Broker) -> bool {
    let place = broker.url().rsplit_once('@').unwrap().1.split('/').next().unwrap();
    let mut stream = TcpStream::connect(place).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    stream.write_all(b"AMQP\x00\x00\x09\x01").unwrap();
    stream.read_exact(&mut [0]).is_ok()
}

#[test]
fn a_job_outlives_a_broker_that_freezes_for_a_while_and_then_for_longer_than_a_heartbeat() {
    let Some(broker) = Broker::private() else { return };
    let fleet = Fleet::on(&broker).with_heartbeat(2);
    let processes = start_all(&fleet);
    let producer = start_job(&fleet);
    broker.freeze();
    assert!(!answers(&broker), "a frozen broker answers");
    broker.thaw();
    eventually("the broker answers again", || answers(&broker).then_some(()));
    broker.freeze();
    for process in &processes {
        process.wait_until_event(OUTAGE);
    }
    broker.thaw();
    assert_it_ends(&fleet, producer);
}

#[test]
fn a_process_that_is_told_how_long_to_wait_for_the_broker_waits_no_longer() {
    let Some(broker) = Broker::private() else { return };
    let fleet = Fleet::on(&broker);
    let mut aggregator = fleet.aggregator(&["--max-downtime", "2s"]);
    aggregator.wait_until_event("counting");
    broker.kill_9();
    let ended = aggregator.wait(DEADLINE).expect(3);
    assert!(ended.stderr.lines().last().unwrap().contains("--max-downtime"), "{ended:?}");
}
