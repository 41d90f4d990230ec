//! Counting: applies the ledger's records to the jobs, one after another.

use std::collections::HashSet;
use std::time::Duration;

use rollcall_shared::broker::BrokerError;
use rollcall_shared::message::{Job, JobEvent};

use super::records::LedgerRecord;
use super::{Leader, believed_age};
use crate::jobs::{Applied, Record};

impl Leader<'_> {
    /// Counts records, and then acts on the jobs that they have changed.
    pub(super) async fn count_and_act(&mut self, records: Vec<LedgerRecord>) -> Result<(), BrokerError> {
        let read_at = self.advance_clock();
        let mut changed = HashSet::new();
        for record in records {
            changed.extend(self.count(record));
        }
        self.act_on(changed, read_at).await
    }

    /// Counts a record, and returns the job that it is about.
    pub(super) fn count(&mut self, read: LedgerRecord) -> Option<Job> {
        self.report_gap_before(read.offset);
        if read.is_malformed {
            self.metrics.malformed.inc();
        }
        if let Some(marker) = &read.marker {
            self.stalled_jobs.note_marker(marker);
            self.refused_done.note_marker(marker, &self.announcements);
        }
        self.metrics.ledger_lag.set(read.age_seconds);
        let finished_round = if let Record::Event(JobEvent::Done(done)) = &read.record { Some(done.redrives) } else { None };
        let age = if self.has_caught_up { Some(Duration::ZERO) } else { read.began_at.and_then(believed_age) };
        let applied = self.jobs.apply(read.offset, age, read.record);
        self.jobs.note_identity(read.offset, read.identity);
        let job = match applied {
            Applied::Nothing => return None,
            Applied::To(job) => job,
            Applied::Ignored(job, why) => {
                self.ignored_records.note(self.metrics, read.offset, &job, why);
                return None;
            }
        };
        if let Some(round) = finished_round {
            self.note_finished(&job, round);
        }
        if !self.changed.contains(&job) {
            self.changed.insert(job.clone());
        }
        Some(job)
    }

    fn report_gap_before(&self, offset: u64) {
        let missing = offset.saturating_sub(self.jobs.next_offset());
        // A stream uses one offset itself at the beginning of each segment. More than that is lost to retention.
        if missing > 1 {
            tracing::error!(
                event = "ledger_gap",
                missing,
                offset,
                "the ledger lacks records that were not counted: its retention may be shorter than its jobs"
            );
        }
    }

    /// The done event of a job's round has been read back from the ledger.
    fn note_finished(&mut self, job: &Job, round: u32) {
        if let Some(due_since) = self.announcements.note_done(job, round) {
            self.metrics.last_result_to_done.observe(due_since.elapsed().as_secs_f64());
            let state = self.jobs.get(job).map(|state| state.state().to_string());
            tracing::info!(event = "announced_done", %job, state, "announced done");
        }
    }
}
