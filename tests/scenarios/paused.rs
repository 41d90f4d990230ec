//! A paused job: none of it is scored, nothing is lost, and other jobs continue.

use std::path::PathBuf;

use rollcall_tests::{Fleet, SCORER, eventually};

fn companies(fleet: &Fleet, name: &str, count: usize) -> PathBuf {
    let rows: String = (0..count).map(|index| format!("{name}{index},\n")).collect();
    fleet.file(&format!("{name}.csv"), format!("company_id,do\n{rows}"))
}

#[test]
fn a_paused_job_waits_while_others_of_its_model_go_on_and_loses_nothing() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let consumer = fleet.consumer("m", SCORER, &["--threads", "1", "--batch", "1"]);
    let rows: String = (0..1_500).map(|index| format!("p{index},{}\n", if index < 100 { "slow" } else { "" })).collect();
    let paused = fleet.file("p.csv", format!("company_id,do\n{rows}"));
    fleet.enqueue(&paused, "m", "paused", &[]).expect(0);
    fleet.mid_job("paused", 1_500);
    assert!(fleet.producer(&["pause", "paused"]).expect(0).stdout.contains("resume paused"));
    // Its companies are queued behind those of the paused job.
    fleet.enqueue(&companies(&fleet, "other", 50), "m", "other", &["--wait"]).expect(0);
    let counted = fleet.status("paused");
    assert_eq!(counted["state"], "paused");
    drop(consumer);
    // A consumer that starts later sees the pause too.
    let _consumer = fleet.consumer("m", SCORER, &["--threads", "1"]);
    fleet.enqueue(&companies(&fleet, "third", 50), "m", "third", &["--wait"]).expect(0);
    let now = fleet.status("paused");
    let few = counted["succeeded"].as_u64().unwrap() + 2;
    assert!(now["succeeded"].as_u64().unwrap() <= few, "no more is scored than had been begun: {now}");
    assert!(fleet.producer(&["resume", "paused"]).expect(0).stdout.contains("running"));
    fleet.finished("paused").assert_counted_once(1_500);
    let queue = fleet.name("paused.paused");
    eventually("its queue is gone", || fleet.waiting_in(&queue).is_none().then_some(()));
}

#[test]
fn companies_of_paused_and_cancelled_jobs_are_not_shown_as_waiting() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    for (job, count) in [("paused", 20), ("cancelled", 300), ("running", 4)] {
        fleet.enqueue(&companies(&fleet, job, count), "m", job, &[]).expect(0);
    }
    fleet.producer(&["pause", "paused"]).expect(0);
    fleet.producer(&["cancel", "cancelled"]).expect(0);
    eventually("all are in the queues, and those of one job wait", || {
        let shown = &fleet.status("running")["fleet"];
        let counts = ["waiting", "paused", "queued"].map(|key| shown[key].as_u64());
        (counts == [Some(4), Some(20), Some(324)]).then_some(())
    });
    let text = fleet.producer(&["status"]).expect(0).stdout;
    assert!(text.contains("waiting 4 until one is started, paused 20; 320 more in its queues"), "{text}");
    let text = fleet.producer(&["status", "paused"]).expect(0).stdout;
    assert!(text.contains("it is paused, with 20 companies left"), "{text}");
}

#[test]
fn a_job_can_be_paused_again_and_cancelled_while_it_is_paused() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    // Too slow to be done between a resume and a pause.
    let rows: String = (0..500).map(|index| format!("p{index},slow\n")).collect();
    fleet.enqueue(&fleet.file("p.csv", format!("company_id,do\n{rows}")), "m", "j", &[]).expect(0);
    fleet.producer(&["pause", "j"]).expect(0);
    let _consumer = fleet.consumer("m", SCORER, &["--threads", "1", "--batch", "1"]);
    let set_aside = || fleet.waiting_in(&fleet.name("paused.j"));
    eventually("all are set aside", || (set_aside() == Some(500)).then_some(()));
    for command in ["resume", "pause"] {
        fleet.producer(&[command, "j"]).expect(0);
    }
    let done = fleet.producer(&["cancel", "j", "--output", "json"]).expect(0).json();
    assert_eq!((&done["state"], &done["total"]), (&"cancelled".into(), &500.into()));
    let ended = fleet.producer(&["pause", "j"]).expect(1);
    assert!(ended.error().contains("ended as cancelled") && ended.error().contains("nothing to pause"), "{ended:?}");
}
