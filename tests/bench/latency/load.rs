//! A large job that runs until it is stopped.

use std::io::{PipeWriter, Write, pipe};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, spawn};
use std::time::Instant;

use rollcall_tests::{Fleet, Process, eventually};

use crate::job::companies_file;

/// A model of its own, so that its queue does not delay the measured companies.
pub const MODEL: &str = "load";

const JOB: &str = "load";

/// The rows that are written repeatedly.
const ROWS: u32 = 10_000;

/// A producer with an endless input.
pub struct Load {
    fleet: Fleet,
    producer: Process,
    rows: JoinHandle<()>,
    enough: Arc<AtomicBool>,
    began: (Instant, f64),
}

impl Load {
    /// Starts it, and waits until its companies are counted.
    pub fn start(fleet: &Fleet) -> Load {
        let file = std::fs::read_to_string(companies_file(fleet, ROWS)).unwrap();
        let (input, rows) = pipe().unwrap();
        let mut producer = fleet.producer_command(&["enqueue", "-", "-m", MODEL, "--job", JOB, "--allow-duplicate-ids"]);
        producer.stdin(input);
        let producer = fleet.start("producer", producer);
        let enough = Arc::<AtomicBool>::default();
        let rows = spawn({
            let enough = Arc::clone(&enough);
            move || write_until(&enough, &file, rows)
        });
        eventually("companies of the load are answered for", || (answered(fleet) > 1_000.0).then_some(()));
        Load { fleet: fleet.clone(), producer, rows, enough, began: (Instant::now(), answered(fleet)) }
    }

    /// Stops it; returns its rate in companies per second.
    pub fn stop(mut self) -> f64 {
        let rate = (answered(&self.fleet) - self.began.1) / self.began.0.elapsed().as_secs_f64();
        assert!(self.producer.ended().is_none(), "the load has ended by itself");
        self.enough.store(true, Ordering::Relaxed);
        // The thread that writes rows fails when its pipe has no reader.
        self.producer.kill_9();
        self.rows.join().unwrap();
        rate
    }
}

fn write_until(enough: &AtomicBool, file: &str, mut to: PipeWriter) {
    let (header, rows) = file.split_once('\n').unwrap();
    if writeln!(to, "{header}").is_err() {
        return;
    }
    while !enough.load(Ordering::Relaxed) && to.write_all(rows.as_bytes()).is_ok() {}
}

fn answered(fleet: &Fleet) -> f64 {
    fleet.status(JOB)["succeeded"].as_f64().unwrap()
}
