//! The scoring threads: each takes a batch of what waits, scores it, and passes on what is to be done for each company.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rollcall_shared::message::{RetryPolicy, Timestamp};
use rollcall_shared::telemetry::ConsumerMetrics;
use tokio::sync::mpsc::UnboundedSender;

use crate::desks::{Seat, Seated, Seats};
use crate::features::Features;
use crate::health::{Health, Unproven};
use crate::hold::Hold;
use crate::intake::Taken;
use crate::settle::{Settle, settle};
use crate::waiting::Waiting;
use rollcall_score::{Blame, CallError, Company, Prediction, ScoreError, Scorer, Scores};

/// A scorer fails so often in a row, on a new process each time, before it is taken to be broken.
const TRIES: u32 = 3;

/// Between two trials of a scorer that worked and is broken now.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A company with what is to be done about it.
#[derive(Debug)]
pub(crate) struct Scored {
    pub(crate) taken: Taken,
    pub(crate) settle: Settle,
    /// When it was scored.
    pub(crate) scored_at: Timestamp,
    /// How long it took; within a batch, its share.
    pub(crate) duration: Duration,
}

/// What every scoring thread needs.
pub(crate) struct Room {
    pub(crate) waiting: Arc<Waiting>,
    pub(crate) scored: UnboundedSender<Vec<Scored>>,
    pub(crate) metrics: Arc<ConsumerMetrics>,
    pub(crate) features: Features,
    /// What the threads are at.
    pub(crate) seats: Seats,
    /// Measures how fast companies are scored; says how many to score in one call.
    pub(crate) hold: Arc<Hold>,
    /// Whether the scorer works at all.
    pub(crate) health: Arc<Health>,
    /// How many threads share what waits.
    pub(crate) desks: usize,
    /// How long a call may take before its thread is given up.
    pub(crate) patience: Duration,
    /// When the broker takes back what is held.
    pub(crate) held_at_most: Duration,
    /// What holds for jobs that have no policy of their own.
    pub(crate) retry: RetryPolicy,
}

/// One scoring thread.
pub(crate) struct Desk {
    pub(crate) scorer: Box<dyn Scorer>,
    pub(crate) room: Arc<Room>,
    pub(crate) seat: Arc<Seat>,
    /// Calls in a row that failed before the scorer had read what it was given, and when the first of them had.
    pub(crate) unread: u32,
    pub(crate) unread_since: Instant,
}

/// What is to be done with a batch whose call failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// It is scored again as it is: the scorer had not read it.
    Again,
    /// Each of its companies is scored by itself.
    OneByOne,
    /// It is one company, and the failure its own.
    Charge,
    /// It goes back to its queue uncharged.
    GiveBack,
    /// The same, and this thread pauses until its scorer works.
    GiveBackAndPause,
}

impl Desk {
    /// Scores until there is no more to come, or until it took too long and was replaced.
    pub(crate) fn work(mut self) {
        while let Some(batch) = self.room.waiting.take(|| self.room.hold.batch(), self.room.desks) {
            let Some((batch, scores, took)) = self.score(batch) else { return };
            let passed_on = match scores {
                Ok(scores) => self.room.pass_on(batch, scores, took),
                Err(failed) => self.settle_failed(batch, failed, took),
            };
            if passed_on.is_err() {
                return;
            }
        }
    }

    /// The batch with its outcomes, or with why the call failed as a whole; nothing where it took too long.
    fn score(&mut self, mut batch: Vec<Taken>) -> Option<(Vec<Taken>, Scores, Duration)> {
        let records = batch.iter_mut().map(|taken| Company { record: std::mem::take(&mut taken.work.record) });
        let companies = Arc::new(records.collect::<Vec<_>>());
        self.room.metrics.batch_companies.observe(companies.len() as f64);
        let began = Instant::now();
        let call = self.room.hold.begin(companies.len());
        self.seat.sit_down(Seated { batch, companies: Arc::clone(&companies), call, until: began + self.room.patience });
        let scores = self.call(&companies);
        if let Ok(scores) = &scores {
            self.room.health.answered(&companies, scores);
            self.unread = 0;
        }
        drop(companies);
        let seated = self.seat.stand_up()?;
        self.room.hold.end(&seated.call, scores.is_ok());
        Some((seated.into_batch(), scores, began.elapsed()))
    }

    fn settle_failed(&mut self, batch: Vec<Taken>, failed: CallError, took: Duration) -> Result<(), Gone> {
        let room = Arc::clone(&self.room);
        let batch = self.seat.keep_failed(batch);
        let verdict = self.judge(&batch, &failed);
        drop(batch);
        let batch = self.seat.take_failed();
        if batch.is_empty() {
            return Ok(());
        }
        let CallError { error, .. } = failed;
        match verdict {
            Verdict::Charge => room.pass_on(batch, vec![Err(error)], took),
            Verdict::Again => room.add_again(batch),
            Verdict::OneByOne => {
                let companies = batch.len();
                tracing::warn!(fault = %error, companies, "the scorer failed on a batch; scoring its companies one by one");
                room.add_again(batch.into_iter().map(|taken| Taken { alone: true, ..taken }))
            }
            Verdict::GiveBack => room.give_back(batch),
            Verdict::GiveBackAndPause => {
                room.give_back(batch)?;
                self.pause(&error);
                Ok(())
            }
        }
    }

