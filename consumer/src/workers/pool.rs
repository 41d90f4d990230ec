//! The worker pool, and the watchdog that replaces stuck and panicked workers. A thread cannot be interrupted, so a stuck one is abandoned
//! with its scorer: its companies fail with a time-out, and a new thread with a new scorer takes its place. The companies of a panicked
//! worker are scored again.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rollcall_score::Scorer;
use rollcall_shared::telemetry::Readiness;
use tokio::sync::oneshot;

use super::context::{WorkerContext, retryable};
use super::slot::{RunningBatch, Slot};
use super::worker::Worker;
use crate::intake::work_item::WorkItem;

/// How often the watchdog looks for stuck and panicked workers.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Starts a scorer for a worker.
pub(crate) type StartScorer = dyn Fn() -> Result<Box<dyn Scorer>, StartError> + Send;

/// Why a worker cannot be started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// The scorer does not start.
    #[error("{0}")]
    Scorer(String),
    #[error("it panicked")]
    Panicked,
    #[error("the system gives no thread for it: {0}")]
    Thread(#[from] std::io::Error),
}

/// All workers, and their watchdog.
pub(crate) struct WorkerPool {
    watchdog: JoinHandle<()>,
    stopping: Arc<AtomicBool>,
}

impl WorkerPool {
    /// Starts a worker for each of `scorers`. If none is left and none can be started, `ready` has a fault.
    pub(crate) fn start(
        scorers: Vec<Box<dyn Scorer>>,
        context: Arc<WorkerContext>,
        start_scorer: Box<StartScorer>,
        ready: Readiness,
    ) -> WorkerPool {
        let workers = scorers.into_iter().map(|scorer| {
            let slot = Arc::new(Slot::default());
            let thread = start(scorer, &context, &slot);
            (slot, thread.ok())
        });
        let workers = workers.collect();
        let mut watchdog = Watchdog { workers, context, start_scorer, start_error: None, pause_is_logged: false, ready };
        watchdog.report();
        let stopping = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&stopping);
        let watchdog = thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                // Nothing replaces the watchdog itself, so a panic must not end it.
                if catch_unwind(AssertUnwindSafe(|| watchdog.replace_lost())).is_err() {
                    tracing::error!("the watchdog of the workers panicked; trying again");
                }
                let waits_since = Instant::now();
                thread::park_timeout(LOOK_EVERY);
                watchdog.allow_for_suspension(waits_since.elapsed().saturating_sub(LOOK_EVERY));
            }
            watchdog.join();
        });
        WorkerPool { watchdog, stopping }
    }

    /// Waits until the workers have ended, so that no child process is left behind; for `most` at most, since one may be stuck.
    pub(crate) async fn stop(self, most: Duration) {
        self.stopping.store(true, Ordering::Relaxed);
        self.watchdog.thread().unpark();
        // A blocking task of the runtime would delay the runtime's end without limit.
        let (ended, all_ended) = oneshot::channel();
        thread::spawn(move || ended.send(self.watchdog.join().is_ok()));
        if !matches!(tokio::time::timeout(most, all_ended).await, Ok(Ok(true))) {
            tracing::warn!("a worker did not end in time; abandoning it");
        }
    }
}

fn start(scorer: Box<dyn Scorer>, context: &Arc<WorkerContext>, slot: &Arc<Slot>) -> Result<JoinHandle<()>, StartError> {
    context.slots.add(slot);
    let worker = Worker::new(scorer, Arc::clone(context), Arc::clone(slot));
    Ok(thread::Builder::new().name("scoring".to_owned()).spawn(|| worker.run())?)
}

struct Watchdog {
    context: Arc<WorkerContext>,
    start_scorer: Box<StartScorer>,
    /// The thread is `None` until it can be started.
    workers: Vec<(Arc<Slot>, Option<JoinHandle<()>>)>,
    /// Why the last worker could not be started.
    start_error: Option<StartError>,
    pause_is_logged: bool,
    ready: Readiness,
}

/// Why a worker is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LostReason {
    Stuck,
    Panicked,
}

