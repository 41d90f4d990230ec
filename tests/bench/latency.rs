//! Latencies: from submitting a job to its first result, from a company to its result, from a job's last result to its done
//! event; idle, and while a large job of another model uses the same broker and aggregator.
//!
//! `make bench-latency`. A subscriber in this process records when results and done events arrive, so that all times are from
//! one clock. Jobs are submitted one after another, by starting the producer's process. Companies are published at a constant
//! rate, whether or not earlier ones have results, and the latency of each counts from its scheduled time even if it was
//! published later, which avoids coordinated omission. The scorer costs nothing.

mod load;
mod subscriber;

use std::thread::sleep;
use std::time::{Duration, Instant};

use rollcall_tests::Fleet;
use serde_json::{Value, json};

use crate::job::{Consumers, DEADLINE, MODEL, companies_file, delete_vhost, leading_aggregator};
use crate::report::{number, print_head, table, write};
use crate::scorers::costs_nothing;
use load::Load;
use subscriber::Subscriber;

/// Companies published one by one. There are half as many jobs of one company, and a quarter as many small jobs. With fewer,
/// the 99th percentile would be the maximum.
const COMPANIES: u32 = 400;

/// Companies per second: few enough that they do not queue.
const RATE: u32 = 20;

/// Several, so that the last result is not also the first.
const COMPANIES_OF_A_SMALL_JOB: u32 = 20;

pub fn run() {
    // Only a trial may change the number, and only to a smaller one.
    let companies = number("BENCH_COMPANIES").unwrap_or(COMPANIES).min(COMPANIES);
    let fleet = Fleet::alone();
    let scorer = costs_nothing(&fleet);
    let consumers = Consumers::new(1, &scorer, &["--particles", "1", "--threads", "1", "--allow-no-evidence"]);
    let (_aggregator, _consumer) = (leading_aggregator(&fleet), consumers.start(&fleet, MODEL));
    let mut latencies = Latencies { subscriber: Subscriber::of(&fleet), fleet: fleet.clone(), jobs: 0 };
    let idle = latencies.measure(companies);
    let _consumer_of_load = consumers.start(&fleet, load::MODEL);
    let load = Load::start(&fleet);
    let loaded = latencies.measure(companies);
    let load_rate = load.stop();
    drop((latencies, _aggregator, _consumer, _consumer_of_load));
    delete_vhost(&fleet);
    report(companies, &idle, &loaded, load_rate);
}

struct Latencies {
    fleet: Fleet,
    subscriber: Subscriber,
    jobs: u32,
}

/// The measured latencies, in seconds.
struct Measured {
    submit_to_first_result: Vec<f64>,
    company_to_result: Vec<f64>,
    last_result_to_done: Vec<f64>,
}

impl Latencies {
    fn measure(&mut self, companies: u32) -> Measured {
        let single: Vec<_> = (0..companies.div_ceil(2)).map(|_| self.job(1)).collect();
        let small: Vec<_> = (0..companies.div_ceil(4)).map(|_| self.job(COMPANIES_OF_A_SMALL_JOB)).collect();
        Measured {
            submit_to_first_result: single.iter().map(|(to_first, _)| *to_first).collect(),
            company_to_result: self.companies(companies),
            last_result_to_done: small.iter().map(|(_, to_done)| *to_done).collect(),
        }
    }

    /// Submits a job; returns the latencies of its first result and, after its last result, of its done event.
    fn job(&mut self, companies: u32) -> (f64, f64) {
        self.jobs += 1;
        let job = format!("job-{}", self.jobs);
        let file = self.fleet.path(&format!("{companies}.csv"));
        if !file.exists() {
            std::fs::rename(companies_file(&self.fleet, companies), &file).unwrap();
        }
        let submitted = Instant::now();
        let mut producer = self.fleet.start_enqueue(&file, MODEL, &job, &[]);
        let followed = self.subscriber.follow(&job, usize::try_from(companies).unwrap(), true);
        producer.wait(DEADLINE).expect(0);
        let (first, last) = (followed.results[0].1, followed.results[followed.results.len() - 1].1);
        ((first - submitted).as_secs_f64(), followed.done.unwrap().saturating_duration_since(last).as_secs_f64())
    }

    /// Publishes companies of one job on schedule; returns the latency of each result from its company's scheduled time.
    fn companies(&mut self, companies: u32) -> Vec<f64> {
        self.jobs += 1;
        let job = format!("job-{}", self.jobs);
        self.subscriber.open_job(&job);
        let began = Instant::now();
        let due: Vec<Instant> = (0..companies).map(|index| began + Duration::from_secs(index.into()) / RATE).collect();
        for (index, due) in (0..).zip(&due) {
            sleep(due.saturating_duration_since(Instant::now()));
            self.subscriber.publish_company(&job, index);
        }
        let followed = self.subscriber.follow(&job, due.len(), false);
        followed.results.iter().map(|&(index, arrived)| (arrived - due[index]).as_secs_f64()).collect()
    }
}

fn report(companies: u32, idle: &Measured, loaded: &Measured, load_rate: f64) {
    let trial = if companies == COMPANIES { "" } else { "; a TRIAL, with fewer measurements than its own" };
    let load =
        format!("under load: beside a job of another model, whose companies went through at {load_rate:.0}/s meanwhile{trial}");
    let companies_due = format!("companies are due at {RATE}/s, and the time of each runs from when it was due");
    print_head(
        "Latency: time to delivery",
        &["one consumer a model, one scoring thread, a scorer that costs nothing".to_owned(), companies_due, load],
    );
    let mut rows = Vec::new();
    let mut figures = json!({ "load_companies_per_second": load_rate });
    for (when, measured) in [("idle", idle), ("under load", loaded)] {
        for (what, key, seconds) in [
            ("submit to first result", "submit_to_first_result", &measured.submit_to_first_result),
            ("company to result", "company_to_result", &measured.company_to_result),
            ("last result to done event", "last_result_to_done", &measured.last_result_to_done),
        ] {
            let percentiles = Percentiles::of(seconds);
            rows.push(percentiles.row(&format!("{what}, {when}")));
            figures[when.replace(' ', "_")][key] = percentiles.json();
        }
    }
    table(&["from … to …", "p50, ms", "p99, ms", "largest, ms", "n"], &rows);
    let settings = json!({ "companies": companies, "full_size": companies == COMPANIES, "companies_per_second": RATE,
        "companies_of_a_small_job": COMPANIES_OF_A_SMALL_JOB, "consumers": 1, "threads": 1 });
    write("latency", settings, figures);
}

struct Percentiles {
    p50: f64,
    p99: f64,
    largest: f64,
    count: usize,
}

impl Percentiles {
    /// By nearest rank, so that each is a measured value.
    fn of(seconds: &[f64]) -> Percentiles {
        let mut sorted = seconds.to_vec();
        sorted.sort_by(f64::total_cmp);
        let count = sorted.len();
        let at = |percent: usize| sorted[(count * percent).div_ceil(100) - 1];
        Percentiles { p50: at(50), p99: at(99), largest: at(100), count }
    }

    fn row(&self, name: &str) -> Vec<String> {
        let milliseconds = [self.p50, self.p99, self.largest].map(|seconds| format!("{:.1}", seconds * 1e3));
        [vec![name.to_owned()], milliseconds.to_vec(), vec![self.count.to_string()]].concat()
    }

    fn json(&self) -> Value {
        json!({ "p50_seconds": self.p50, "p99_seconds": self.p99, "largest_seconds": self.largest, "n": self.count })
    }
}
