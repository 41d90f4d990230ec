//! What all workers share, and how they pass a batch on: to the session, or back to the queue.

use std::sync::Arc;
use std::time::Duration;

use rollcall_score::{Prediction, ScoreError};
use rollcall_shared::message::{RetryPolicy, Timestamp};
use rollcall_shared::telemetry::ConsumerMetrics;
use tokio::sync::mpsc::UnboundedSender;

use super::features::Features;
use super::health::Health;
use super::hold::Hold;
use super::local_queue::LocalQueue;
use super::slot::Slots;
use crate::intake::work_item::WorkItem;
use crate::results::disposition::{DecidedItem, Disposition, disposition};

/// What all workers share.
pub(crate) struct WorkerContext {
    pub(crate) queue: LocalQueue,
    /// To the session.
    pub(crate) decided: UnboundedSender<Vec<DecidedItem>>,
    pub(crate) metrics: Arc<ConsumerMetrics>,
    pub(crate) features: Features,
    pub(crate) slots: Slots,
    /// Measures how fast companies are scored; says how many to score in one call.
    pub(crate) hold: Hold,
    /// Whether the scorer works at all.
    pub(crate) health: Arc<Health>,
    /// How many workers share the queue.
    pub(crate) workers: usize,
    /// How long a call may take before its worker is replaced.
    pub(crate) call_timeout: Duration,
    /// When the broker takes back what is held.
    pub(crate) consumer_timeout: Duration,
    /// For jobs that have no policy of their own.
    pub(crate) retry: RetryPolicy,
}

impl WorkerContext {
    /// Passes a scored batch to the session, each item with its disposition. `took` is the duration of the call.
    pub(crate) fn pass_on(
        &self,
        batch: Vec<WorkItem>,
        mut scores: Vec<Result<Prediction, ScoreError>>,
        took: Duration,
    ) -> Result<(), SessionGone> {
        let mut guard = BatchGuard { queue: &self.queue, batch };
        scores.iter().flatten().for_each(|prediction| self.hold.answered(prediction.json.as_str().len()));
        self.features.check(&guard.batch, &mut scores);
        let duration = took / u32::try_from(guard.batch.len()).unwrap_or(u32::MAX).max(1);
        let scored_at = Timestamp::now();
        let dispositions = guard.batch.iter().zip(scores).map(|(item, score)| {
            self.metrics.attempts.inc();
            self.metrics.score_duration.observe(duration.as_secs_f64());
            disposition(&item.work, score, &self.retry, scored_at, duration)
        });
        let dispositions: Vec<Disposition> = dispositions.collect();
        let batch = std::mem::take(&mut guard.batch).into_iter().zip(dispositions);
        let decided = batch.map(|(item, disposition)| DecidedItem { item, disposition });
        self.decided.send(decided.collect()).map_err(|_| SessionGone)
    }

    /// Puts items back into the queue; republishes them if it is closed.
    pub(super) fn add_again(&self, batch: impl IntoIterator<Item = WorkItem>) -> Result<(), SessionGone> {
        self.queue.add(batch);
        if self.queue.is_closed() { self.republish(self.queue.clear()) } else { Ok(()) }
    }

    /// Has the session republish items to their queues, uncharged.
    pub(super) fn republish(&self, batch: Vec<WorkItem>) -> Result<(), SessionGone> {
        let back = |item| DecidedItem { item, disposition: Disposition::Republish };
        self.decided.send(batch.into_iter().map(back).collect()).map_err(|_| SessionGone)
    }
}

/// A batch on its way to the session. If the thread panics meanwhile, its items are put back into the queue, to be scored alone.
struct BatchGuard<'q> {
    queue: &'q LocalQueue,
    batch: Vec<WorkItem>,
}

impl Drop for BatchGuard<'_> {
    fn drop(&mut self) {
        self.queue.add(std::mem::take(&mut self.batch).into_iter().map(WorkItem::alone));
    }
}

/// The receiver of decided items is gone: the process ends.
pub(crate) struct SessionGone;

/// A failure after which another attempt may succeed.
pub(super) fn retryable(cause: &str, message: String) -> ScoreError {
    ScoreError { cause: cause.to_owned(), message, retryable: true }
}
