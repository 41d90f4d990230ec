//! The fleet's processes, which are killed and restarted.

use std::time::{Duration, Instant};

use rollcall_tests::{Fleet, Process, SCORER};
use serde_json::Value;

use crate::disturbances::Disturbances;
use crate::jobs::{FAST, JobSeries, SLOW};

/// A consumer of the demo's network of 255 questions. Few particles suffice, since precision is not checked.
const CONSUMER: [&str; 8] =
    ["--model", "questionnaire", "--scorer", "bayes:deploy/demo/questionnaire.bif", "--particles", "20", "--threads", "1"];

/// A consumer that holds so little work that it resubscribes all the time.
const RESUBSCRIBING: [&str; 10] = [
    "--model",
    "questionnaire",
    "--scorer",
    "bayes:deploy/demo/questionnaire.bif",
    "--particles",
    "20",
    "--threads",
    "1",
    "--hold",
    "2ms",
];

/// A consumer whose companies take longer than its `--grace`.
const SLOW_CONSUMER: [&str; 8] = ["--model", "slow", "--scorer", SCORER, "--threads", "1", "--grace", "1s"];

const CONSUMERS: usize = 2;
const AGGREGATORS: usize = 2;

const SLOW_CONSUMERS: usize = 2;

/// Concurrent jobs of the fast model. There is one more of the slow model.
const FAST_SERIES: usize = 2;

/// The grace period of a consumer, and a little.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);

/// How often to check whether a process has ended by itself.
const POLL: Duration = Duration::from_millis(200);

/// A process that is restarted whenever it ends.
struct Slot {
    program: &'static str,
    arguments: &'static [&'static str],
    process: Process,
}

impl Slot {
    /// Whether it is stopped with SIGTERM, as in a deployment, and not killed.
    fn is_stopped_gently(&self) -> bool {
        self.arguments == SLOW_CONSUMER
    }
}

/// How often each kind was killed.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Kills {
    pub(crate) consumers: u64,
    pub(crate) aggregators: u64,
    pub(crate) producers: u64,
    pub(crate) brokers: u64,
    /// Consumers that were stopped while they were scoring a company for longer than their `--grace`.
    pub(crate) restarts: u64,
}

/// All of the fleet's processes.
pub(crate) struct Processes<'a> {
    pub(crate) fleet: &'a Fleet,
    slots: Vec<Slot>,
    pub(crate) series: Vec<JobSeries<'a>>,
    pub(crate) kills: Kills,
    pub(crate) disturbances: Disturbances,
    /// Processes that found the broker down at their start, and were started again.
    pub(crate) broker_was_down: u64,
    /// How often the broker was restarted because a queue was down.
    pub(crate) operator_restarts: u64,
}

impl<'a> Processes<'a> {
    /// Starts everything and waits until it works.
    pub(crate) fn start(fleet: &'a Fleet) -> Result<Processes<'a>, String> {
        let slot = |program, arguments| Slot { program, arguments, process: fleet.program(program, arguments) };
        let aggregators = (0..AGGREGATORS).map(|_| slot("aggregator", &[]));
        let slots =
            aggregators.chain((0..CONSUMERS).map(|_| slot("consumer", &CONSUMER))).chain([slot("consumer", &RESUBSCRIBING)]);
        let slots: Vec<Slot> = slots.chain((0..SLOW_CONSUMERS).map(|_| slot("consumer", &SLOW_CONSUMER))).collect();
        for slot in &slots {
            let ready = if slot.program == "consumer" { "taking_work" } else { "standing_by" };
            slot.process.wait_until_event(ready);
        }
        let file = fleet.companies(FAST.companies);
        let fast = (0..FAST_SERIES).map(|number| JobSeries::start(fleet, &FAST, number, file.clone()));
        let rows: String = (0..SLOW.companies).map(|index| format!("c{index},long\n")).collect();
        let long = fleet.file("slow.csv", format!("company_id,do\n{rows}"));
        let series = fast.chain([JobSeries::start(fleet, &SLOW, FAST_SERIES, long)]).collect();
        let (kills, disturbances) = (Kills::default(), Disturbances::default());
        Ok(Processes { fleet, slots, series, kills, disturbances, broker_was_down: 0, operator_restarts: 0 })
    }

    /// Lets the processes run for this long, and restarts any that has ended.
    pub(crate) fn run_for(&mut self, time: Duration) -> Result<(), String> {
        let until = Instant::now() + time;
        while Instant::now() < until {
            self.keep_alive()?;
            for series in &mut self.series {
                series.advance()?;
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    fn keep_alive(&mut self) -> Result<(), String> {
        for slot in &mut self.slots {
            let Some(ended) = slot.process.ended() else { continue };
            // A process that finds the broker down at its start ends with exit code 3, and an orchestrator restarts it.
            if ended.code != Some(3) {
                return Err(format!("{} ended by itself: {ended:?}", slot.program));
            }
            self.broker_was_down += 1;
            slot.process = self.fleet.program(slot.program, slot.arguments);
        }
        Ok(())
    }

    /// Kills one process, and restarts it.
    pub(crate) fn kill_one(&mut self, random: &mut fastrand::Rng) {
        let chosen = random.usize(..self.slots.len() + self.series.len());
        let Some(slot) = self.slots.get_mut(chosen) else {
            self.kills.producers += 1;
            return self.series[chosen - self.slots.len()].kill();
        };
        if slot.is_stopped_gently() {
            slot.process.terminate();
            slot.process.wait(STOP_TIMEOUT).expect(0);
            slot.process = self.fleet.program(slot.program, slot.arguments);
            self.kills.restarts += 1;
            return;
        }
        slot.process.kill_9();
        slot.process = self.fleet.program(slot.program, slot.arguments);
        match slot.program {
            "consumer" => self.kills.consumers += 1,
            _ => self.kills.aggregators += 1,
        }
    }

    /// Waits until the jobs in progress have ended, without starting new ones.
    pub(crate) fn finish(&mut self, deadline: Duration) -> Result<(), String> {
        let until = Instant::now() + deadline;
        self.series.iter_mut().for_each(JobSeries::last);
        while self.series.iter().any(JobSeries::is_busy) {
            self.run_for(POLL)?;
            if Instant::now() > until {
                // The check of the ledger reports what is missing.
                return Ok(());
            }
        }
        Ok(())
    }

    /// Whether the aggregator lists every job as done.
    pub(crate) fn every_job_ended(&mut self) -> bool {
        let asked = self.fleet.producer(&["status", "--output", "json"]);
        let jobs = if asked.code == Some(0) { asked.json() } else { Value::Null };
        self.keep_alive().is_ok() && jobs.as_array().is_some_and(|jobs| jobs.iter().all(|job| job["done_at"].is_string()))
    }
}
