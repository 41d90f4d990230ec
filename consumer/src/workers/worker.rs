//! A worker: a thread that takes batches from the queue, scores them, and decides what a failed call says about the scorer.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rollcall_score::{Blame, CallError, Company, ScoreError, Scorer, Scores};

use super::context::{SessionGone, WorkerContext, retryable};
use super::health::UnprovenFailure;
use super::slot::{RunningBatch, Slot};
use crate::intake::work_item::WorkItem;

/// After this many failures in a row, each with a new scorer process, the scorer is broken.
const BROKEN_AFTER: u32 = 3;

/// Between two trials of a scorer that worked before and is broken now.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// One scoring thread, with a scorer of its own.
pub(super) struct Worker {
    scorer: Box<dyn Scorer>,
    context: Arc<WorkerContext>,
    slot: Arc<Slot>,
    /// Calls in a row whose failure was the scorer's own ([`Blame::Scorer`]), and when the first of them failed.
    own_failures: u32,
    failing_since: Instant,
}

/// What happens to a batch whose call failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FailureResponse {
    /// It is scored again as it is: the failure was the scorer's own.
    ScoreAgain,
    /// Each of its companies is scored alone.
    ScoreAlone,
    /// It is one company, and is charged with the failure.
    Charge,
    /// It goes back to its queue on the broker, uncharged.
    Republish,
    /// The same, and this worker pauses until its scorer works.
    RepublishAndPause,
}

impl Worker {
    pub(super) fn new(scorer: Box<dyn Scorer>, context: Arc<WorkerContext>, slot: Arc<Slot>) -> Worker {
        Worker { scorer, context, slot, own_failures: 0, failing_since: Instant::now() }
    }

    /// Scores until the queue is closed, or until a call took too long and this worker was replaced.
    pub(super) fn run(mut self) {
        while let Some(batch) = self.context.queue.take(|| self.context.hold.batch(), self.context.workers) {
            let Some((batch, scores, took)) = self.score(batch) else { return };
            let passed_on = match scores {
                Ok(scores) => self.context.pass_on(batch, scores, took),
                Err(failed) => self.handle_failure(batch, failed, took),
            };
            if passed_on.is_err() {
                return;
            }
        }
    }

    /// Returns the batch with its outcomes, or with why the call failed as a whole; `None` if it took too long.
    fn score(&mut self, mut batch: Vec<WorkItem>) -> Option<(Vec<WorkItem>, Scores, Duration)> {
        let records = batch.iter_mut().map(|item| Company { record: std::mem::take(&mut item.work.record) });
        let companies = Arc::new(records.collect::<Vec<_>>());
        self.context.metrics.batch_companies.observe(companies.len() as f64);
        let began = Instant::now();
        let call = self.context.hold.begin(companies.len());
        let until = began + self.context.call_timeout;
        self.slot.begin(RunningBatch { batch, companies: Arc::clone(&companies), call, until });
        let scores = self.call(&companies);
        if let Ok(scores) = &scores {
            self.context.health.answered(&companies, scores);
            self.own_failures = 0;
        }
        drop(companies);
        let running = self.slot.take_running()?;
        self.context.hold.end(&running.call, scores.is_ok());
        Some((running.into_batch(), scores, began.elapsed()))
    }

    fn handle_failure(&mut self, batch: Vec<WorkItem>, failed: CallError, took: Duration) -> Result<(), SessionGone> {
        let context = Arc::clone(&self.context);
        let batch = self.slot.keep_failed(batch);
        let response = self.respond_to(&batch, &failed);
        drop(batch);
        let batch = self.slot.take_failed();
        if batch.is_empty() {
            return Ok(());
        }
        let CallError { error, .. } = failed;
        match response {
            FailureResponse::Charge => context.pass_on(batch, vec![Err(error)], took),
            FailureResponse::ScoreAgain => context.add_again(batch),
            FailureResponse::ScoreAlone => {
                let companies = batch.len();
                tracing::warn!(event = "batch_failed", fault = %error, companies, "the scorer failed on a batch; scoring its companies one by one");
                context.add_again(batch.into_iter().map(WorkItem::alone))
            }
            FailureResponse::Republish => context.republish(batch),
            FailureResponse::RepublishAndPause => {
                context.republish(batch)?;
                self.pause(&error);
                Ok(())
            }
        }
    }

