//! The desks: as many scoring threads as there are seats. A scorer that is stuck, in code that nobody can interrupt, is left
//! with its thread, its companies are answered for as timed out, and a new thread with a new scorer takes the seat. A thread that
//! has panicked is replaced too, and its companies are scored again.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rollcall_shared::telemetry::Readiness;
use tokio::sync::oneshot;

use crate::batch::{Desk, Room, fault};
use crate::hold::Call;
use crate::intake::Taken;
use rollcall_score::{Company, Scorer};

/// How often somebody looks for threads that are stuck.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Makes a scorer for a seat.
pub(crate) type NewScorer = dyn Fn() -> Result<Box<dyn Scorer>, String> + Send;

/// What a thread is at.
#[derive(Default)]
pub(crate) struct Seat {
    seated: Mutex<Option<Seated>>,
    /// A batch whose call has failed, until it is decided what is to be done with it.
    failed: Mutex<Option<Arc<Vec<Taken>>>>,
}

/// What all threads are at, for whoever must answer for it.
#[derive(Default)]
pub(crate) struct Seats {
    seats: Mutex<Vec<Weak<Seat>>>,
}

impl Seats {
    fn add(&self, seat: &Arc<Seat>) {
        self.lock().push(Arc::downgrade(seat));
    }

    /// The companies in calls, and in calls that have failed. Those in calls are without their records.
    pub(crate) fn in_calls(&self) -> Vec<Taken> {
        let in_call = |seat: &Seat| seat.lock().as_ref().map(|seated| seated.batch.clone()).unwrap_or_default();
        let failed = |seat: &Seat| seat.lock_failed().as_deref().cloned().unwrap_or_default();
        self.all().flat_map(|seat| [in_call(&seat), failed(&seat)]).flatten().collect()
    }

    /// Takes the companies out of their calls, with their records. What the calls come to is ignored.
    pub(crate) fn take_out(&self) -> Vec<Taken> {
        let in_call = |seat: &Seat| seat.stand_up().map(Seated::into_batch).unwrap_or_default();
        self.all().flat_map(|seat| [in_call(&seat), seat.take_failed()]).flatten().collect()
    }

    fn all(&self) -> impl Iterator<Item = Arc<Seat>> {
        self.lock().iter().filter_map(Weak::upgrade).collect::<Vec<_>>().into_iter()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Weak<Seat>>> {
        let mut seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        seats.retain(|seat| seat.strong_count() > 0);
        seats
    }
}

/// A batch being scored.
pub(crate) struct Seated {
    pub(crate) batch: Vec<Taken>,
    /// The records of the batch, in its order.
    pub(crate) companies: Arc<Vec<Company>>,
    pub(crate) call: Call,
    pub(crate) until: Instant,
}

impl Seated {
    /// The batch, with its records.
    pub(crate) fn into_batch(self) -> Vec<Taken> {
        let companies = Arc::try_unwrap(self.companies).unwrap_or_else(|shared| shared.as_ref().clone());
        let mut batch = self.batch;
        for (taken, company) in batch.iter_mut().zip(companies) {
            taken.work.record = company.record;
        }
        batch
    }
}

impl Seat {
    /// Begins with a batch.
    pub(crate) fn sit_down(&self, seated: Seated) {
        *self.lock() = Some(seated);
    }

    /// Ends with it; nothing where it took too long, and somebody else has it.
    pub(crate) fn stand_up(&self) -> Option<Seated> {
        self.lock().take()
    }

    /// Keeps a batch whose call has failed.
    pub(crate) fn keep_failed(&self, batch: Vec<Taken>) -> Arc<Vec<Taken>> {
        let batch = Arc::new(batch);
        *self.lock_failed() = Some(Arc::clone(&batch));
        batch
    }

    /// Takes it back; nothing where somebody else has taken it.
    pub(crate) fn take_failed(&self) -> Vec<Taken> {
        self.lock_failed().take().map(Arc::unwrap_or_clone).unwrap_or_default()
    }

