//! Leaders that are cut off or killed around the done event, and their successors.

use std::time::Duration;

use rollcall_tests::{BOTH, Fleet, Process, Relay, Way, eventually};

const DEADLINE: Duration = Duration::from_secs(60);

const TOOK: &str = "became_leader";

/// Starts the leader, behind a relay, and a standby that is not. Behind a link that is held, the leader goes on for six seconds, until two
/// heartbeats are missing.
fn two_aggregators(fleet: &Fleet) -> (Relay, Process, Process) {
    let relay = Relay::before(fleet.url());
    let active = fleet.behind(&relay).with_heartbeat(3).aggregator(&["--log", "info,rollcall_aggregator=debug"]);
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
    let _consumer = fleet.quick_consumer();
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
fn a_leader_that_is_stopped_is_replaced_once_its_heartbeats_are_missed_and_stands_by_when_it_goes_on() {
    let fleet = Fleet::fresh();
    // On a busy machine, a heartbeat of one second may be late of itself.
    let leader = fleet.with_heartbeat(2).aggregator(&[]);
    leader.wait_until_event("counting");
    let standby = fleet.aggregator(&[]);
    standby.wait_until_event("standing_by");
    let _consumer = fleet.quick_consumer();
    let companies = fleet.companies(40_000);
    let mut producer = fleet.start_enqueue(&companies, "questionnaire", "j", &["--wait"]);
    fleet.mid_job("j", 40_000);
    leader.freeze();
    standby.wait_until_event(TOOK);
    leader.thaw();
    wait_until_standby_again(&leader);
    producer.wait(DEADLINE).expect(0);
    fleet.finished("j").assert_counted_once(40_000);
}

#[test]
fn of_a_leader_that_is_cut_off_with_its_done_event_under_way_the_successor_publishes_one_and_the_ledger_has_no_other() {
    let fleet = Fleet::fresh();
    let (relay, active, standby) = two_aggregators(&fleet);
    let consumer = fleet.quick_consumer();
    consumer.wait_until_event("taking_work");
    consumer.freeze();
    let companies = fleet.companies(200);
    fleet.enqueue(&companies, "questionnaire", "j", &[]).expect(0);
    eventually("the job is sealed", || (fleet.status("j")["state"] == "running").then_some(()));
    // It still reads the ledger and counts to the end, but its events are held.
    relay.hold("rollcall aggregator: events", &[Way::ToBroker]);
    consumer.thaw();
    active.wait_until_event("announcing_done");
    standby.wait_until_event("announced_done");
    relay.pass();
    wait_until_standby_again(&active);
    fleet.finished("j").assert_counted_once(200);
}

#[test]
fn of_a_leader_that_is_killed_after_its_done_event_was_read_back_the_successor_publishes_no_other() {
    let fleet = Fleet::fresh();
    let mut active = fleet.aggregator(&[]);
    active.wait_until_event("counting");
    let standby = fleet.aggregator(&[]);
    standby.wait_until_event("standing_by");
    let _consumer = fleet.quick_consumer();
    let companies = fleet.companies(200);
    fleet.producer(&["enqueue", companies.to_str().unwrap(), "-m", "questionnaire", "--job", "j"]).expect(0);
    active.wait_until_event("announced_done");
    active.kill_9();
    standby.wait_until_event(TOOK);
    // It answers no query before it has read the ledger to its end and published the events that were due.
    assert_eq!(fleet.status("j")["state"], "succeeded");
    fleet.finished("j").assert_counted_once(200);
}
