//! Whether a job ten times as long runs at the same rate, and what grows with it.
//!
//! `make bench-scale`: 10,000, 100,000 and 1,000,000 companies; `COMPANIES=10000000` adds that size; fewer than 1,000,000 run
//! alone, as a trial. The scorer costs nothing, and each size has a fleet and queues of its own. Reports companies/s and the
//! peak memory of each process, and the growth of the aggregator's memory in bytes per company between sizes.

use rollcall_tests::Fleet;
use serde_json::{Value, json};

use crate::job::{Consumers, Job, companies_file, delete_vhost};
use crate::report::{number, print_head, table, write};
use crate::scorers::costs_nothing;
use crate::usage::Usage;

const LARGEST: u32 = 1_000_000;
const SIZES: [u32; 3] = [10_000, 100_000, LARGEST];

pub fn run() {
    let asked_for = number("BENCH_COMPANIES").unwrap_or(LARGEST);
    let is_trial = asked_for < LARGEST;
    let mut sizes = if is_trial { Vec::new() } else { SIZES.to_vec() };
    sizes.extend((asked_for != LARGEST).then_some(asked_for));
    let jobs: Vec<Job> = sizes.into_iter().map(through_a_fleet).collect();
    report(&jobs, is_trial);
}

fn through_a_fleet(companies: u32) -> Job {
    let fleet = Fleet::alone();
    let file = companies_file(&fleet, companies);
    let consumers = Consumers::new(1, &costs_nothing(&fleet), &["--particles", "1", "--threads", "1", "--allow-no-evidence"]);
    let job = Job::run(&fleet, &consumers, &file, companies);
    delete_vhost(&fleet);
    job
}

fn report(jobs: &[Job], is_trial: bool) {
    let trial = if is_trial { "; a TRIAL, of one size" } else { "" };
    print_head(
        "Scale: jobs of several sizes, a scorer that costs nothing",
        &[format!("one consumer, one scoring thread{trial}")],
    );
    let earlier = std::iter::once(None).chain(jobs.iter().map(Some));
    let growth: Vec<Option<Growth>> =
        jobs.iter().zip(earlier).map(|(job, earlier)| Some(Growth::between(earlier?, job))).collect();
    let rows: Vec<Vec<String>> = jobs.iter().zip(&growth).map(|(job, growth)| row(job, growth.as_ref())).collect();
    let head = [
        "companies",
        "seconds",
        "companies/s",
        "rate / the size before",
        "producer, kB",
        "consumer, kB",
        "aggregator, kB",
        "aggregator's growth, bytes/company",
        "broker, kB",
    ];
    table(&head, &rows);
    let settings = json!({ "sizes": jobs.iter().map(|job| job.companies).collect::<Vec<_>>(), "full_size": !is_trial,
        "consumers": 1, "threads": 1 });
    let each = jobs.iter().zip(&growth).map(|(job, growth)| {
        let mut figures = job.json();
        figures["since_the_size_before"] = growth.as_ref().map_or(Value::Null, Growth::json);
        figures
    });
    write("scale", settings, json!({ "jobs": each.collect::<Vec<_>>() }));
}

fn row(job: &Job, growth: Option<&Growth>) -> Vec<String> {
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    vec![
        job.companies.to_string(),
        format!("{:.1}", job.seconds),
        format!("{:.0}", job.companies_per_second()),
        or_none(growth.map(|growth| format!("{:.2}", growth.rate))),
        job.producer.peak_kb.to_string(),
        job.consumers.peak_kb.to_string(),
        job.aggregator.peak_kb.to_string(),
        or_none(growth.map(|growth| format!("{:.2}", growth.aggregator))),
        or_none(job.broker.map(|broker| broker.peak_kb.to_string())),
    ]
}

/// The change from one size to the next: the ratio of the rates, and peak memory in bytes per additional company.
struct Growth {
    rate: f64,
    producer: f64,
    consumer: f64,
    aggregator: f64,
}

impl Growth {
    fn between(smaller: &Job, larger: &Job) -> Growth {
        let more = f64::from(larger.companies) - f64::from(smaller.companies);
        let bytes = |smaller: Usage, larger: Usage| (larger.peak_kb as f64 - smaller.peak_kb as f64) * 1024.0 / more;
        Growth {
            rate: larger.companies_per_second() / smaller.companies_per_second(),
            producer: bytes(smaller.producer, larger.producer),
            consumer: bytes(smaller.consumers, larger.consumers),
            aggregator: bytes(smaller.aggregator, larger.aggregator),
        }
    }

    fn json(&self) -> Value {
        json!({
            "rate_ratio": self.rate,
            "producer_bytes_per_company": self.producer,
            "consumer_bytes_per_company": self.consumer,
            "aggregator_bytes_per_company": self.aggregator,
        })
    }
}
