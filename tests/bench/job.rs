//! One job through a fleet of its own, with the usage of each process: the basis of most benchmarks.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rollcall_tests::{Broker, Fleet, Process};
use serde_json::{Value, json};

use crate::report::table;
use crate::usage::{Cpu, Usage, Watched, follow, wait_until_broker_is_idle, watch_broker};

/// The job's name, the same in each fleet, so that messages have the same size.
pub const JOB: &str = "bench";

pub const MODEL: &str = "m";

/// Longer than any of these jobs takes.
pub const DEADLINE: Duration = Duration::from_secs(4 * 3_600);

/// The consumers of a fleet.
pub struct Consumers {
    pub processes: usize,
    pub scorer: String,
    pub arguments: Vec<String>,
    /// A file whose companies are scored before the measurement.
    pub warm_up: Option<PathBuf>,
}

impl Consumers {
    pub fn new(processes: usize, scorer: &str, arguments: &[&str]) -> Consumers {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        Consumers { processes, scorer: scorer.to_owned(), arguments, warm_up: None }
    }

    pub fn start(&self, fleet: &Fleet, model: &str) -> Vec<Process> {
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        (0..self.processes).map(|_| fleet.consumer(model, &self.scorer, &arguments)).collect()
    }
}

/// Starts an aggregator and waits until it leads.
pub fn leading_aggregator(fleet: &Fleet) -> Process {
    let aggregator = fleet.aggregator(&[]);
    aggregator.wait_until_event("counting");
    aggregator
}

/// The measurements of a job.
pub struct Job {
    pub companies: u32,
    /// From the start of the producer's process to its end, after it has printed how the job ended.
    pub seconds: f64,
    pub producer: Usage,
    pub consumers: Usage,
    pub aggregator: Usage,
    /// `None` if the broker was not started for this run.
    pub broker: Option<Usage>,
    /// The done event.
    pub done: Value,
}

impl Job {
    /// Runs a job over the companies of `file` through processes that are started for it. All but the producer are running
    /// and idle when the clock starts.
    pub fn run(fleet: &Fleet, consumers: &Consumers, file: &Path, companies: u32) -> Job {
        let aggregator = leading_aggregator(fleet);
        let warm_up = consumers.warm_up.as_ref();
        let consumers = consumers.start(fleet, MODEL);
        if let Some(file) = warm_up {
            fleet.start_enqueue(file, MODEL, "warm-up", &["--wait"]).wait(DEADLINE).expect(0);
        }
        wait_until_broker_is_idle();
        let broker = watch_broker();
        let (aggregator_watch, consumers_watch) =
            (Watched::from_now([aggregator.id()]), Watched::from_now(consumers.iter().map(Process::id)));
        let began = Instant::now();
        let mut producer = fleet.start_enqueue(file, MODEL, JOB, &["--wait", "--output", "json"]);
        let (ended, producer) = follow(&mut producer, DEADLINE);
        let seconds = began.elapsed().as_secs_f64();
        let done = ended.expect(0).json();
        assert_eq!(done["succeeded"], companies, "the job's done event: {done}");
        let (consumers, aggregator) = (consumers_watch.used(), aggregator_watch.used());
        Job { companies, seconds, producer, consumers, aggregator, broker: broker.map(|broker| broker.used()), done }
    }

    pub fn companies_per_second(&self) -> f64 {
        f64::from(self.companies) / self.seconds
    }

    pub fn json(&self) -> Value {
        json!({
            "companies": self.companies,
            "seconds": self.seconds,
            "companies_per_second": self.companies_per_second(),
            "producer": self.producer.json(),
            "consumers": self.consumers.json(),
            "aggregator": self.aggregator.json(),
            "broker": self.broker.as_ref().map(Usage::json),
            "duplicates": self.done["duplicates"],
        })
    }

    /// Prints the usage of each process.
    pub fn print_processes(&self) {
        let all: f64 = self.processes().iter().map(|(_, used)| used.cpu.seconds()).sum();
        let row = |&(name, used): &(&str, Usage)| {
            let Cpu { user_seconds, system_seconds } = used.cpu;
            let share = 100.0 * used.cpu.seconds() / all;
            let figures = [format!("{user_seconds:.2}"), format!("{system_seconds:.2}"), format!("{share:.0}")];
            [vec![name.to_owned()], figures.to_vec(), vec![used.peak_kb.to_string()]].concat()
        };
        println!("without the processes of command scorers; of several consumers, the CPU of all and the peak of the largest");
        let head = ["process", "CPU user, s", "CPU system, s", "of the CPU of these, %", "peak memory, kB"];
        table(&head, &self.processes().iter().map(row).collect::<Vec<_>>());
    }

    /// The usage of each process.
    pub fn processes(&self) -> Vec<(&'static str, Usage)> {
        let ours = [("producer", self.producer), ("consumers", self.consumers), ("aggregator", self.aggregator)];
        self.broker.map(|broker| ("broker", broker)).into_iter().chain(ours).collect()
    }
}

/// Writes a file of the demo's companies with `producer generate`.
pub fn companies_file(fleet: &Fleet, companies: u32) -> PathBuf {
    let (file, count) = (fleet.path("companies.csv"), companies.to_string());
    let arguments = ["generate", "--companies", &count, "--seed", "1", "--to", file.to_str().unwrap()];
    fleet.start_producer(&arguments).wait(DEADLINE).expect(0);
    file
}

/// Deletes a fleet's vhost, once its processes have ended, so that the next has broker and disk for itself. On a broker that
/// was not started for this run, everything stays.
pub fn delete_vhost(fleet: &Fleet) {
    let Some(broker) = Broker::given() else { return };
    let (_, vhost) = fleet.url().rsplit_once('/').unwrap();
    broker.ctl(&["delete_vhost", vhost]);
}