    /// Gives the batch so much more time.
    fn extend(&self, by: Duration) {
        if let Some(seated) = self.lock().as_mut() {
            seated.until += by;
        }
    }

    fn overdue(&self) -> Option<Seated> {
        let mut seated = self.lock();
        if seated.as_ref().is_some_and(|seated| seated.until < Instant::now()) { seated.take() } else { None }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Seated>> {
        self.seated.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_failed(&self) -> MutexGuard<'_, Option<Arc<Vec<Taken>>>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All scoring threads, and the one that watches over them.
pub(crate) struct Desks {
    watch: JoinHandle<()>,
    leaving: Arc<AtomicBool>,
}

struct Watched {
    room: Arc<Room>,
    new_scorer: Box<NewScorer>,
    seats: Vec<(Arc<Seat>, Option<JoinHandle<()>>)>,
    /// Why the last scorer could not be started.
    refused: Option<String>,
    /// Whether the log says that threads pause.
    told_of_pause: bool,
    ready: Readiness,
}

/// Why a thread is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lost {
    Stuck,
    Panicked,
}

impl Desks {
    /// Starts a thread for each of `scorers`. Where none is left and none can be started, the process is not `ready`.
    pub(crate) fn open(scorers: Vec<Box<dyn Scorer>>, room: Arc<Room>, new_scorer: Box<NewScorer>, ready: Readiness) -> Desks {
        let seats = scorers.into_iter().map(|scorer| {
            let seat = Arc::new(Seat::default());
            let thread = start(scorer, &room, &seat);
            (seat, thread.ok())
        });
        let mut watched = Watched { seats: seats.collect(), room, new_scorer, refused: None, told_of_pause: false, ready };
        watched.count();
        let leaving = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&leaving);
        let watch = thread::spawn(move || {
            while !asked.load(Ordering::Relaxed) {
                // It is the last that looks after the others: a fault of its own must not end it.
                if catch_unwind(AssertUnwindSafe(|| watched.replace_lost())).is_err() {
                    tracing::error!("looking after the scoring threads panicked; trying again");
                }
                let parked = Instant::now();
                thread::park_timeout(LOOK_EVERY);
                watched.allow_for_pause(parked.elapsed().saturating_sub(LOOK_EVERY));
            }
            watched.join();
        });
        Desks { watch, leaving }
    }

    /// Waits for the threads, so that no child process is left behind; but for `most` at most, since one may be stuck.
    pub(crate) async fn leave(self, most: Duration) {
        self.leaving.store(true, Ordering::Relaxed);
        self.watch.thread().unpark();
        // Not a task of the runtime's: its end would be waited for without limit.
        let (ended, all_ended) = oneshot::channel();
        thread::spawn(move || ended.send(self.watch.join().is_ok()));
        if !matches!(tokio::time::timeout(most, all_ended).await, Ok(Ok(true))) {
            tracing::warn!("a scoring thread did not end; leaving it");
        }
    }
}

fn start(scorer: Box<dyn Scorer>, room: &Arc<Room>, seat: &Arc<Seat>) -> Result<JoinHandle<()>, String> {
    room.seats.add(seat);
    let desk = Desk { scorer, room: Arc::clone(room), seat: Arc::clone(seat), unread: 0, unread_since: Instant::now() };
    let started = thread::Builder::new().name("scoring".to_owned()).spawn(|| desk.work());
    started.map_err(|error| format!("the system gives no thread for it: {error}"))
}

impl Watched {
    /// A process that was stopped, and goes on, has not scored for so long: no scorer is stuck for that.
    fn allow_for_pause(&self, pause: Duration) {
        if pause > LOOK_EVERY {
            self.room.hold.was_stopped_for(pause);
            self.seats.iter().for_each(|(seat, _)| seat.extend(pause));
        }
    }

