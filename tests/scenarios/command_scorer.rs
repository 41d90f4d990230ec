//! A scorer that crashes, hangs or answers nonsense fails the company on which it does so, and no other.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use rollcall_tests::{Fleet, Outcome, Process, SCORER, eventually};

/// A scorer that adds its process id to a file of the fleet's, with more options (see `fixtures/scorer.py`).
pub(crate) fn noted(fleet: &Fleet, options: &str) -> String {
    format!("{SCORER} {} {options}", fleet.path("pids").display())
}

/// The process ids of all scorers so far.
pub(crate) fn pids(fleet: &Fleet) -> Vec<String> {
    fs::read_to_string(fleet.path("pids")).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// Whether a process is still a scorer. A zombie has no command line.
pub(crate) fn lives(pid: &str) -> bool {
    fs::read_to_string(Path::new("/proc").join(pid).join("cmdline")).is_ok_and(|line| line.contains("scorer.py"))
}

pub(crate) fn assert_no_scorer_lives(fleet: &Fleet) {
    let pids = pids(fleet);
    assert!(!pids.is_empty());
    let left: Vec<&String> = pids.iter().filter(|pid| lives(pid)).collect();
    assert!(left.is_empty(), "of the scorers {pids:?}, {left:?} are left behind");
}

/// Companies `c0`, `c1` and so on, of which `bad` have a value in their column `do`.
pub(crate) fn companies(fleet: &Fleet, count: usize, bad: &[(usize, &str)]) -> std::path::PathBuf {
    let what = |index: usize| bad.iter().find(|(bad, _)| *bad == index).map_or("", |(_, what)| what);
    let rows: String = (0..count).map(|index| format!("c{index},{}\n", what(index))).collect();
    fleet.file("c.csv", format!("company_id,do\n{rows}"))
}

const SHARED: [&str; 6] = ["--batch", "16", "--prefetch", "64", "--threads", "2"];

#[test]
fn only_the_companies_on_which_a_scorer_fails_fail_and_each_says_why() {
    let fleet = Fleet::fresh();
    let bad = [(10, "crash"), (11, "refuse"), (40, "hang"), (70, "nonsense"), (99, "refuse")];
    let file = companies(&fleet, 100, &bad);
    // Enqueued before any consumer runs, so that batches are full.
    fleet.enqueue(&file, "m", "j", &[]).expect(0);
    let _aggregator = fleet.aggregator(&[]);
    let consumer = fleet.consumer("m", &noted(&fleet, ""), &[&SHARED[..], &["--score-timeout", "1s"]].concat());
    let record = fleet.finished("j");
    record.assert_counted_once(100);
    let causes = [("scorer_crashed", 1), ("no_data", 2), ("timeout", 1), ("invalid_answer", 1)];
    assert_eq!(record.causes(), causes.into());
    for (index, cause) in [(10, "scorer_crashed"), (11, "no_data"), (40, "timeout"), (70, "invalid_answer"), (99, "no_data")] {
        assert_eq!(record.outcomes[&index], [Outcome::Failed(cause.to_owned())], "company {index}");
    }
    for body in record.bodies().filter(|body| body["outcome"] == "succeeded") {
        assert_eq!(body["prediction"]["company_id"], body["company_id"], "a prediction went to another company");
    }
    let message = |index: u64| record.bodies().find(|body| body["index"] == index).unwrap()["error"]["message"].clone();
    for (index, words) in [(10, "exit code 9"), (11, "nothing is known of it"), (40, "within 1s"), (70, "nonsense")] {
        assert!(message(index).as_str().unwrap().contains(words), "company {index}: {}", message(index));
    }
    assert!(consumer.stderr().contains("scorer is ready"), "the scorer's log is not passed on");
    assert!(pids(&fleet).len() > 2, "no scorer was started anew");
}

/// Stops a consumer and asserts that it ends with exit code 0 within `most`.
fn stop(consumer: &mut Process, most: Duration) {
    let asked = Instant::now();
    consumer.terminate();
    consumer.wait(Duration::from_secs(60)).expect(0);
    let took = asked.elapsed();
    assert!(took < most, "it took {took:?} to stop");
}

#[test]
fn a_consumer_that_stops_leaves_no_scorer_behind() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let file = companies(&fleet, 100, &[]);
    let mut consumer = fleet.consumer("m", &noted(&fleet, ""), &SHARED);
    fleet.enqueue(&file, "m", "j", &["--wait"]).expect(0);
    assert!(pids(&fleet).iter().any(|pid| lives(pid)), "no scorer runs that the test knows");
    stop(&mut consumer, Duration::from_secs(5));
    assert_no_scorer_lives(&fleet);
}

