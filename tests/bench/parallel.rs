//! How well many companies are kept in flight: a scorer that only waits for 1 s, and 10,000 companies in it at a time.
//!
//! `make bench-parallel`: 100,000 companies would take 10 s if only the waiting took time. That, divided by the time from the
//! start of the producer's process until it has reported the done event, is the efficiency.
//!
//! A thread of a consumer has one batch with its scorer at a time, and the scorer waits once for all companies of a batch.
//! The companies in flight are thus consumers x threads x companies per batch: 10,000 companies with only four scorer
//! processes.

use std::thread::available_parallelism;
use std::time::Duration;

use rollcall_tests::Fleet;
use serde_json::json;

use crate::job::{Consumers, Job, companies_file, delete_vhost};
use crate::report::{Size, print_head, table, write};
use crate::scorers::only_waits;

const COMPANIES: u32 = 100_000;

/// 4 x 1 x 2,500 = 10,000 in flight, with one thread each: a thread takes its share of what is queued, so each of five would
/// take a fifth of what the others have left, and the last companies would trickle through. 5 threads with 500 each took half
/// as long again.
const CONSUMERS: u32 = 4;
const THREADS: u32 = 1;
const BATCH: u32 = 2_500;
const SCORERS: u32 = CONSUMERS * THREADS;
const IN_FLIGHT: u32 = SCORERS * BATCH;

/// The batch in progress, the next batch, and companies whose results are not yet acked. With only two batches, the next
/// batch was not full when its turn came, and the job took twice as long.
const PREFETCH: u32 = 4 * THREADS * BATCH;

/// For a scorer whose time does not depend on the number of companies. Without it, the consumer tries larger batches step by
/// step, which takes one wait each; that is measured too.
const KNOWN: [&str; 2] = ["--hold", "1d"];

const WAIT: Duration = Duration::from_secs(1);

pub fn run() {
    let size = Size::from_environment(COMPANIES);
    let files = Fleet::alone();
    let file = companies_file(&files, size.companies);
    let [threads, batch, prefetch] = [THREADS, BATCH, PREFETCH].map(|number| number.to_string());
    let flags = ["--threads", &threads, "--batch", &batch, "--prefetch", &prefetch];
    let run = |more: &[&str]| {
        let fleet = Fleet::alone();
        let consumers = Consumers::new(usize::try_from(CONSUMERS).unwrap(), &only_waits(WAIT), &[&flags, more].concat());
        let job = Job::run(&fleet, &consumers, &file, size.companies);
        delete_vhost(&fleet);
        job
    };
    let (known, found_out) = (run(&KNOWN), run(&[]));
    delete_vhost(&files);
    report(size, &known, &found_out);
}

fn report(size: Size, known: &Job, found_out: &Job) {
    // The last wait takes as long as the others, however few companies are in it.
    let ideal = f64::from(size.companies.div_ceil(IN_FLIGHT)) * WAIT.as_secs_f64();
    let in_flight = format!(
        "in flight: {SCORERS} scorers' processes ({CONSUMERS} consumers x {THREADS} threads) x {BATCH} companies a batch = {IN_FLIGHT}; \
        prefetch {PREFETCH} a consumer"
    );
    let head = format!("{}; a scorer's process waits {} s, once for a whole batch", size.in_words(), WAIT.as_secs());
    print_head("Parallel: companies that only wait", &[head, in_flight]);
    let cores = available_parallelism().unwrap();
    let rows = [
        row("ideal, s", 1, [ideal, ideal]),
        row("from enqueue to the done event, s", 2, [known.seconds, found_out.seconds]),
        row("efficiency", 3, [known, found_out].map(|job| ideal / job.seconds)),
        row("companies/s", 0, [known, found_out].map(Job::companies_per_second)),
    ];
    table(&[&format!("on {cores} cores"), &KNOWN.join(" "), "--hold 2s, the default"], &rows);
    known.print_processes();
    let settings = json!({ "companies": size.companies, "full_size": size.is_full(), "wait_seconds": WAIT.as_secs_f64(),
        "waits_once_for_a_whole_batch": true, "consumers": CONSUMERS, "threads": THREADS, "scorer_processes": SCORERS,
        "batch": BATCH, "prefetch": PREFETCH, "hold": KNOWN[1], "in_flight": IN_FLIGHT });
    let efficiency = |job: &Job| ideal / job.seconds;
    let figures = json!({ "ideal_seconds": ideal, "efficiency": efficiency(known), "rollcall": known.json(),
        "efficiency_with_default_hold": efficiency(found_out), "rollcall_with_default_hold": found_out.json() });
    write("parallel", settings, figures);
}

fn row(name: &str, digits: usize, figures: [f64; 2]) -> Vec<String> {
    [vec![name.to_owned()], figures.map(|figure| format!("{figure:.digits$}")).to_vec()].concat()
}