impl Watchdog {
    fn replace_lost(&mut self) {
        for at in 0..self.workers.len() {
            let Some((slot, thread)) = self.workers.get_mut(at) else { continue };
            let has_ended = thread.as_ref().is_some_and(JoinHandle::is_finished);
            let (running, reason) = match (slot.take_overdue(), has_ended) {
                (Some(running), false) => (Some(running), LostReason::Stuck),
                // Workers end by themselves after the queue is closed.
                (None, true) if self.context.queue.is_closed() => continue,
                (overdue, true) => (overdue.or_else(|| slot.take_running()), LostReason::Panicked),
                (None, false) => continue,
            };
            self.context.queue.add(slot.take_failed().into_iter().map(WorkItem::alone));
            // Late results of the abandoned worker are ignored: its slot is no longer in use.
            (*slot, *thread) = (Arc::new(Slot::default()), None);
            self.take_over(running, reason);
        }
        self.start_missing();
    }

    /// Takes over the batch of a lost worker.
    fn take_over(&self, running: Option<RunningBatch>, reason: LostReason) {
        let context = &self.context;
        let why = match reason {
            LostReason::Stuck => "stuck",
            LostReason::Panicked => "panicked",
        };
        context.metrics.workers_replaced.with_label_values(&[why]).inc();
        let companies = running.as_ref().map_or(0, |running| running.batch.len());
        if let Some(running) = running {
            context.hold.end(&running.call, false);
            let batch = running.into_batch();
            if batch.len() == 1 {
                let error = match reason {
                    LostReason::Stuck => {
                        retryable("timeout", format!("the scorer did not come back within {:?}", context.call_timeout))
                    }
                    LostReason::Panicked => retryable("scorer_crashed", "the thread that scored it panicked".to_owned()),
                };
                // If the session is gone, the broker delivers the company to another consumer.
                context.pass_on(batch, vec![Err(error)], context.call_timeout).unwrap_or(());
            } else {
                // Scored alone, the company that caused it is found.
                context.queue.add(batch.into_iter().map(WorkItem::alone));
            }
        }
        tracing::error!(event = "worker_replaced", why, companies, "a worker is lost and replaced");
    }

    fn start_missing(&mut self) {
        let mut failed = None;
        for (slot, thread) in self.workers.iter_mut().filter(|(_, thread)| thread.is_none()) {
            let scorer = catch_unwind(AssertUnwindSafe(|| (self.start_scorer)())).unwrap_or(Err(StartError::Panicked));
            match scorer.and_then(|scorer| start(scorer, &self.context, slot)) {
                Ok(started) => *thread = Some(started),
                Err(error) => failed = Some(error),
            }
        }
        if let Some(error) = failed.as_ref().filter(|_| self.start_error.is_none()) {
            tracing::error!(event = "scorer_not_started", %error, "a scorer cannot be started again; trying until it can");
        }
        self.start_error = failed;
        self.report();
    }

    /// Reports by metrics, log and readiness how many workers can score, and why if none can.
    fn report(&mut self) {
        let running = self.workers.iter().filter(|(_, thread)| thread.is_some()).count();
        let paused = self.context.health.paused();
        let able = running.saturating_sub(paused.as_ref().map_or(0, |(workers, _)| *workers));
        self.context.hold.set_workers(able);
        self.context.metrics.workers.set(i64::try_from(able).unwrap_or(i64::MAX));
        match (&paused, self.pause_is_logged) {
            (Some((workers, fault)), false) => {
                tracing::error!(
                    event = "scorer_broken",
                    workers,
                    fault,
                    "pausing; trying again until it works, and no company is charged"
                );
            }
            (None, true) => tracing::info!(event = "scorer_works", "the scorer works again"),
            _ => {}
        }
        self.pause_is_logged = paused.is_some();
        let no_scorer =
            self.start_error.as_ref().filter(|_| running == 0).map(|error| format!("no scorer can be started: {error}"));
        self.ready.set_fault(no_scorer.or_else(|| paused.filter(|_| able == 0).map(|(_, fault)| fault)));
    }

    /// Time in which the whole process was suspended is no time of its scorers, and makes none of them stuck.
    fn allow_for_suspension(&self, suspended: Duration) {
        if suspended > LOOK_EVERY {
            self.context.hold.was_suspended_for(suspended);
            self.workers.iter().for_each(|(slot, _)| slot.extend(suspended));
        }
    }

    fn join(&mut self) {
        for thread in self.workers.iter_mut().filter_map(|(_, thread)| thread.take()) {
            if thread.join().is_err() {
                tracing::error!("a worker panicked");
            }
        }
    }
}

#[cfg(test)]
mod tests;
