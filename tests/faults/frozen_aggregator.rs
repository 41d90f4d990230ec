//! Two aggregators that both believe that they lead.

use std::time::Duration;

use rollcall_tests::{BOTH, Fleet, Process, Relay, Way, eventually};

const DEADLINE: Duration = Duration::from_secs(60);

const TOOK: &str = "became_leader";

/// Starts the leader, behind a relay, and a standby that is not.
fn two_aggregators(fleet: &Fleet) -> (Relay, Process, Process) {
    let relay = Relay::before(fleet.url());
    let active = fleet.behind(&relay).with_heartbeat(1).aggregator(&["--log", "info,rollcall_aggregator=debug"]);
    active.wait_until_event("counting");
    let standby = fleet.aggregator(&[]);
    standby.wait_until_event("standing_by");
    (relay, active, standby)
}

/// Waits until an aggregator that was cut off has noticed, and is a standby.
fn wait_until_standby_again(aggregator: &Process) {
    eventually("it is a standby again", || (aggregator.times_event("standing_by") == 2).then_some(()));
}

#[test]
fn an_aggregator_behind_a_frozen_link_is_replaced_and_one_done_event_is_said() {
    let fleet = Fleet::fresh();
    let (relay, active, standby) = two_aggregators(&fleet);
    let _consumer = fleet.demo_consumer();
    let companies = fleet.companies(40_000);
    let mut producer = fleet.start_enqueue(&companies, "questionnaire", "j", &["--wait"]);
    fleet.mid_job("j", 40_000);
    relay.hold("rollcall aggregator", BOTH);
    standby.wait_until_event(TOOK);
    relay.pass();
    wait_until_standby_again(&active);
    producer.wait(DEADLINE).expect(0);
    fleet.finished("j").assert_counted_once(40_000);
}

#[test]
fn a_done_event_that_comes_too_late_from_an_aggregator_that_was_cut_off_is_not_taken() {
    let fleet = Fleet::fresh();
    let (relay, active, standby) = two_aggregators(&fleet);
    let companies = fleet.companies(200);
    fleet.enqueue(&companies, "questionnaire", "j", &[]).expect(0);
    eventually("the job is sealed", || (fleet.status("j")["state"] == "running").then_some(()));
    // It still reads the ledger and counts to the end, but its events are held.
    relay.hold("rollcall aggregator: events", &[Way::ToBroker]);
    let _consumer = fleet.demo_consumer();
    active.wait_until_event("announcing_done");
    standby.wait_until_event("announced_done");
    relay.pass();
    wait_until_standby_again(&active);
    fleet.finished("j").assert_counted_once(200);
}

#[test]
fn a_successor_does_not_say_again_what_its_predecessor_said_with_its_last_breath() {
    let fleet = Fleet::fresh();
    let mut active = fleet.aggregator(&[]);
    active.wait_until_event("counting");
    let standby = fleet.aggregator(&[]);
    standby.wait_until_event("standing_by");
    let _consumer = fleet.demo_consumer();
    let companies = fleet.companies(200);
    fleet.producer(&["enqueue", companies.to_str().unwrap(), "-m", "questionnaire", "--job", "j"]).expect(0);
    active.wait_until_event("announced_done");
    active.kill_9();
    standby.wait_until_event(TOOK);
    // It answers no query before it has read the ledger to its end and published the events that were due.
    assert_eq!(fleet.status("j")["state"], "succeeded");
    fleet.finished("j").assert_counted_once(200);
}
