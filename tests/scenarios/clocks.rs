//! Machines whose clocks differ by an hour.

use std::path::PathBuf;
use std::time::Duration;

use rollcall_tests::{FakeClock, Fleet, Process, SCORER, eventually};

fn aggregator(fleet: &Fleet, clock: &FakeClock, by: &str) -> Process {
    let mut command = fleet.program_command::<&str>("aggregator", &[]);
    command.envs(clock.environment(by));
    let aggregator = fleet.start("aggregator", command);
    aggregator.wait_until_event("counting");
    aggregator
}

fn three(fleet: &Fleet) -> PathBuf {
    fleet.file("three.csv", "company_id,do\na,\nb,\nc,\n")
}

#[test]
fn a_deadline_that_is_a_span_and_a_duration_hold_whatever_the_clocks_of_producer_and_aggregator_say() {
    let Some(clock) = FakeClock::installed() else { return };
    for (producers, aggregators) in [("-1h", "+0"), ("+1h", "+0"), ("+0", "+1h")] {
        let fleet = Fleet::fresh();
        let _aggregator = aggregator(&fleet, &clock, aggregators);
        let file = three(&fleet);
        let mut enqueue =
            fleet.producer_command(&["enqueue", file.to_str().unwrap(), "-m", "m", "--job", "j", "--deadline", "10m"]);
        enqueue.envs(clock.environment(producers));
        fleet.start("producer", enqueue).wait(Duration::from_secs(60)).expect(0);
        eventually("the job is sealed", || (fleet.status("j")["state"] == "running").then_some(()));
        let age = fleet.status("j")["duration_seconds"].as_f64().unwrap();
        let _consumer = fleet.consumer("m", SCORER, &["--threads", "1"]);
        fleet.producer(&["watch", "j"]).expect(0);
        let done = &fleet.finished("j").done[0]["data"];
        let seconds = done["duration_seconds"].as_f64().unwrap();
        assert!(
            (0.0..60.0).contains(&age) && age <= seconds && seconds < 60.0,
            "producer {producers}, aggregator {aggregators}: {done}"
        );
        assert!(done["companies_per_second"].as_f64().unwrap() > 0.0, "{done}");
    }
}

#[test]
fn a_span_that_is_over_ends_the_job_whatever_the_clock_of_the_producer_says() {
    let Some(clock) = FakeClock::installed() else { return };
    let fleet = Fleet::fresh();
    let _aggregator = aggregator(&fleet, &clock, "+0");
    let file = three(&fleet);
    let arguments =
        ["enqueue", file.to_str().unwrap(), "-m", "m", "--job", "j", "--deadline", "2s", "--wait", "--output", "json"];
    let mut enqueue = fleet.producer_command(&arguments);
    enqueue.envs(clock.environment("+1h"));
    let done = fleet.start("producer", enqueue).wait(Duration::from_secs(60)).expect(1).json();
    assert_eq!((&done["state"], &done["reason"]), (&"expired".into(), &"it was to be done within 2s".into()), "{done}");
    assert!((2.0..10.0).contains(&done["duration_seconds"].as_f64().unwrap()), "{done}");
}

#[test]
fn the_duration_of_a_job_that_another_aggregator_goes_on_with_is_known_where_their_clocks_agree_and_else_null() {
    let Some(clock) = FakeClock::installed() else { return };
    for (next, is_known) in [("+0", true), ("+1h", false), ("-1h", false)] {
        let fleet = Fleet::fresh();
        let mut first = aggregator(&fleet, &clock, "+0");
        fleet.enqueue(&three(&fleet), "m", "j", &["--deadline", "10m"]).expect(0);
        eventually("the job is sealed", || (fleet.status("j")["state"] == "running").then_some(()));
        first.terminate();
        first.wait(Duration::from_secs(10)).expect(0);
        let _second = aggregator(&fleet, &clock, next);
        let _consumer = fleet.consumer("m", SCORER, &["--threads", "1"]);
        let watched = fleet.producer(&["watch", "j", "--output", "json"]).expect(0).json();
        let seconds = watched["duration_seconds"].as_f64();
        assert_eq!(seconds.is_some(), is_known, "{next}: {watched}");
        assert!(seconds.is_none_or(|seconds| (0.0..60.0).contains(&seconds)), "{next}: {watched}");
        assert_eq!(watched["companies_per_second"].is_null(), !is_known, "{next}: {watched}");
        let words = fleet.producer(&["watch", "j"]).expect(0).stdout;
        assert!(words.contains("job j succeeded: 3 companies"), "{words}");
        fleet.finished("j").assert_counted_once(3);
    }
}
