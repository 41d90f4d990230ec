//! The scoring threads: each takes a batch of what waits, scores it, and passes on what is to be done for each company.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rollcall_shared::message::{RetryPolicy, timestamp};
use rollcall_shared::telemetry::ConsumerMetrics;
use tokio::sync::mpsc::UnboundedSender;

use crate::desks::{Seat, Seated};
use crate::features::Features;
use crate::hold::Hold;
use crate::intake::Taken;
use crate::score::{Company, Prediction, ScoreError, Scorer, Scores};
use crate::settle::{Settle, settle};
use crate::waiting::Waiting;

/// A company with what is to be done about it.
#[derive(Debug)]
pub(crate) struct Scored {
    pub(crate) taken: Taken,
    pub(crate) settle: Settle,
    /// When, as RFC 3339 in UTC.
    pub(crate) scored_at: Arc<str>,
    /// How long it took; within a batch, its share.
    pub(crate) duration: Duration,
}

/// What every scoring thread needs.
pub(crate) struct Room {
    pub(crate) waiting: Arc<Waiting>,
    pub(crate) scored: UnboundedSender<Vec<Scored>>,
    pub(crate) metrics: Arc<ConsumerMetrics>,
    pub(crate) features: Features,
    /// Measures how fast companies are scored; says how many to score in one call.
    pub(crate) hold: Arc<Hold>,
    /// How many threads share what waits.
    pub(crate) desks: usize,
    /// How long a call may take before its thread is given up.
    pub(crate) patience: Duration,
    /// What holds for jobs that have no policy of their own.
    pub(crate) retry: RetryPolicy,
}

/// One scoring thread.
pub(crate) struct Desk {
    pub(crate) scorer: Box<dyn Scorer>,
    pub(crate) room: Arc<Room>,
    pub(crate) seat: Arc<Seat>,
}

impl Desk {
    /// Scores until there is no more to come, or until it took too long and was replaced.
    pub(crate) fn work(mut self) {
        while let Some(batch) = self.room.waiting.take(|| self.room.hold.batch(), self.room.desks) {
            let Some((batch, scores, took)) = self.score(batch) else { return };
            match scores {
                Ok(scores) => {
                    if self.room.pass_on(batch, scores, took).is_err() {
                        return;
                    }
                }
                // Whose fault it was will show when each is scored by itself.
                Err(fault) => {
                    let companies = batch.len();
                    self.room.waiting.add(batch.into_iter().map(|taken| Taken { alone: true, ..taken }));
                    tracing::warn!(%fault, companies, "the scorer failed on a batch; scoring its companies one by one");
                }
            }
        }
    }

    /// The batch with its outcomes, or with a fault of the scorer's as a whole; nothing where it took too long.
    fn score(&mut self, mut batch: Vec<Taken>) -> Option<(Vec<Taken>, Scores, Duration)> {
        let records = batch.iter_mut().map(|taken| Company { record: std::mem::take(&mut taken.work.record) });
        let companies = Arc::new(records.collect::<Vec<_>>());
        self.room.metrics.batch_companies.observe(companies.len() as f64);
        let began = Instant::now();
        let call = self.room.hold.begin(companies.len());
        self.seat.sit_down(Seated { batch, companies: Arc::clone(&companies), call, until: began + self.room.patience });
        let scores = self.call(&companies);
        drop(companies);
        let seated = self.seat.stand_up()?;
        self.room.hold.end(&seated.call, scores.is_ok());
        let batch = seated.into_batch();
        let scores = match scores {
            // Alone, the fault is the company's; and who is leaving does not try again.
            Err(fault) if batch.len() == 1 || self.room.waiting.is_closed() => Ok(vec![Err(fault); batch.len()]),
            scores => scores,
        };
        Some((batch, scores, began.elapsed()))
    }

    fn call(&mut self, companies: &[Company]) -> Scores {
        // A bug in a scorer is one company's failure, not the process's.
        let scores = catch_unwind(AssertUnwindSafe(|| self.scorer.score(companies)))
            .unwrap_or_else(|_| Err(fault("scorer_crashed", "the scorer panicked".to_owned())))?;
        if scores.len() == companies.len() {
            return Ok(scores);
        }
        Err(fault("invalid_answer", format!("expected {} outcomes from the scorer, found {}", companies.len(), scores.len())))
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
        self.features.check(&in_hand.batch, &mut scores);
        let duration = took / u32::try_from(in_hand.batch.len()).unwrap_or(u32::MAX).max(1);
        let scored_at: Arc<str> = timestamp(SystemTime::now()).into();
        let settled = in_hand.batch.iter().zip(scores).map(|(taken, score)| {
            self.metrics.attempts.inc();
            self.metrics.score_duration.observe(duration.as_secs_f64());
            settle(&taken.work, score, &self.retry)
        });
        let settled: Vec<Settle> = settled.collect();
        let batch = std::mem::take(&mut in_hand.batch).into_iter().zip(settled);
        let scored = batch.map(|(taken, settle)| Scored { taken, settle, scored_at: Arc::clone(&scored_at), duration });
        self.scored.send(scored.collect()).map_err(|_| Gone)
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
