//! Kills one process after another, the broker among them, while jobs run, and then checks that nothing was lost or counted twice.
//!
//! `make chaos SECONDS=300 SEED=7`. The seed decides what is killed and when; how the processes take it, it does not decide.

#![expect(clippy::panic, clippy::unwrap_used, reason = "in a test, the unexpected ends the test")]
#![expect(clippy::print_stderr, clippy::print_stdout, reason = "it is a program for people at a terminal")]

mod crew;
mod jobs;
mod operator;
mod strangers;
mod verdict;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rollcall_tests::{Broker, Fleet, within};

use crew::Crew;
use operator::stand_by;
use verdict::{Figures, judge};

/// Between two kills.
const PAUSE_MILLISECONDS: std::ops::RangeInclusive<u64> = 1_000..=3_000;

/// The queues in which companies wait, by the second word of their names.
const WORK: [&str; 5] = ["work", "quarantine", "retry", "paused", "dead"];

/// One kill in so many is the broker's: it takes seconds to come back, and nothing moves meanwhile.
const BROKER_ONE_IN: u32 = 8;

/// One act in so many is a stranger's.
const STRANGERS_ONE_IN: u32 = 3;

/// In a run of this length, everybody who makes trouble has done so.
const EVERYBODY_ACTS_WITHIN: Duration = Duration::from_secs(240);

/// What is under way when the killing stops has this long to end.
const SETTLE: Duration = Duration::from_secs(180);

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
        Ok(figures) => {
            println!("{figures}");
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

fn run(broker: &Broker, fleet: &Fleet, seed: u64, time: Duration) -> Result<Figures, String> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut crew = Crew::start(fleet)?;
    let until = Instant::now() + time;
    std::thread::scope(|scope| {
        let mut restarting = None;
        while Instant::now() < until {
            crew.go_on_for(Duration::from_millis(random.u64(PAUSE_MILLISECONDS)))?;
            let broker_is_up = restarting.as_ref().is_none_or(std::thread::ScopedJoinHandle::is_finished);
            if random.u32(..STRANGERS_ONE_IN) == 0 && broker_is_up {
                crew.strangers.act(broker, fleet, &mut random);
            } else if random.u32(..BROKER_ONE_IN) > 0 {
                crew.kill_one(&mut random);
            } else if broker_is_up {
                crew.kills.brokers += 1;
                restarting = Some(scope.spawn(|| {
                    broker.kill_9();
                    broker.restart();
                }));
            }
        }
        Ok::<(), String>(())
    })?;
    crew.strangers.leave(fleet);
    let (hung, operator) = settle(broker, &mut crew)?;
    let figures = judge(&crew)?;
    operator?;
    if time >= EVERYBODY_ACTS_WITHIN {
        figures.check_that_all_acted()?;
    }
    nothing_left(broker)?;
    if hung { Err("a job did not end, although the ledger says that it did".to_owned()) } else { Ok(figures) }
}

/// Whether every queue of work is empty once every job has ended.
fn nothing_left(broker: &Broker) -> Result<(), String> {
    let left = || {
        let queues = broker.ctl(&["list_queues", "--no-table-headers", "name", "messages"]);
        let is_work = |queue: &&str| WORK.iter().any(|kind| queue.starts_with(&format!("rollcall.{kind}.")));
        queues.lines().filter(is_work).filter(|queue| !queue.ends_with("\t0")).map(ToOwned::to_owned).collect::<Vec<_>>()
    };
    let emptied = AssertUnwindSafe(|| within(SETTLE, "every queue of work is empty", || left().is_empty().then_some(())));
    catch_unwind(emptied).map_err(|_| format!("messages are left after every job has ended: {}", left().join(", ")))
}

/// Lets what is under way end; returns whether it did not, for which the ledger says what is missing, and what stopped the
/// operator, if something did: what was lost is told first.
fn settle(broker: &Broker, crew: &mut Crew) -> Result<(bool, Result<(), String>), String> {
    std::thread::scope(|scope| {
        let (settled, end) = channel();
        let operator = scope.spawn(move || stand_by(broker, &end));
        let hung = crew.finish(SETTLE).map(|()| {
            let every_job_ended = || crew.every_job_ended().then_some(());
            catch_unwind(AssertUnwindSafe(|| within(SETTLE, "every job has ended", every_job_ended))).is_err()
        });
        drop(settled);
        let restarts = operator.join().map_err(|panic| words(&*panic));
        Ok((hung?, restarts.map(|restarts| crew.operator_restarts = restarts)))
    })
}
