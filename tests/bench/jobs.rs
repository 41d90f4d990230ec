//! What many jobs cost: 10,000 jobs of three companies, first all unfinished, then all done.
//!
//! `make bench-jobs`: the duration of `producer status`, the aggregator's memory, the duration of a takeover after kill -9 of
//! the leader, and the time until all jobs are done.

use std::time::{Duration, Instant};

use lapin::options::BasicPublishOptions;
use lapin::{Channel, Connection, ConnectionProperties};
use rollcall_shared::message::{Event, Index, Job, JobEvent, Message, Opened, Priority, Sealed, Settings, Work};
use rollcall_shared::topology::Topology;
use rollcall_tests::{Fleet, within};
use serde_json::{Value, json};

use crate::aggregator::Aggregator;
use crate::job::MODEL;
use crate::report::{number, print_head, table, write};
use crate::scorers::costs_nothing;

const JOBS: u32 = 10_000;
const COMPANIES: u32 = 3;
const DEADLINE: Duration = Duration::from_secs(1_800);

/// Measurements at one moment.
struct Moment {
    when: &'static str,
    jobs_listed: usize,
    status_seconds: f64,
    memory_kb: u64,
    takeover_seconds: f64,
}

pub fn run() {
    let jobs = number("BENCH_COMPANIES").map_or(JOBS, |companies| companies / COMPANIES);
    let fleet = Fleet::alone();
    let mut aggregator = Aggregator::start(&fleet);
    let scorer = costs_nothing(&fleet);
    // A consumer declares the model's queues, and ends.
    fleet.consumer(MODEL, &scorer, &["--threads", "1", "--allow-no-evidence"]).terminate();
    publish(&fleet, jobs);
    wait_until_known(&aggregator, jobs);
    let mut moments = vec![measure(&fleet, &mut aggregator, "unfinished")];
    wait_until_known(&aggregator, jobs);
    let began = Instant::now();
    let _consumer = fleet.consumer(MODEL, &scorer, &["--threads", "1", "--allow-no-evidence"]);
    within(DEADLINE, "all jobs are done", || {
        (jobs_that_are("running", &aggregator) == 0.0 && has_read_the_ledger(&aggregator)).then_some(())
    });
    let done_seconds = began.elapsed().as_secs_f64();
    moments.push(measure(&fleet, &mut aggregator, "done"));
    report(jobs, done_seconds, &moments);
}

/// Waits until the aggregator counts this many jobs as running; it updates the metric once a second.
fn wait_until_known(aggregator: &Aggregator, jobs: u32) {
    within(DEADLINE, "all jobs are known", || (jobs_that_are("running", aggregator) >= f64::from(jobs)).then_some(()));
}

/// Opens, enqueues and seals this many jobs, each as its producer would.
fn publish(fleet: &Fleet, jobs: u32) {
    let topology = Topology::new(fleet.name("").trim_end_matches('.'));
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let connection = Connection::connect(fleet.url(), ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        for number in 0..jobs {
            let job: Job = format!("job-{number:05}").parse().unwrap();
            for message in messages(&job, &topology) {
                send(&channel, message).await;
            }
        }
        connection.close(200, "done".into()).await.unwrap();
    });
}

fn messages(job: &Job, topology: &Topology) -> Vec<Message> {
    let model = MODEL.parse().unwrap();
    let opened = Opened {
        job: job.clone(),
        opening: None,
        model,
        source: "companies.csv".to_owned(),
        opened_at: Some("2026-01-01T00:00:00.000Z".parse().unwrap()),
        settings: Settings::default(),
    };
    let work = |index| Work {
        job: job.clone(),
        index: Index(index),
        company_id: index.to_string(),
        attempt: 1,
        round: 0,
        priority: Priority::Normal,
        deliveries: 0,
        deliveries_alone: 0,
        opening: None,
        retry: None,
        traceparent: String::new(),
        record: b"{}".to_vec(),
    };
    let event = |event| Event::now(event).message(topology.events()).unwrap();
    let sealed = Sealed { job: job.clone(), opening: None, total: COMPANIES.into() };
    let companies = (0..COMPANIES).map(work).map(|work| Message {
        exchange: topology.work(),
        routing_key: MODEL.to_owned(),
        properties: work.properties(),
        body: work.record,
    });
    [event(JobEvent::Opened(opened))].into_iter().chain(companies).chain([event(JobEvent::Sealed(sealed))]).collect()
}

async fn send(channel: &Channel, Message { exchange, routing_key, properties, body }: Message) {
    let options = BasicPublishOptions::default();
    channel.basic_publish(exchange.into(), routing_key.into(), options, &body, properties).await.unwrap();
}

fn measure(fleet: &Fleet, aggregator: &mut Aggregator, when: &'static str) -> Moment {
    let began = Instant::now();
    let listed = fleet.producer(&["status", "--output", "json"]).expect(0).json();
    let status_seconds = began.elapsed().as_secs_f64();
    let memory_kb = aggregator.process.peak_kb().unwrap_or_default();
    let standby = Aggregator::start(fleet);
    aggregator.process.kill_9();
    let killed = Instant::now();
    within(DEADLINE, "the standby counts", || has_read_the_ledger(&standby).then_some(()));
    let takeover_seconds = killed.elapsed().as_secs_f64();
    *aggregator = standby;
    let jobs_listed = listed.as_array().map_or(0, Vec::len);
    Moment { when, jobs_listed, status_seconds, memory_kb, takeover_seconds }
}

fn report(jobs: u32, done_seconds: f64, moments: &[Moment]) {
    let trial = if jobs == JOBS { String::new() } else { format!(" (a TRIAL: the full size is {JOBS})") };
    print_head("Many jobs", &[format!("{jobs} jobs of {COMPANIES} companies{trial}; all done in {done_seconds:.1} s")]);
    let row = |moment: &Moment| {
        let Moment { when, jobs_listed, status_seconds, memory_kb, takeover_seconds } = moment;
        let memory = *memory_kb as f64 / 1024.0;
        vec![
            (*when).to_owned(),
            jobs_listed.to_string(),
            format!("{status_seconds:.2}"),
            format!("{memory:.1}"),
            format!("{takeover_seconds:.2}"),
        ]
    };
    let head = ["jobs are", "listed", "status, s", "aggregator's peak, MiB", "takeover, s"];
    table(&head, &moments.iter().map(row).collect::<Vec<_>>());
    let figures = |moment: &Moment| -> Value {
        json!({ "jobs_listed": moment.jobs_listed, "status_seconds": moment.status_seconds, "aggregator_peak_kb": moment.memory_kb,
            "takeover_seconds": moment.takeover_seconds })
    };
    let settings = json!({ "jobs": jobs, "full_size": jobs == JOBS, "companies_per_job": COMPANIES });
    let of = |at: usize| moments.get(at).map(figures);
    write("jobs", settings, json!({ "unfinished": of(0), "done": of(1), "all_done_seconds": done_seconds }));
}

/// The number of jobs in this state, according to the aggregator.
fn jobs_that_are(state: &str, aggregator: &Aggregator) -> f64 {
    aggregator.metric(&format!("rollcall_jobs{{state=\"{state}\"}}"))
}

/// Whether it has read the ledger up to its own marker.
fn has_read_the_ledger(aggregator: &Aggregator) -> bool {
    aggregator.process.times_event("counting") > 0
}