    /// Decides whether the companies or the scorer caused the failure.
    fn respond_to(&mut self, batch: &[WorkItem], failed: &CallError) -> FailureResponse {
        let context = Arc::clone(&self.context);
        let by_companies = if batch.len() == 1 { FailureResponse::Charge } else { FailureResponse::ScoreAlone };
        if context.queue.is_closed() {
            return FailureResponse::Republish;
        }
        let tries = match failed.blame {
            Blame::None => return FailureResponse::Republish,
            Blame::Scorer => {
                if self.own_failures == 0 {
                    self.failing_since = Instant::now();
                }
                self.own_failures += 1;
                if self.own_failures < BROKEN_AFTER {
                    return FailureResponse::ScoreAgain;
                }
                self.own_failures = 0;
                1
            }
            Blame::Either if batch.len() == 1 => BROKEN_AFTER,
            Blame::Either => return by_companies,
            // The scorer works: it reported that it cannot score these companies.
            Blame::Companies => {
                context.health.answered(&[], &[]);
                return by_companies;
            }
        };
        if context.health.sample().is_some() {
            return if self.fails_on_sample(tries, batch) { FailureResponse::RepublishAndPause } else { by_companies };
        }
        // A call that is still running may bring the first answer.
        let is_awaited = |since| context.hold.has_call_since_before(since);
        match batch {
            [item] if failed.blame == Blame::Either => {
                if context.health.failed_unproven(&item.work, &failed.error, is_awaited) == UnprovenFailure::Charged {
                    return by_companies;
                }
            }
            _ if is_awaited(self.failing_since) => {}
            _ => context.health.give_up(&format!("failed {BROKEN_AFTER} times"), &failed.error),
        }
        if context.health.given_up().is_some() {
            context.queue.close();
        }
        FailureResponse::Republish
    }

    /// Whether the scorer fails, `tries` times in a row, on a company that it has scored before. Tries less often if the broker's consumer
    /// timeout leaves no time for that.
    fn fails_on_sample(&mut self, tries: u32, batch: &[WorkItem]) -> bool {
        let Some(sample) = self.context.health.sample() else { return false };
        let (call_timeout, consumer_timeout) = (self.context.call_timeout, self.context.consumer_timeout);
        let mut failed = 0;
        while failed < tries && batch.iter().all(|item| item.taken_at.elapsed() + call_timeout < consumer_timeout) {
            if self.call(std::slice::from_ref(&sample)).is_ok() {
                return false;
            }
            failed += 1;
        }
        failed > 0
    }

    /// Takes no work until the scorer scores a company that it has scored before.
    fn pause(&mut self, error: &ScoreError) {
        let context = Arc::clone(&self.context);
        let _paused = context.health.pause(error);
        let mut pause = FIRST_PAUSE;
        while !context.queue.closes_within(pause) {
            let Some(sample) = context.health.sample() else { return };
            match self.call(std::slice::from_ref(&sample)) {
                Ok(_) => return,
                Err(failed) => tracing::debug!(%failed, pause_ms = pause.as_millis(), "the scorer still fails"),
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn call(&mut self, companies: &[Company]) -> Scores {
        // A panic of a scorer fails one call, not the process.
        let scores = catch_unwind(AssertUnwindSafe(|| self.scorer.score(companies)))
            .unwrap_or_else(|_| Err(retryable("scorer_crashed", "the scorer panicked".to_owned()).into()))?;
        if scores.len() == companies.len() {
            return Ok(scores);
        }
        let message = format!("expected {} outcomes from the scorer, found {}", companies.len(), scores.len());
        Err(retryable("invalid_answer", message).into())
    }
}