#[test]
fn a_scorer_that_ignores_all_requests_to_end_is_ended() {
    let fleet = Fleet::fresh();
    let mut consumer = fleet.consumer("m", &noted(&fleet, "calm stubborn"), &SHARED);
    eventually("both scorers are there", || (pids(&fleet).len() == 2).then_some(()));
    stop(&mut consumer, Duration::from_secs(5));
    assert_no_scorer_lives(&fleet);
}

/// `--grace`, the two seconds in which scoring threads may end, and a little for a busy machine.
const GRACE_AND_MORE: Duration = Duration::from_secs(6);

#[test]
fn a_consumer_whose_scorer_hangs_stops_in_time_and_gives_its_companies_back() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let file = companies(&fleet, 100, &[(3, "hang"), (60, "hang")]);
    fleet.enqueue(&file, "m", "j", &[]).expect(0);
    let mut leaving = fleet.consumer("m", &noted(&fleet, "stubborn"), &[&SHARED[..], &["--grace", "2s"]].concat());
    leaving.wait_until_it_says("scorer is hanging");
    stop(&mut leaving, GRACE_AND_MORE);
    assert_no_scorer_lives(&fleet);
    assert!(fleet.ledger("j").done.is_empty());
    let _staying = fleet.consumer("m", &noted(&fleet, "calm"), &SHARED);
    let record = fleet.finished("j");
    record.assert_counted_once(100);
    assert_eq!((record.causes().len(), record.duplicates()), (0, 0), "{:?}", record.causes());
}

#[test]
fn a_scorer_that_hangs_on_every_company_is_not_left_behind_either() {
    let fleet = Fleet::fresh();
    let all: Vec<(usize, &str)> = (0..64).map(|index| (index, "hang")).collect();
    fleet.enqueue(&companies(&fleet, 64, &all), "m", "j", &[]).expect(0);
    let flags = ["--batch", "64", "--threads", "1", "--grace", "1s"];
    let mut consumer = fleet.consumer("m", &noted(&fleet, "stubborn"), &flags);
    consumer.wait_until_it_says("scorer is hanging");
    stop(&mut consumer, GRACE_AND_MORE);
    assert_no_scorer_lives(&fleet);
}

#[test]
fn companies_are_scored_while_another_of_the_same_consumer_hangs() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let file = companies(&fleet, 50, &[(0, "hang")]);
    fleet.enqueue(&file, "m", "j", &[]).expect(0);
    let _consumer = fleet.consumer("m", SCORER, &["--batch", "1", "--threads", "2"]);
    eventually("all but the one that hangs are counted", || (fleet.status("j")["succeeded"] == 49).then_some(()));
}

#[test]
fn a_consumer_that_dies_takes_its_scorers_with_it() {
    let fleet = Fleet::fresh();
    let mut consumer = fleet.consumer("m", &noted(&fleet, ""), &SHARED);
    eventually("both scorers are there", || (pids(&fleet).len() == 2).then_some(()));
    consumer.kill_9();
    eventually("no scorer is left", || pids(&fleet).iter().all(|pid| !lives(pid)).then_some(()));
}
