//! What a job costs, by the size of its results: CPU, memory and disk for each million companies.
//!
//! `make bench-sizing`: enqueues a job while no consumer runs, so that all of it lies on the broker, and then scores it by one consumer whose
//! scorer costs nothing. Needs a broker that was started for this run, whose data it measures.

use std::fs;
use std::path::Path;
use std::time::Instant;

use rollcall_tests::{Broker, Fleet, Process};
use serde_json::{Value, json};

use crate::job::{DEADLINE, JOB, MODEL, companies_file, delete_vhost, leading_aggregator};
use crate::report::{Size, print_head, table, write};
use crate::scorers::costs_nothing_and_predicts;
use crate::usage::{Usage, Watched, follow, wait_until_broker_is_idle, watch_broker};

const COMPANIES: u32 = 200_000;

/// Bytes of each prediction: a number or two, a questionnaire's answers, and those with their distributions.
const PREDICTIONS: [usize; 3] = [100, 1_300, 10_000];

/// The measurements of a job.
struct Sized {
    prediction: usize,
    enqueue_seconds: f64,
    score_seconds: f64,
    producer: Usage,
    consumer: Usage,
    aggregator: Usage,
    broker: Usage,
    /// What all its work messages take on disk, in bytes. Right for the first job of a broker only: later ones take the room of earlier ones.
    queue_bytes: u64,
    ledger_bytes: u64,
}

pub fn run() {
    let size = Size::from_environment(COMPANIES);
    let Some(broker) = Broker::given() else {
        panic!("expected a broker that was started for this run, found one that AMQP_URL names: unset AMQP_URL");
    };
    let sized = PREDICTIONS.map(|prediction| measure(&broker, size.companies, prediction));
    report(size, &sized);
}

fn measure(broker: &Broker, companies: u32, prediction: usize) -> Sized {
    let fleet = Fleet::alone();
    let (file, scorer) = (companies_file(&fleet, companies), costs_nothing_and_predicts(&fleet, prediction));
    let aggregator = leading_aggregator(&fleet);
    wait_until_broker_is_idle();
    let (watched, broker_watched) = (Watched::from_now([aggregator.id()]), watch_broker().unwrap());
    let data = broker.folder().join("data");
    let (empty, began) = (bytes_in(&data, ""), Instant::now());
    let mut enqueue = fleet.start_enqueue(&file, MODEL, JOB, &[]);
    let (ended, producer) = follow(&mut enqueue, DEADLINE);
    ended.expect(0);
    let enqueue_seconds = began.elapsed().as_secs_f64();
    wait_until_broker_is_idle();
    let (queue_bytes, ledger) = (bytes_in(&data, "").saturating_sub(empty), bytes_in(&data, "stream"));
    let consumer: Process = fleet.consumer(MODEL, &scorer, &["--particles", "1", "--threads", "1", "--allow-no-evidence"]);
    let consumer_watched = Watched::from_now([consumer.id()]);
    let began = Instant::now();
    fleet.start_producer(&["watch", JOB]).wait(DEADLINE).expect(0);
    let score_seconds = began.elapsed().as_secs_f64();
    let sized = Sized {
        prediction,
        enqueue_seconds,
        score_seconds,
        producer,
        consumer: consumer_watched.used(),
        aggregator: watched.used(),
        broker: broker_watched.used(),
        queue_bytes,
        ledger_bytes: bytes_in(&data, "stream").saturating_sub(ledger),
    };
    drop((consumer, aggregator));
    delete_vhost(&fleet);
    sized
}

/// The bytes of the files below `folder`; of those below a folder called `of` only, unless that is empty.
fn bytes_in(folder: &Path, of: &str) -> u64 {
    // A file that was there a moment ago may be gone.
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let bytes = |entry: fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => {
            let of = if entry.file_name() == of { "" } else { of };
            bytes_in(&entry.path(), of)
        }
        Ok(metadata) if of.is_empty() => metadata.len(),
        _ => 0,
    };
    entries.map(bytes).sum()
}

fn report(size: Size, sized: &[Sized; PREDICTIONS.len()]) {
    let setting = format!("{}; one consumer, one scoring thread, a scorer that costs nothing", size.in_words());
    print_head("Sizing: what a million companies cost, by the size of a prediction", &[setting]);
    let millions = f64::from(size.companies) / 1e6;
    println!("CPU and disk for each million companies");
    let cpu = |usage: &Usage| format!("{:.0}", usage.cpu.seconds() / millions);
    let megabytes = |bytes: u64| format!("{:.0}", bytes as f64 / 1e6 / millions);
    let row = |job: &Sized| {
        let cpu = [&job.producer, &job.consumer, &job.aggregator, &job.broker].map(cpu);
        [vec![job.prediction.to_string()], cpu.to_vec(), vec![megabytes(job.ledger_bytes)]].concat()
    };
    let head =
        ["bytes of a prediction", "producer, CPU s", "consumer, CPU s", "aggregator, CPU s", "broker, CPU s", "ledger, MB"];
    table(&head, &sized.iter().map(row).collect::<Vec<_>>());
    println!("companies that are enqueued and not scored: {} MB on disk for each million\n", megabytes(sized[0].queue_bytes));
    println!("rates, and peak memory in this run");
    let row = |job: &Sized| {
        let rate = |seconds: f64| format!("{:.0}", f64::from(size.companies) / seconds);
        let peak = [&job.producer, &job.consumer, &job.aggregator, &job.broker].map(|usage| (usage.peak_kb / 1000).to_string());
        let rates = [rate(job.enqueue_seconds), rate(job.score_seconds)];
        [vec![job.prediction.to_string()], rates.to_vec(), peak.to_vec()].concat()
    };
    let head =
        ["bytes of a prediction", "enqueued/s", "scored/s", "producer, MB", "consumer, MB", "aggregator, MB", "broker, MB"];
    table(&head, &sized.iter().map(row).collect::<Vec<_>>());
    let settings = json!({ "companies": size.companies, "full_size": size.is_full(), "consumers": 1, "threads": 1 });
    write("sizing", settings, json!({ "jobs": sized.iter().map(json_of).collect::<Vec<_>>() }));
}

fn json_of(job: &Sized) -> Value {
    json!({
        "prediction_bytes": job.prediction,
        "enqueue_seconds": job.enqueue_seconds,
        "score_seconds": job.score_seconds,
        "producer": job.producer.json(),
        "consumer": job.consumer.json(),
        "aggregator": job.aggregator.json(),
        "broker": job.broker.json(),
        "queue_bytes": job.queue_bytes,
        "ledger_bytes": job.ledger_bytes,
    })
}
