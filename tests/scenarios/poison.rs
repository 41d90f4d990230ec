//! A company that kills its consumer does not change the outcome of any other.

use std::path::Path;
use std::time::Duration;

use rollcall_tests::{Fleet, Process, SCORER, within};

/// Long enough for 100,000 companies on a busy machine.
const DEADLINE: Duration = Duration::from_secs(180);

/// Restarts two consumers whenever they have died, as an orchestrator does, until the job has ended; returns the number of
/// deaths.
pub(crate) fn keep_alive(fleet: &Fleet, job: &str, arguments: &[&str]) -> u32 {
    let start = || fleet.program("consumer", &[&["--model", "m", "--scorer", SCORER], arguments].concat());
    let (mut consumers, mut deaths): (Vec<Process>, u32) = (vec![start(), start()], 0);
    within(DEADLINE, &format!("{job} ends"), || {
        for consumer in &mut consumers {
            if consumer.ended().is_some() {
                deaths += 1;
                *consumer = start();
            }
        }
        fleet.status(job)["done_at"].is_string().then_some(())
    });
    deaths
}

fn companies(fleet: &Fleet, count: usize, poison: &[usize]) -> std::path::PathBuf {
    let what = |index| if poison.contains(&index) { "kill" } else { "" };
    let rows: String = (0..count).map(|index| format!("c{index},{}\n", what(index))).collect();
    fleet.file("c.csv", format!("company_id,do\n{rows}"))
}

fn assert_only_poison_failed(fleet: &Fleet, file: &Path, count: u64, poison: &[usize], arguments: &[&str]) -> u32 {
    let _aggregator = fleet.aggregator(&[]);
    fleet.enqueue(file, "m", "j", &[]).expect(0);
    let deaths = keep_alive(fleet, "j", arguments);
    let record = fleet.finished("j");
    record.assert_counted_once(count);
    assert_eq!(record.causes().into_iter().collect::<Vec<_>>(), [("consumer_crashed", poison.len())]);
    for &index in poison {
        let body = record.bodies().find(|body| body["index"] == index).unwrap();
        assert_eq!(body["error"]["cause"], "consumer_crashed");
        assert_eq!(body["record"]["do"], "kill", "a failure brings its record");
    }
    deaths
}

#[test]
fn companies_that_kill_their_consumers_fail_and_their_neighbours_do_not() {
    let fleet = Fleet::fresh();
    let poison = [3, 150];
    let file = companies(&fleet, 300, &poison);
    let deaths = assert_only_poison_failed(&fleet, &file, 300, &poison, &["--threads", "1", "--batch", "8"]);
    // Each causes at most five, and sometimes one death counts for both. A company whose consumer dies while it is moved to
    // the quarantine is there twice, and its second copy has at most three deliveries left.
    assert!((5..=16).contains(&deaths), "{deaths} consumers died");
}

#[test]
fn a_company_is_delivered_as_often_as_the_consumer_allows() {
    let fleet = Fleet::fresh();
    let file = companies(&fleet, 20, &[7]);
    let deaths = assert_only_poison_failed(&fleet, &file, 20, &[7], &["--threads", "1", "--max-deliveries", "1"]);
    // Once in its batch and once alone; and once more if its consumer dies while the company is moved to the quarantine, so
    // that it is there twice.
    assert!(deaths <= 3, "{deaths} consumers died");
}
