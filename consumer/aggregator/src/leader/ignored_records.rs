//! Reports records that are not counted. Any process may publish any number of them: a metric counts each, and the log has a line now and
//! then.

use std::time::{Duration, Instant};

use rollcall_shared::message::Job;
use rollcall_shared::telemetry::AggregatorMetrics;

use crate::jobs::Ignored;

/// Between two lines of log.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// When the last line was logged, and how many records were ignored since.
#[derive(Debug, Default)]
pub(super) struct IgnoredRecords {
    logged_at: Option<Instant>,
    unlogged: u64,
}

impl IgnoredRecords {
    /// Reports that the record at `offset`, about `job`, is not counted.
    pub(super) fn note(&mut self, metrics: &AggregatorMetrics, offset: u64, job: &Job, why: Ignored) {
        metrics.ignored.with_label_values(&[why.code()]).inc();
        if self.logged_at.is_some_and(|logged_at| logged_at.elapsed() < LOG_EVERY) {
            self.unlogged += 1;
            return;
        }
        let others = std::mem::take(&mut self.unlogged);
        self.logged_at = Some(Instant::now());
        tracing::warn!(event = "record_ignored", %job, offset, why = why.code(), others, "expected records of open jobs, found {why}; it is not counted");
    }
}
