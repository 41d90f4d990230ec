//! Whether a small job waits behind a large one of the same model: 100 companies, opened while 1,000,000 are in progress.
//!
//! `make bench-overtake`: alternates the large job alone and the large job with the small one in its middle. A job's time is
//! from the start of its producer's process until it has reported the done event. Both are enqueued with `--priority auto`.

use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rollcall_tests::{Fleet, Process};
use serde_json::json;

use crate::job::{DEADLINE, MODEL, companies_file, delete_vhost, leading_aggregator};
use crate::report::{Size, median, print_head, table, write};
use crate::scorers::costs_nothing;
use crate::usage::wait_until_broker_is_idle;

const COMPANIES: u32 = 1_000_000;
const SMALL: u32 = 100;
const ROUNDS: usize = 2;

/// The large job is at full speed by then.
const OPENED_AFTER: Duration = Duration::from_secs(5);

/// The times of a round, in seconds.
struct Round {
    small_alone: f64,
    large_alone: f64,
    small_behind: f64,
    large_with_small: f64,
}

pub fn run() {
    let size = Size::from_environment(COMPANIES);
    let files = Fleet::alone();
    let (large, scorer) = (companies_file(&files, size.companies), costs_nothing(&files));
    let small = files.companies(SMALL);
    let rounds: Vec<Round> = (0..ROUNDS)
        .map(|_| {
            let (small_alone, large_alone) = jobs(&scorer, &large, &small, false);
            let (small_behind, large_with_small) = jobs(&scorer, &large, &small, true);
            Round { small_alone, large_alone, small_behind, large_with_small }
        })
        .collect();
    delete_vhost(&files);
    report(size, &rounds);
}

/// The times of the small and of the large job, run one after the other or with the small one in the middle of the large one.
fn jobs(scorer: &str, large: &Path, small: &Path, at_once: bool) -> (f64, f64) {
    let fleet = Fleet::alone();
    let _aggregator = leading_aggregator(&fleet);
    let _consumer = fleet.consumer(MODEL, scorer, &["--particles", "1", "--threads", "1", "--allow-no-evidence"]);
    fleet.start_enqueue(small, MODEL, "warm-up", &["--wait", "--priority", "auto"]).wait(DEADLINE).expect(0);
    wait_until_broker_is_idle();
    let alone = (!at_once)
        .then(|| seconds(Instant::now(), &mut fleet.start_enqueue(small, MODEL, "small", &["--wait", "--priority", "auto"])));
    let began = Instant::now();
    let mut producer = fleet.start_enqueue(large, MODEL, "large", &["--wait", "--priority", "auto"]);
    let small = alone.unwrap_or_else(|| {
        sleep(OPENED_AFTER);
        seconds(Instant::now(), &mut fleet.start_enqueue(small, MODEL, "small", &["--wait", "--priority", "auto"]))
    });
    assert!(producer.ended().is_none(), "the large job is over before the small one: make it larger");
    let large = seconds(began, &mut producer);
    delete_vhost(&fleet);
    (small, large)
}

fn seconds(began: Instant, producer: &mut Process) -> f64 {
    producer.wait(DEADLINE).expect(0);
    began.elapsed().as_secs_f64()
}

fn report(size: Size, rounds: &[Round]) {
    let setting = format!("{} and {SMALL}; one consumer, one scoring thread, a scorer that costs nothing", size.in_words());
    print_head("Overtake: a small job behind a large one of the same model", &[setting]);
    let figures = |of: &dyn Fn(&Round) -> f64| median(&rounds.iter().map(of).collect::<Vec<_>>());
    let row = |name: String, [small_alone, small_behind, large_alone, large_with]: [f64; 4]| {
        let lost = 100.0 * (large_with / large_alone - 1.0);
        let seconds = [small_alone, small_behind, large_alone, large_with].map(|seconds| format!("{seconds:.2}"));
        [vec![name], seconds.to_vec(), vec![format!("{lost:.1}")]].concat()
    };
    let of_round = |round: &Round| [round.small_alone, round.small_behind, round.large_alone, round.large_with_small];
    let mut rows: Vec<_> = (1..).zip(rounds).map(|(number, round)| row(format!("{number}"), of_round(round))).collect();
    let medians = [0, 1, 2, 3].map(|at: usize| figures(&|round| of_round(round)[at]));
    rows.push(row("median".to_owned(), medians));
    let head = ["round", "small alone, s", "small behind, s", "large alone, s", "large with small, s", "large loses, %"];
    table(&head, &rows);
    let settings =
        json!({ "companies": size.companies, "full_size": size.is_full(), "small_companies": SMALL, "rounds": rounds.len() });
    let [small_alone, small_behind, large_alone, large_with_small] = medians;
    let seconds = json!({ "small_alone": small_alone, "small_behind": small_behind, "large_alone": large_alone,
        "large_with_small": large_with_small });
    write("overtake", settings, json!({ "median_seconds": seconds, "rounds": rounds.iter().map(of_round).collect::<Vec<_>>() }));
}
