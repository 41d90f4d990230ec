//! The scoring threads: each takes a batch of what waits, scores it, and passes on an outcome for each company.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rollcall_shared::message::{ScoredCompany, timestamp};
use rollcall_shared::telemetry::ConsumerMetrics;
use tokio::sync::mpsc::UnboundedSender;

use crate::intake::Taken;
use crate::score::{Company, Prediction, ScoreError, Scorer, Scores};
use crate::waiting::Waiting;

/// A company with its outcome.
#[derive(Debug)]
pub(crate) struct Scored {
    pub(crate) taken: Taken,
    pub(crate) outcome: ScoredCompany,
    /// When, as RFC 3339 in UTC.
    pub(crate) scored_at: String,
    /// How long it took; within a batch, its share.
    pub(crate) duration: Duration,
}

/// One scoring thread.
pub(crate) struct Desk {
    pub(crate) scorer: Box<dyn Scorer>,
    pub(crate) waiting: Arc<Waiting>,
    pub(crate) scored: UnboundedSender<Scored>,
    pub(crate) metrics: Arc<ConsumerMetrics>,
    /// Companies scored in one call, at most.
    pub(crate) batch: usize,
    /// How many desks share what waits.
    pub(crate) desks: usize,
}

impl Desk {
    /// Scores until there is no more to come.
    pub(crate) fn work(mut self) {
        while let Some(batch) = self.waiting.take(self.batch, self.desks) {
            for scored in self.score(batch) {
                if self.scored.send(scored).is_err() {
                    return;
                }
            }
        }
    }

    fn score(&mut self, mut batch: Vec<Taken>) -> Vec<Scored> {
        let records = batch.iter_mut().map(|taken| Company { record: std::mem::take(&mut taken.work.record) });
        let companies: Vec<Company> = records.collect();
        self.metrics.batch_companies.observe(companies.len() as f64);
        let began = Instant::now();
        let outcomes = match self.call(&companies) {
            Ok(outcomes) => outcomes,
            Err(fault) if companies.len() == 1 || self.waiting.is_closed() => vec![Err(fault); companies.len()],
            Err(fault) => {
                tracing::warn!(%fault, companies = companies.len(), "the scorer failed on a batch; scoring its companies one by one");
                companies.iter().map(|company| self.alone(company)).collect()
            }
        };
        let duration = began.elapsed() / u32::try_from(batch.len()).unwrap_or(u32::MAX).max(1);
        let scored_at = timestamp(SystemTime::now());
        let scored = batch.into_iter().zip(outcomes).map(|(taken, outcome)| {
            self.metrics.attempts.inc();
            self.metrics.score_duration.observe(duration.as_secs_f64());
            Scored { taken, outcome: terminal(outcome), scored_at: scored_at.clone(), duration }
        });
        scored.collect()
    }

    fn alone(&mut self, company: &Company) -> Result<Prediction, ScoreError> {
        let nothing = || fault("invalid_answer", "the scorer gave no outcome".to_owned());
        self.call(std::slice::from_ref(company))?.pop().unwrap_or_else(|| Err(nothing()))
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

fn fault(cause: &str, message: String) -> ScoreError {
    ScoreError { cause: cause.to_owned(), message, retryable: true }
}

/// RabbitMQ 4.x closes the channel on a message over 16 MiB, and with it go the results of innocent neighbours.
const LARGEST_PREDICTION: usize = 8 << 20;
const LONGEST_MESSAGE: usize = 4 << 10;

fn terminal(outcome: Result<Prediction, ScoreError>) -> ScoredCompany {
    match outcome {
        Ok(prediction) if prediction.len() > LARGEST_PREDICTION => ScoredCompany::Error {
            cause: "prediction_too_large".to_owned(),
            message: format!("expected a prediction of at most {LARGEST_PREDICTION} bytes, found {}", prediction.len()),
        },
        Ok(prediction) => ScoredCompany::Prediction(prediction),
        Err(error) => ScoredCompany::Error {
            cause: normalised(&error.cause),
            message: error.message.chars().take(LONGEST_MESSAGE).collect(),
        },
    }
}

/// A cause as a short stable word: it is counted by, and travels in a header and a metric's label.
fn normalised(cause: &str) -> String {
    const LONGEST: usize = 64;
    let word = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
    let cause: String = cause.trim().chars().take(LONGEST).map(word).collect();
    if cause.is_empty() { "unknown".to_owned() } else { cause }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_becomes_a_short_stable_word() {
        assert_eq!(normalised(" Out of Memory "), "out_of_memory");
        assert_eq!(normalised(""), "unknown");
        assert_eq!(normalised(&"x".repeat(1_000)).len(), 64);
    }
}
