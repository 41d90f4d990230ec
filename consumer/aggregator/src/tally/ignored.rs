//! Tells of records that count for nothing. There may be as many as somebody likes to publish: each is counted by a metric, and
//! the log has a line now and then.

use std::time::{Duration, Instant};

use rollcall_shared::message::Job;
use rollcall_shared::telemetry::AggregatorMetrics;

use crate::ledger::Ignored;

/// Between two lines of log.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// When there was the last line, and what has come since.
#[derive(Debug, Default)]
pub(super) struct IgnoredRecords {
    told_at: Option<Instant>,
    untold: u64,
}

impl IgnoredRecords {
    /// The record at `offset`, about `job`, counts for nothing.
    pub(super) fn note(&mut self, metrics: &AggregatorMetrics, offset: u64, job: &Job, why: Ignored) {
        metrics.ignored.with_label_values(&[word(why)]).inc();
        if self.told_at.is_some_and(|told_at| told_at.elapsed() < TELL_EVERY) {
            self.untold += 1;
            return;
        }
        let others = std::mem::take(&mut self.untold);
        self.told_at = Some(Instant::now());
        let found = match why {
            Ignored::OtherOpening => "a record of another opening of this name: two producers were given the same --job",
            Ignored::NotOpened => "a record of a job that has not been opened",
            Ignored::Contradiction => "a record that cannot be true by what is counted of its job",
        };
        tracing::warn!(event = "record_ignored", %job, offset, why = word(why), others, "expected records of open jobs, found {found}; it is not counted");
    }
}

fn word(why: Ignored) -> &'static str {
    match why {
        Ignored::OtherOpening => "other_opening",
        Ignored::NotOpened => "not_opened",
        Ignored::Contradiction => "contradiction",
    }
}
