//! Kills processes, the broker among them, while jobs run, and then checks that nothing was lost or counted twice.
//!
//! `make chaos SECONDS=300 SEED=7`. The seed determines what is killed and when, but not how the processes are scheduled.

#![expect(clippy::panic, clippy::unwrap_used, reason = "in a test, the unexpected ends the test")]
#![expect(clippy::print_stderr, clippy::print_stdout, reason = "it is a program for people at a terminal")]

mod check;
mod disturbances;
mod jobs;
mod operator;
mod processes;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rollcall_tests::{Broker, Fleet, within};

use check::{Summary, check_ledger};
use operator::restart_if_queues_stay_down;
use processes::Processes;

/// The pause between two kills.
const PAUSE_MILLISECONDS: std::ops::RangeInclusive<u64> = 1_000..=3_000;

/// The queues that hold companies, by the second word of their names.
const WORK: [&str; 5] = ["work", "quarantine", "retry", "paused", "dead"];

/// One kill in this many is the broker's: it takes seconds to restart, and all work stops meanwhile.
const BROKER_ONE_IN: u32 = 8;

/// One action in this many is a disturbance instead of a kill.
const DISTURBANCE_ONE_IN: u32 = 3;

/// In a run of this length, every kind of fault has happened.
const EVERY_FAULT_WITHIN: Duration = Duration::from_secs(240);

/// The time for jobs in progress to end after the last kill.
const DRAIN: Duration = Duration::from_secs(180);

fn main() -> ExitCode {
    let Some(seconds) = number("CHAOS_SECONDS") else {
        println!("chaos: not asked for; run it by `make chaos`");
        return ExitCode::SUCCESS;
    };
    let seed = number("CHAOS_SEED").unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs());
    let Some(broker) = Broker::given() else {
        eprintln!("chaos: kills its broker, and so needs one of its own: run it by `make chaos`");
        return ExitCode::from(2);
    };
    println!("chaos: seed {seed}, {seconds} s");
    let fleet = Fleet::on(&broker);
    let run = AssertUnwindSafe(|| run(&broker, &fleet, seed, Duration::from_secs(seconds)));
    match catch_unwind(run).unwrap_or_else(|panic| Err(words(&*panic))) {
        Ok(summary) => {
            println!("{summary}");
            ExitCode::SUCCESS
        }
        Err(fault) => {
            eprintln!("chaos: FAILED with seed {seed}: {fault}");
            eprintln!("chaos: what the processes said is in {}", fleet.keep(&format!("rollcall-chaos-{seed}")).display());
            ExitCode::FAILURE
        }
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|error| panic!("expected a number in {variable}, found {text:?}: {error}")))
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_else(|| "a panic without words".to_owned())
}

fn run(broker: &Broker, fleet: &Fleet, seed: u64, time: Duration) -> Result<Summary, String> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut processes = Processes::start(fleet)?;
    let until = Instant::now() + time;
    std::thread::scope(|scope| {
        let mut restarting = None;
        while Instant::now() < until {
            processes.run_for(Duration::from_millis(random.u64(PAUSE_MILLISECONDS)))?;
            let broker_is_up = restarting.as_ref().is_none_or(std::thread::ScopedJoinHandle::is_finished);
            if random.u32(..DISTURBANCE_ONE_IN) == 0 && broker_is_up {
                processes.disturbances.act(broker, fleet, &mut random);
            } else if random.u32(..BROKER_ONE_IN) > 0 {
                processes.kill_one(&mut random);
            } else if broker_is_up {
                processes.kills.brokers += 1;
                restarting = Some(scope.spawn(|| {
                    broker.kill_9();
                    broker.restart();
                }));
            }
        }
        Ok::<(), String>(())
    })?;
    processes.disturbances.leave(fleet);
    let (hung, operator) = drain(broker, &mut processes)?;
    let summary = check_ledger(&processes)?;
    operator?;
    if time >= EVERY_FAULT_WITHIN {
        summary.check_every_fault_happened()?;
    }
    check_queues_are_empty(broker)?;
    if hung { Err("a job did not end, although the ledger says that it did".to_owned()) } else { Ok(summary) }
}

/// Checks that every work queue is empty after every job has ended.
fn check_queues_are_empty(broker: &Broker) -> Result<(), String> {
    let left = || {
        let queues = broker.ctl(&["list_queues", "--no-table-headers", "name", "messages"]);
        let is_work = |queue: &&str| WORK.iter().any(|kind| queue.starts_with(&format!("rollcall.{kind}.")));
        queues.lines().filter(is_work).filter(|queue| !queue.ends_with("\t0")).map(ToOwned::to_owned).collect::<Vec<_>>()
    };
    let emptied = AssertUnwindSafe(|| within(DRAIN, "every queue of work is empty", || left().is_empty().then_some(())));
    catch_unwind(emptied).map_err(|_| format!("messages are left after every job has ended: {}", left().join(", ")))
}

/// Lets the jobs in progress end. Returns whether they did not, and the operator's failure, if any. The caller checks the
/// ledger first, since it shows which companies are missing.
fn drain(broker: &Broker, processes: &mut Processes) -> Result<(bool, Result<(), String>), String> {
    std::thread::scope(|scope| {
        let (drained, end) = channel();
        let operator = scope.spawn(move || restart_if_queues_stay_down(broker, &end));
        let hung = processes.finish(DRAIN).map(|()| {
            let every_job_ended = || processes.every_job_ended().then_some(());
            catch_unwind(AssertUnwindSafe(|| within(DRAIN, "every job has ended", every_job_ended))).is_err()
        });
        drop(drained);
        let restarts = operator.join().map_err(|panic| words(&*panic));
        Ok((hung?, restarts.map(|restarts| processes.operator_restarts = restarts)))
    })
}
