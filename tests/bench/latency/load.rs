//! A large job that goes on for as long as it is needed.

use std::io::{PipeWriter, Write, pipe};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, spawn};
use std::time::Instant;

use rollcall_tests::{Fleet, Process, eventually};

use crate::job::companies_file;

/// A model of its own: what is measured is not how long its queue is.
pub const MODEL: &str = "load";

const JOB: &str = "load";

/// Rows that are written again and again.
const ROWS: u32 = 10_000;

/// A producer that is given rows without end.
pub struct Load {
    fleet: Fleet,
    producer: Process,
    rows: JoinHandle<()>,
    enough: Arc<AtomicBool>,
    began: (Instant, f64),
}

impl Load {
    /// Starts it, and waits until its companies go through.
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

    /// Stops it; returns how many of its companies a second went through.
    pub fn stop(mut self) -> f64 {
        let rate = (answered(&self.fleet) - self.began.1) / self.began.0.elapsed().as_secs_f64();
        assert!(self.producer.ended().is_none(), "the load has ended by itself");
        self.enough.store(true, Ordering::Relaxed);
        // Who waits to write goes on when nobody is there to read.
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
