//! How a fleet of consumers follows two jobs with a pause between them: from none to eight and back to none, twice.
//!
//! `make bench-fleet`: prints the consumers over time, how soon after the start of the producer's process the first one runs, and how long after
//! the done event the last one has ended. Each company takes a scorer 0.2 s.

use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rollcall_tests::{Fleet, Process, children_of};
use serde_json::json;

use crate::job::{DEADLINE, MODEL, delete_vhost, leading_aggregator};
use crate::report::{Size, print_head, table, write};
use crate::scorers::waits_for_each;

const COMPANIES: u32 = 800;
const MILLISECONDS_A_COMPANY: u32 = 200;
const MOST: usize = 8;
const TARGET: &str = "10s";
const IDLE: &str = "5s";

/// Between the end of the first job's consumers and the second job.
const PAUSE: Duration = Duration::from_secs(10);

const SAMPLE_EVERY: Duration = Duration::from_millis(20);

/// The plot's columns.
const WIDTH: usize = 100;

/// One job, in seconds.
struct Ran {
    first_consumer_after: f64,
    job: f64,
    none_after_done: f64,
    most: usize,
    duplicates: usize,
}

/// How many consumers there were, at what time.
struct Samples {
    began: Instant,
    taken: Vec<(f64, usize)>,
}

impl Samples {
    /// Counts the consumers until `until` holds for their number.
    fn take(&mut self, consumers: &Process, mut until: impl FnMut(usize) -> bool) {
        loop {
            let number = children_of(consumers.id()).len();
            self.taken.push((self.now(), number));
            if until(number) {
                return;
            }
            sleep(SAMPLE_EVERY);
        }
    }

    fn now(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }
}

pub fn run() {
    let size = Size::from_environment(COMPANIES);
    let fleet = Fleet::alone();
    let file = companies(&fleet, size.companies);
    let _aggregator = leading_aggregator(&fleet);
    let scorer = waits_for_each(1);
    let most = MOST.to_string();
    let flags =
        ["fleet", "--min", "0", "--max", &most, "--target", TARGET, "--idle", IDLE, "--model", MODEL, "--scorer", &scorer];
    let consumers = fleet.program("consumer", &flags);
    let mut samples = Samples { began: Instant::now(), taken: Vec::new() };
    let pause = |samples: &mut Samples| {
        let until = samples.now() + PAUSE.as_secs_f64();
        let began = samples.began;
        samples.take(&consumers, |_| began.elapsed().as_secs_f64() >= until);
    };
    pause(&mut samples);
    let first = job(&fleet, &consumers, &mut samples, (&file, "first"), size.companies);
    pause(&mut samples);
    let second = job(&fleet, &consumers, &mut samples, (&file, "second"), size.companies);
    report(size, &samples.taken, &[first, second]);
    drop(consumers);
    delete_vhost(&fleet);
}

/// Runs a job, until its last consumer has ended.
fn job(fleet: &Fleet, consumers: &Process, samples: &mut Samples, (file, name): (&Path, &str), companies: u32) -> Ran {
    let (began, first) = (samples.now(), samples.taken.len());
    let mut producer = fleet.start_enqueue(file, MODEL, name, &["--wait", "--output", "json"]);
    samples.take(consumers, |_| producer.ended().is_some());
    let done = samples.now();
    samples.take(consumers, |number| number == 0);
    let ended = producer.wait(DEADLINE).expect(0).json();
    assert_eq!(ended["succeeded"], companies, "the job's done event: {ended}");
    let record = fleet.finished(name);
    assert!(record.bodies().all(|body| body["attempt"] == 1), "a company was tried twice");
    let own = &samples.taken[first..];
    Ran {
        first_consumer_after: own.iter().find(|(_, number)| *number > 0).unwrap().0 - began,
        job: done - began,
        none_after_done: samples.taken.last().unwrap().0 - done,
        most: own.iter().map(|(_, number)| *number).max().unwrap(),
        duplicates: record.duplicates(),
    }
}

fn companies(fleet: &Fleet, companies: u32) -> PathBuf {
    let rows: String = (0..companies).map(|row| format!("{row},{MILLISECONDS_A_COMPANY}\n")).collect();
    fleet.file("companies.csv", format!("company_id,wait_ms\n{rows}"))
}

fn report(size: Size, samples: &[(f64, usize)], jobs: &[Ran]) {
    let setting = format!(
        "twice {}; {MILLISECONDS_A_COMPANY} ms each; consumer fleet --min 0 --max {MOST} --target {TARGET} --idle {IDLE}",
        size.in_words()
    );
    print_head("Fleet: consumers that follow two jobs", &[setting]);
    plot(samples);
    let row = |(number, job): (usize, &Ran)| {
        let seconds = [job.first_consumer_after, job.job, job.none_after_done].map(|seconds| format!("{seconds:.2}"));
        [vec![number.to_string()], seconds.to_vec(), vec![job.most.to_string(), job.duplicates.to_string()]].concat()
    };
    let head = ["job", "first consumer after, s", "done after, s", "none after done, s", "most consumers", "duplicates"];
    table(&head, &(1..).zip(jobs).map(row).collect::<Vec<_>>());
    let figures = |job: &Ran| {
        json!({ "first_consumer_seconds": job.first_consumer_after, "job_seconds": job.job,
            "none_after_done_seconds": job.none_after_done, "most_consumers": job.most, "duplicates": job.duplicates })
    };
    let settings =
        json!({ "companies": size.companies, "full_size": size.is_full(), "most": MOST, "target": TARGET, "idle": IDLE });
    write("fleet", settings, json!({ "jobs": jobs.iter().map(figures).collect::<Vec<_>>() }));
}

/// Rows are consumers, columns are time: the most consumers of each column.
fn plot(samples: &[(f64, usize)]) {
    let end = samples.last().unwrap().0;
    let mut columns = [0; WIDTH];
    for &(at, number) in samples {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to the width")]
        let column = (at / end * (WIDTH - 1) as f64) as usize;
        columns[column] = columns[column].max(number);
    }
    println!("consumers");
    for row in (1..=MOST).rev() {
        let cells: String = columns.iter().map(|&number| if number >= row { '#' } else { ' ' }).collect();
        println!("{row:3} |{}", cells.trim_end());
    }
    println!("  0 +{}\n     0 s{:>width$}\n", "-".repeat(WIDTH), format!("{end:.0} s"), width = WIDTH - 3);
}
