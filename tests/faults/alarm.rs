//! A broker that is short of memory stops reading from connections that publish.

use std::time::Duration;

use rollcall_tests::{Broker, Fleet, Process, eventually};

const COMPANIES: u32 = 60_000;

/// The consumer's `--grace`. Others take five seconds, and two more to close a connection.
const GRACE: Duration = Duration::from_secs(5);

fn set_memory(broker: &Broker, watermark: &str) {
    broker.ctl(&["set_vm_memory_high_watermark", watermark]);
}

/// Waits until the alarm has blocked those who publish much, and checks that the ledger's reader is not among them.
fn wait_until_blocked(broker: &Broker) {
    eventually("the broker has blocked who publishes", || {
        let states = broker.ctl(&["list_connections", "client_properties", "state"]);
        let blocked: Vec<&str> = states.lines().filter(|line| line.trim_end().ends_with("\tblocked")).collect();
        assert!(
            blocked.iter().all(|line| !line.contains("aggregator: ledger")),
            "the ledger's reader has published: {blocked:?}"
        );
        (blocked.len() >= 2).then_some(())
    });
}

fn start_job(fleet: &Fleet, job: &str) -> Process {
    let companies = fleet.companies(COMPANIES);
    let producer = fleet.start_enqueue(&companies, "questionnaire", job, &["--wait"]);
    fleet.mid_job(job, COMPANIES.into());
    producer
}

#[test]
fn a_memory_alarm_blocks_a_job_and_loses_nothing_and_who_is_asked_to_stop_meanwhile_does() {
    let Some(broker) = Broker::private() else { return };
    let fleet = Fleet::on(&broker);
    let consumer = || {
        fleet.consumer(
            "questionnaire",
            "bayes:deploy/demo/questionnaire.bif",
            &["--particles", "50", "--threads", "1", "--grace", "5s"],
        )
    };
    let (aggregator, first) = (fleet.aggregator(&[]), consumer());

    let mut producer = start_job(&fleet, "held");
    set_memory(&broker, "0.00001");
    wait_until_blocked(&broker);
    set_memory(&broker, "0.4");
    producer.wait(Duration::from_secs(60)).expect(0);
    fleet.finished("held").assert_counted_once(COMPANIES.into());
    for process in [&aggregator, &first] {
        assert_eq!(process.times_event("connection_lost"), 0, "{}", process.stderr());
    }

    let mut producer = start_job(&fleet, "stopped");
    set_memory(&broker, "0.00001");
    wait_until_blocked(&broker);
    for mut process in [aggregator, first] {
        process.terminate();
        process.wait(GRACE + Duration::from_secs(3)).expect(0);
    }
    producer.terminate();
    producer.wait(GRACE + Duration::from_secs(3)).expect(130);
    set_memory(&broker, "0.4");
}
