//! The desks: as many scoring threads as there are seats. A scorer that is stuck, in code that nobody can interrupt, is left
//! with its thread, its companies are answered for as timed out, and a new thread with a new scorer takes the seat.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::batch::{Desk, Room, fault};
use crate::hold::Call;
use crate::intake::Taken;
use crate::score::{Company, Scorer};

/// How often somebody looks for threads that are stuck.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Makes a scorer for a seat.
pub(crate) type NewScorer = dyn Fn() -> Result<Box<dyn Scorer>, String> + Send;

/// What a thread is at.
#[derive(Default)]
pub(crate) struct Seat {
    seated: Mutex<Option<Seated>>,
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
}

impl Desks {
    /// Starts a thread for each of `scorers`.
    pub(crate) fn open(scorers: Vec<Box<dyn Scorer>>, room: Arc<Room>, new_scorer: Box<NewScorer>) -> Desks {
        let seats = scorers.into_iter().map(|scorer| {
            let seat = Arc::new(Seat::default());
            let thread = start(scorer, &room, &seat);
            (seat, Some(thread))
        });
        let mut watched = Watched { seats: seats.collect(), room, new_scorer, refused: None };
        let leaving = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&leaving);
        let watch = thread::spawn(move || {
            while !asked.load(Ordering::Relaxed) {
                watched.replace_stuck();
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

fn start(scorer: Box<dyn Scorer>, room: &Arc<Room>, seat: &Arc<Seat>) -> JoinHandle<()> {
    let desk = Desk { scorer, room: Arc::clone(room), seat: Arc::clone(seat) };
    thread::spawn(|| desk.work())
}

impl Watched {
    /// A process that was stopped, and goes on, has not scored for so long: no scorer is stuck for that.
    fn allow_for_pause(&self, pause: Duration) {
        if pause > LOOK_EVERY {
            self.room.hold.was_stopped_for(pause);
            self.seats.iter().for_each(|(seat, _)| seat.extend(pause));
        }
    }

    fn replace_stuck(&mut self) {
        for (seat, thread) in &mut self.seats {
            let Some(seated) = seat.overdue() else { continue };
            self.room.hold.end(&seated.call, false);
            let batch = seated.into_batch();
            tracing::error!(companies = batch.len(), "a scorer is stuck; its thread is left and replaced");
            if batch.len() == 1 {
                let late = fault("timeout", format!("the scorer did not come back within {:?}", self.room.patience));
                if self.room.pass_on(batch, vec![Err(late)], self.room.patience).is_err() {
                    return;
                }
            } else {
                // Whose fault it was will show when each is scored by itself.
                self.room.waiting.add(batch.into_iter().map(|taken| Taken { alone: true, ..taken }));
            }
            // What it does to this seat from now on concerns nobody.
            (*seat, *thread) = (Arc::new(Seat::default()), None);
        }
        self.fill_vacant();
    }

    fn fill_vacant(&mut self) {
        let mut refused = None;
        for (seat, thread) in self.seats.iter_mut().filter(|(_, thread)| thread.is_none()) {
            match (self.new_scorer)() {
                Ok(scorer) => *thread = Some(start(scorer, &self.room, seat)),
                Err(error) => refused = Some(error),
            }
        }
        self.room.hold.set_workers(self.seats.iter().filter(|(_, thread)| thread.is_some()).count());
        if let Some(error) = refused.as_ref().filter(|_| self.refused.is_none()) {
            tracing::error!(error, "a scorer cannot be started anew; trying again until it can");
        }
        self.refused = refused;
    }

    fn join(&mut self) {
        for thread in self.seats.iter_mut().filter_map(|(_, thread)| thread.take()) {
            if thread.join().is_err() {
                tracing::error!("a scoring thread crashed");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use rollcall_shared::message::{RetryPolicy, ScoredCompany};
    use rollcall_shared::telemetry::ConsumerMetrics;
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;
    use crate::batch::Scored;
    use crate::hold::{Hold, HoldLimits};
    use crate::intake::just_taken;
    use crate::score::Scores;
    use crate::settle::Settle;
    use crate::waiting::Waiting;

    /// Never comes back from a company whose record is `stuck`.
    struct Stuck(mpsc::Receiver<()>);

    impl Scorer for Stuck {
        fn score(&mut self, companies: &[Company]) -> Scores {
            if companies.iter().any(|company| company.record == b"stuck") {
                // The sender is kept by the test: this waits for its end.
                assert!(self.0.recv().is_err());
            }
            Ok(companies.iter().map(|_| Ok("1".to_owned())).collect())
        }
    }

    fn taken(index: u32, record: &str) -> Taken {
        let mut taken = just_taken(index, record);
        taken.work.retry = Some("1;1s".parse().unwrap());
        taken
    }

    #[test]
    fn a_stuck_scorer_costs_the_company_that_it_is_stuck_on_and_nobody_else() {
        let waiting = Arc::new(Waiting::default());
        waiting.add((0..10).map(|index| taken(index, if index == 4 { "stuck" } else { "{}" })));
        let (scored, mut outcomes) = unbounded_channel();
        let room = Arc::new(Room {
            waiting: Arc::clone(&waiting),
            scored,
            metrics: Arc::new(ConsumerMetrics::new().unwrap()),
            hold: Arc::new(Hold::new(HoldLimits {
                hold: Duration::from_secs(86_400),
                workers: 1,
                prefetch: 512,
                batch: 10,
                score_timeout: Duration::from_secs(60),
            })),
            desks: 1,
            patience: Duration::from_millis(50),
            retry: RetryPolicy::default(),
        });
        let (kept, held) = mpsc::channel::<mpsc::Sender<()>>();
        let new_scorer = move || {
            let (sender, receiver) = mpsc::channel();
            kept.send(sender).unwrap();
            Ok(Box::new(Stuck(receiver)) as Box<dyn Scorer>)
        };
        let first = new_scorer().unwrap();
        let desks = Desks::open(vec![first], room, Box::new(new_scorer));
        let mut ended: Vec<(u32, bool, Vec<u8>)> = Vec::new();
        while ended.len() < 10 {
            for Scored { taken, settle, .. } in outcomes.blocking_recv().unwrap() {
                let failed = matches!(settle, Settle::Answer(ScoredCompany::Error { cause, .. }) if cause == "timeout");
                ended.push((taken.work.index.0, failed, taken.work.record));
            }
        }
        ended.sort();
        let expected = |index| if index == 4 { (4, true, b"stuck".to_vec()) } else { (index, false, b"{}".to_vec()) };
        assert_eq!(ended, (0..10).map(expected).collect::<Vec<_>>());
        waiting.close();
        drop((held, desks));
    }
}