    /// Decides whether the companies or the scorer are at fault.
    fn judge(&mut self, batch: &[Taken], failed: &CallError) -> Verdict {
        let room = Arc::clone(&self.room);
        let theirs = if batch.len() == 1 { Verdict::Charge } else { Verdict::OneByOne };
        if failed.blame == Blame::Nobody || room.waiting.is_closed() {
            return Verdict::GiveBack;
        }
        let tries = match failed.blame {
            Blame::Scorer => {
                if self.unread == 0 {
                    self.unread_since = Instant::now();
                }
                self.unread += 1;
                if self.unread < TRIES {
                    return Verdict::Again;
                }
                self.unread = 0;
                1
            }
            Blame::Either if batch.len() == 1 => TRIES,
            Blame::Either => return theirs,
            // To say that it cannot score these is an answer.
            Blame::Companies | Blame::Nobody => {
                room.health.answered(&[], &[]);
                return theirs;
            }
        };
        if room.health.sample().is_some() {
            return if self.fails_on_sample(tries, batch) { Verdict::GiveBackAndPause } else { theirs };
        }
        // What has not ended yet may be the first answer.
        let is_awaited = |since| room.hold.has_call_since_before(since);
        match batch {
            [taken] if failed.blame == Blame::Either => {
                if room.health.failed_unproven(&taken.work, &failed.error, is_awaited) == Unproven::Charged {
                    return theirs;
                }
            }
            _ if is_awaited(self.unread_since) => {}
            _ => room.health.give_up(&format!("failed {TRIES} times"), &failed.error),
        }
        if room.health.given_up().is_some() {
            room.waiting.close();
        }
        Verdict::GiveBack
    }

    /// Whether the scorer fails, so often in a row, on a company that it has scored before; as far as the broker leaves time for that.
    fn fails_on_sample(&mut self, tries: u32, batch: &[Taken]) -> bool {
        let Some(sample) = self.room.health.sample() else { return false };
        let mut failed = 0;
        while failed < tries && batch.iter().all(|taken| taken.taken_at.elapsed() + self.room.patience < self.room.held_at_most) {
            if self.call(std::slice::from_ref(&sample)).is_ok() {
                return false;
            }
            failed += 1;
        }
        failed > 0
    }

    /// Takes no work until the scorer works for a company that it has scored before.
    fn pause(&mut self, error: &ScoreError) {
        let room = Arc::clone(&self.room);
        let _paused = room.health.pause(error);
        let mut pause = FIRST_PAUSE;
        while !room.waiting.closes_within(pause) {
            let Some(sample) = room.health.sample() else { return };
            match self.call(std::slice::from_ref(&sample)) {
                Ok(_) => return,
                Err(failed) => tracing::debug!(%failed, pause_ms = pause.as_millis(), "the scorer still fails"),
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn call(&mut self, companies: &[Company]) -> Scores {
        // A bug in a scorer is one company's failure, not the process's.
        let scores = catch_unwind(AssertUnwindSafe(|| self.scorer.score(companies)))
            .unwrap_or_else(|_| Err(fault("scorer_crashed", "the scorer panicked".to_owned()).into()))?;
        if scores.len() == companies.len() {
            return Ok(scores);
        }
        let message = format!("expected {} outcomes from the scorer, found {}", companies.len(), scores.len());
        Err(fault("invalid_answer", message).into())
    }
}

impl Room {
    /// Passes on what is to be done for each company of a batch that `took` so long.
    ///
    /// # Errors
    /// Where nobody listens any more.
    pub(crate) fn pass_on(
        &self,
        batch: Vec<Taken>,
        mut scores: Vec<Result<Prediction, ScoreError>>,
        took: Duration,
    ) -> Result<(), Gone> {
        let mut in_hand = InHand { waiting: &self.waiting, batch };
        scores.iter().flatten().for_each(|prediction| self.hold.answered(prediction.json.len()));
        self.features.check(&in_hand.batch, &mut scores);
        let duration = took / u32::try_from(in_hand.batch.len()).unwrap_or(u32::MAX).max(1);
        let scored_at = Timestamp::now();
        let settled = in_hand.batch.iter().zip(scores).map(|(taken, score)| {
            self.metrics.attempts.inc();
            self.metrics.score_duration.observe(duration.as_secs_f64());
            settle(&taken.work, score, &self.retry)
        });
        let settled: Vec<Settle> = settled.collect();
        let batch = std::mem::take(&mut in_hand.batch).into_iter().zip(settled);
        let scored = batch.map(|(taken, settle)| Scored { taken, settle, scored_at, duration });
        self.scored.send(scored.collect()).map_err(|_| Gone)
    }

    /// Lets companies wait to be scored again; gives them back if nothing is scored any more.
    fn add_again(&self, batch: impl IntoIterator<Item = Taken>) -> Result<(), Gone> {
        self.waiting.add(batch);
        if self.waiting.is_closed() { self.give_back(self.waiting.clear()) } else { Ok(()) }
    }

    /// Gives companies back to their queues, uncharged.
    fn give_back(&self, batch: Vec<Taken>) -> Result<(), Gone> {
        let scored_at = Timestamp::now();
        let back = |taken| Scored { taken, settle: Settle::GiveBack, scored_at, duration: Duration::ZERO };
        self.scored.send(batch.into_iter().map(back).collect()).map_err(|_| Gone)
    }
}

/// A batch on its way from the seat to the session, which waits to be scored again should its thread panic meanwhile.
struct InHand<'r> {
    waiting: &'r Waiting,
    batch: Vec<Taken>,
}

impl Drop for InHand<'_> {
    fn drop(&mut self) {
        self.waiting.add(std::mem::take(&mut self.batch).into_iter().map(|taken| Taken { alone: true, ..taken }));
    }
}

/// The session that would have answered has gone, and the process with it.
pub(crate) struct Gone;

pub(crate) fn fault(cause: &str, message: String) -> ScoreError {
    ScoreError { cause: cause.to_owned(), message, retryable: true }
}