    fn replace_lost(&mut self) {
        for (seat, thread) in &mut self.seats {
            let has_ended = thread.as_ref().is_some_and(JoinHandle::is_finished);
            let (seated, lost) = match (seat.overdue(), has_ended) {
                (Some(seated), false) => (Some(seated), Lost::Stuck),
                // It ends by itself once nothing more is to come, which is said before.
                (None, true) if self.room.waiting.is_closed() => continue,
                (overdue, true) => (overdue.or_else(|| seat.stand_up()), Lost::Panicked),
                (None, false) => continue,
            };
            self.room.waiting.add(seat.take_failed().into_iter().map(|taken| Taken { alone: true, ..taken }));
            // What a stuck thread does to this seat from now on concerns nobody.
            (*seat, *thread) = (Arc::new(Seat::default()), None);
            self.room.take_back(seated, lost);
        }
        self.fill_vacant();
    }

    fn fill_vacant(&mut self) {
        let mut refused = None;
        for (seat, thread) in self.seats.iter_mut().filter(|(_, thread)| thread.is_none()) {
            let started = catch_unwind(AssertUnwindSafe(|| (self.new_scorer)()));
            let started = started.unwrap_or_else(|_| Err("it panicked".to_owned()));
            match started.and_then(|scorer| start(scorer, &self.room, seat)) {
                Ok(started) => *thread = Some(started),
                Err(error) => refused = Some(error),
            }
        }
        if let Some(error) = refused.as_ref().filter(|_| self.refused.is_none()) {
            tracing::error!(error, "a scorer cannot be started anew; trying again until it can");
        }
        self.refused = refused;
        self.count();
    }

    /// Says how many threads score, and why none does.
    fn count(&mut self) {
        let running = self.seats.iter().filter(|(_, thread)| thread.is_some()).count();
        let paused = self.room.health.paused();
        let able = running.saturating_sub(paused.as_ref().map_or(0, |(threads, _)| *threads));
        self.room.hold.set_workers(able);
        self.room.metrics.workers.set(i64::try_from(able).unwrap_or(i64::MAX));
        match (&paused, self.told_of_pause) {
            (Some((threads, fault)), false) => {
                tracing::error!(
                    event = "scorer_broken",
                    threads,
                    fault,
                    "pausing; trying again until it works, and no company is charged"
                );
            }
            (None, true) => tracing::info!(event = "scorer_works", "the scorer works again"),
            _ => {}
        }
        self.told_of_pause = paused.is_some();
        let refused = self.refused.as_ref().filter(|_| running == 0).map(|error| format!("no scorer can be started: {error}"));
        self.ready.set_fault(refused.or_else(|| paused.filter(|_| able == 0).map(|(_, fault)| fault)));
    }

    fn join(&mut self) {
        for thread in self.seats.iter_mut().filter_map(|(_, thread)| thread.take()) {
            if thread.join().is_err() {
                tracing::error!("a scoring thread crashed");
            }
        }
    }
}

impl Room {
    /// Takes a batch back from a thread that is lost.
    fn take_back(&self, seated: Option<Seated>, lost: Lost) {
        let why = match lost {
            Lost::Stuck => "stuck",
            Lost::Panicked => "panicked",
        };
        self.metrics.workers_replaced.with_label_values(&[why]).inc();
        let companies = seated.as_ref().map_or(0, |seated| seated.batch.len());
        if let Some(seated) = seated {
            self.hold.end(&seated.call, false);
            let batch = seated.into_batch();
            if batch.len() == 1 {
                let fault = match lost {
                    Lost::Stuck => fault("timeout", format!("the scorer did not come back within {:?}", self.patience)),
                    Lost::Panicked => fault("scorer_crashed", "the thread that scored it panicked".to_owned()),
                };
                // Where nobody listens any more, the broker gives it to another consumer.
                self.pass_on(batch, vec![Err(fault)], self.patience).unwrap_or(());
            } else {
                // Whose fault it was will show when each is scored by itself.
                self.waiting.add(batch.into_iter().map(|taken| Taken { alone: true, ..taken }));
            }
        }
        tracing::error!(event = "worker_replaced", why, companies, "a scoring thread is lost and replaced");
    }
}

#[cfg(test)]
mod tests;
