//! A cluster of three nodes loses a node, is partitioned, or is restarted node by node. Every queue has a replica on each node.
//!
//! Each test takes about a minute, of which starting the cluster takes a third. `make cluster` runs them.

use std::time::Duration;

use rollcall_tests::{BOTH, Cluster, Fleet, Process, Relay, SCORER, eventually};

const COMPANIES: u32 = 40_000;
const DEADLINE: Duration = Duration::from_secs(90);

/// What a process logs when it loses its connection.
const OUTAGE: &str = "connection_lost";

/// The node to which the fleet connects first, so that it leads the fleet's queues.
const LEADER: usize = 0;
const OTHER: usize = 1;

fn active_aggregator(fleet: &Fleet) -> Process {
    let active = fleet.aggregator(&[]);
    active.wait_until_event("counting");
    active
}

fn standby_aggregator(fleet: &Fleet) -> Process {
    let standby = fleet.aggregator(&[]);
    standby.wait_until_event("standing_by");
    standby
}

/// Starts a job whose enqueuing takes at least six seconds, and waits until some of its companies are counted.
fn start_job(fleet: &Fleet, relay: &Relay) -> Process {
    const PRODUCER: &str = "rollcall producer j";
    let companies = fleet.companies(COMPANIES);
    let producer = fleet.behind(relay).start_enqueue(&companies, "questionnaire", "j", &["--wait"]);
    eventually("the producer is connected", || (relay.links(PRODUCER) > 0).then_some(()));
    // At most 1,000 messages are unconfirmed.
    relay.delay(PRODUCER, BOTH, Duration::from_millis(300));
    fleet.mid_job("j", COMPANIES.into());
    producer
}

fn assert_unsealed(fleet: &Fleet) {
    assert_eq!(fleet.status("j")["state"], "unsealed", "the producer was done before the fault struck: make the job longer");
}

fn assert_it_leads_everything(cluster: &Cluster, fleet: &Fleet) {
    let led = cluster.led_by(LEADER);
    for queue in ["ledger", "checkpoint", "work.questionnaire", "queries"] {
        assert!(led.contains(&fleet.name(queue)), "{queue} is not among what the node leads: {led:?}");
    }
}

#[test]
#[ignore = "takes a minute: make cluster"]
fn a_job_outlives_the_kill_of_the_node_that_leads_every_queue_and_has_every_client() {
    let Some(cluster) = Cluster::of_three() else { return };
    let relay = Relay::before(cluster[LEADER].url());
    let fleet = Fleet::on(&cluster[LEADER]).behind(&relay);
    let processes = [active_aggregator(&fleet), standby_aggregator(&fleet), fleet.quick_consumer(), fleet.quick_consumer()];
    assert_it_leads_everything(&cluster, &fleet);
    let mut producer = start_job(&fleet, &relay);
    assert_unsealed(&fleet);
    cluster[LEADER].kill_9();
    relay.redirect_to(cluster[OTHER].url());
    for process in processes.iter().chain([&producer]) {
        process.wait_until_event(OUTAGE);
    }
    producer.wait(DEADLINE).expect(0);
    fleet.finished("j").assert_counted_once(COMPANIES.into());
}

#[test]
#[ignore = "takes a minute: make cluster"]
fn a_job_outlives_a_partition_with_clients_on_both_sides_and_nothing_that_the_minority_confirmed_is_lost() {
    let Some(cluster) = Cluster::of_three() else { return };
    let (few, many) = (Fleet::on(&cluster[LEADER]), Fleet::on(&cluster[OTHER]));
    let cut_off = [active_aggregator(&few), few.quick_consumer()];
    let (standby, _consumer) = (standby_aggregator(&many), many.quick_consumer());
    assert_it_leads_everything(&cluster, &few);
    let relay = Relay::before(few.url());
    let mut producer = start_job(&few, &relay);
    cluster.cut_off(LEADER);
    for process in cut_off.iter().chain([&producer]) {
        process.wait_until_event(OUTAGE);
    }
    standby.wait_until_event("counting");
    assert!(!cluster.takes_part(LEADER), "a node that is cut off goes on alone");
    assert_unsealed(&many);
    cluster.heal(LEADER);
    eventually("those who were cut off are back", || {
        let again = |process: &Process, event: &str| process.times_event(event) == 2;
        (again(&cut_off[0], "standing_by") && again(&cut_off[1], "taking_work")).then_some(())
    });
    producer.wait(DEADLINE).expect(0);
    many.finished("j").assert_counted_once(COMPANIES.into());
}

#[test]
#[ignore = "takes two minutes: make cluster"]
fn a_job_outlives_a_rolling_restart_of_all_nodes_all_consumers_and_both_aggregators() {
    const SLOW: u64 = 600;
    const WAITING: u64 = 3;
    let Some(cluster) = Cluster::of_three() else { return };
    let on = [0, 1, 2].map(|node| Fleet::on(&cluster[node]));
    let mut aggregators = [active_aggregator(&on[0]), standby_aggregator(&on[1])];
    // The last companies are scored only once everything has been restarted.
    let rows = (0..SLOW).map(|row| format!("{row},slow\n")).chain((SLOW..SLOW + WAITING).map(|row| format!("{row},gated\n")));
    let file = on[2].file("companies.csv", format!("company_id,do\n{}", rows.collect::<String>()));
    let notes = on[2].path("notes");
    let scorer = format!("{SCORER} {}", notes.display());
    let consumer = |fleet: &Fleet| fleet.consumer("m", &scorer, &["--threads", "1", "--batch", "1", "--grace", "5s"]);
    let mut consumers: Vec<Process> = on.iter().map(consumer).collect();
    let mut producer = on[2].start_enqueue(&file, "m", "j", &["--wait"]);
    on[0].mid_job("j", SLOW);
    for node in 0..3 {
        cluster[node].stop();
        cluster[node].restart();
        cluster.wait_until_replicas_are_online();
    }
    for (old, fleet) in consumers.iter_mut().zip(&on) {
        let new = consumer(fleet);
        old.terminate();
        old.wait(DEADLINE).expect(0);
        *old = new;
    }
    for (old, fleet) in aggregators.iter_mut().zip(&on) {
        let new = standby_aggregator(fleet);
        old.terminate();
        old.wait(DEADLINE).expect(0);
        *old = new;
    }
    assert_eq!(on[1].status("j")["state"], "running");
    std::fs::write(notes.with_extension("open"), "").unwrap();
    producer.wait(DEADLINE).expect(0);
    on[1].finished("j").assert_counted_once(SLOW + WAITING);
}
