//! The processes that are killed and started anew.

use std::time::{Duration, Instant};

use rollcall_tests::{Fleet, Process, SCORER};
use serde_json::Value;

use crate::jobs::{FAST, Lane, SLOW};
use crate::strangers::Strangers;

/// The demo's network of 255 questions; few particles, since this is not about precision.
const CONSUMER: [&str; 8] =
    ["--model", "questionnaire", "--scorer", "bayes:deploy/demo/questionnaire.bif", "--particles", "20", "--threads", "1"];

/// One that holds so little that it subscribes for more and for less all the time.
const CHANGING: [&str; 10] = [
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

/// One that needs longer for a company than it is given to stop.
const SLOW_CONSUMER: [&str; 8] = ["--model", "slow", "--scorer", SCORER, "--threads", "1", "--grace", "1s"];

const CONSUMERS: usize = 2;
const AGGREGATORS: usize = 2;

const SLOW_CONSUMERS: usize = 2;

/// Jobs under way at any time, beside one of the slow model.
const LANES: usize = 2;

/// A consumer that is asked to stop has its grace, and a little.
const STOPS_WITHIN: Duration = Duration::from_secs(15);

/// How often to look whether a process has ended by itself.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// A process that is to run all the time.
struct Slot {
    program: &'static str,
    arguments: &'static [&'static str],
    process: Process,
}

impl Slot {
    /// Whether it is restarted as a deployment does, and not killed.
    fn is_deployed(&self) -> bool {
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
    /// Consumers that were asked to stop while they were scoring a company for longer than their grace.
    pub(crate) restarts: u64,
}

/// All of the fleet's processes.
pub(crate) struct Crew<'a> {
    pub(crate) fleet: &'a Fleet,
    slots: Vec<Slot>,
    pub(crate) lanes: Vec<Lane<'a>>,
    pub(crate) kills: Kills,
    pub(crate) strangers: Strangers,
    /// Processes that found no broker at their start, and were started again.
    pub(crate) too_early: u64,
    /// How often the broker had to be started once more, because it had left a queue down.
    pub(crate) operator_restarts: u64,
}

impl<'a> Crew<'a> {
    /// Starts everything and waits until it works.
    pub(crate) fn start(fleet: &'a Fleet) -> Result<Crew<'a>, String> {
        let slot = |program, arguments| Slot { program, arguments, process: fleet.program(program, arguments) };
        let aggregators = (0..AGGREGATORS).map(|_| slot("aggregator", &[]));
        let slots = aggregators.chain((0..CONSUMERS).map(|_| slot("consumer", &CONSUMER))).chain([slot("consumer", &CHANGING)]);
        let slots: Vec<Slot> = slots.chain((0..SLOW_CONSUMERS).map(|_| slot("consumer", &SLOW_CONSUMER))).collect();
        for slot in &slots {
            let ready = if slot.program == "consumer" { "taking_work" } else { "event=\"standing_by\"" };
            slot.process.wait_until_it_says(ready);
        }
        let file = fleet.companies(FAST.companies);
        let fast = (0..LANES).map(|number| Lane::start(fleet, &FAST, number, file.clone()));
        let rows: String = (0..SLOW.companies).map(|index| format!("c{index},long\n")).collect();
        let long = fleet.file("slow.csv", format!("company_id,do\n{rows}"));
        let lanes = fast.chain([Lane::start(fleet, &SLOW, LANES, long)]).collect();
        let (kills, strangers) = (Kills::default(), Strangers::default());
        Ok(Crew { fleet, slots, lanes, kills, strangers, too_early: 0, operator_restarts: 0 })
    }

    /// Lets everything work for so long, and starts what has ended by itself.
    pub(crate) fn go_on_for(&mut self, time: Duration) -> Result<(), String> {
        let until = Instant::now() + time;
        while Instant::now() < until {
            self.keep_alive()?;
            for lane in &mut self.lanes {
                lane.go_on()?;
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    fn keep_alive(&mut self) -> Result<(), String> {
        for slot in &mut self.slots {
            let Some(ended) = slot.process.ended() else { continue };
            // A broker that is away at the start is reported, not waited for: whoever runs the fleet starts it again.
            if ended.code != Some(3) {
                return Err(format!("{} ended by itself: {ended:?}", slot.program));
            }
            self.too_early += 1;
            slot.process = self.fleet.program(slot.program, slot.arguments);
        }
        Ok(())
    }

    /// Kills one of them with signal 9, and starts it anew.
    pub(crate) fn kill_one(&mut self, random: &mut fastrand::Rng) {
        let chosen = random.usize(..self.slots.len() + self.lanes.len());
        let Some(slot) = self.slots.get_mut(chosen) else {
            self.kills.producers += 1;
            return self.lanes[chosen - self.slots.len()].kill();
        };
        if slot.is_deployed() {
            slot.process.terminate();
            slot.process.wait(STOPS_WITHIN).expect(0);
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

    /// Starts no more jobs, and lets those under way end.
    pub(crate) fn finish(&mut self, deadline: Duration) -> Result<(), String> {
        let until = Instant::now() + deadline;
        self.lanes.iter_mut().for_each(Lane::last);
        while self.lanes.iter().any(Lane::is_busy) {
            self.go_on_for(LOOK_EVERY)?;
            if Instant::now() > until {
                // The ledger says what is missing.
                return Ok(());
            }
        }
        Ok(())
    }

    /// Whether the aggregator knows of no job that goes on.
    pub(crate) fn every_job_ended(&mut self) -> bool {
        let asked = self.fleet.producer(&["status", "--output", "json"]);
        let jobs = if asked.code == Some(0) { asked.json() } else { Value::Null };
        self.keep_alive().is_ok() && jobs.as_array().is_some_and(|jobs| jobs.iter().all(|job| job["done_at"].is_string()))
    }
}
