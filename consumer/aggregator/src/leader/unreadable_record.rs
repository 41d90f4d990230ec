//! Skips a record that no client can read: its headers, with those that the broker adds, do not fit in a frame, and the connection ends
//! when it is delivered. Any process that may publish results can put one into the ledger, and it must not stop the count.
//!
//! A first session that ends so shows that such a record is among the next ones. A second session reads one record at a time, and shows
//! which it is. A third one skips it.

use rollcall_shared::broker::BrokerError;

use crate::jobs::Jobs;

/// What is known of such a record, from one session to the next.
#[derive(Debug, Default)]
pub(crate) enum UnreadableRecord {
    /// There is none.
    #[default]
    None,
    /// It is among the next records, which are read one at a time, beginning with this state.
    Ahead(Box<Jobs>),
    /// It is the record that follows this state.
    Next(Box<Jobs>),
}

impl UnreadableRecord {
    /// The state to continue with: the checkpoint, or the known one if that is further on. Skips the record if it is the next one.
    pub(super) fn continue_from(&mut self, checkpoint: Jobs) -> Jobs {
        match std::mem::take(self) {
            UnreadableRecord::None => checkpoint,
            UnreadableRecord::Ahead(known) => {
                *self = UnreadableRecord::Ahead(Box::default());
                if known.next_offset() >= checkpoint.next_offset() { *known } else { checkpoint }
            }
            // Another aggregator has skipped the record meanwhile: the next one is another.
            UnreadableRecord::Next(known) if known.next_offset() < checkpoint.next_offset() => checkpoint,
            UnreadableRecord::Next(mut known) => {
                let offset = known.next_offset();
                known.skip_record();
                tracing::error!(
                    event = "record_unreadable",
                    offset,
                    "a record of the ledger has headers that do not fit in a frame, and is not counted; its publisher may publish results"
                );
                *known
            }
        }
    }

    /// Whether records must be read one at a time.
    pub(super) fn is_ahead(&self) -> bool {
        matches!(self, UnreadableRecord::Ahead(_))
    }

    /// Notes that the records up to now were read, and none of them is unreadable.
    pub(super) fn passed(&mut self) {
        *self = UnreadableRecord::None;
    }

    /// Notes with which error a session ended, and the state that it had reached.
    pub(super) fn note(&mut self, error: &BrokerError, jobs: Jobs) {
        if !matches!(error, BrokerError::Unreadable(_)) {
            return;
        }
        let jobs = Box::new(jobs);
        *self = if self.is_ahead() { UnreadableRecord::Next(jobs) } else { UnreadableRecord::Ahead(jobs) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::Record;

    fn up_to(offset: u64) -> Jobs {
        let mut jobs = Jobs::default();
        (0..offset).for_each(|offset| drop(jobs.apply(offset, None, Record::Other)));
        jobs
    }

    fn too_large() -> BrokerError {
        BrokerError::Unreadable("frame too large: 131094 bytes".to_owned())
    }

    #[test]
    fn the_record_that_ends_two_sessions_is_found_one_by_one_and_passed_over_once() {
        let mut unreadable = UnreadableRecord::default();
        assert_eq!(unreadable.continue_from(up_to(3)).next_offset(), 3);
        unreadable.note(&too_large(), up_to(5));
        assert!(unreadable.is_ahead());
        assert_eq!(unreadable.continue_from(up_to(3)).next_offset(), 5, "the checkpoint is older");
        assert!(unreadable.is_ahead(), "read one at a time");
        unreadable.note(&too_large(), up_to(9));
        let passed = unreadable.continue_from(up_to(3));
        assert_eq!(
            (passed.next_offset(), passed.last_record()),
            (10, None),
            "without the one at 9, by which no ledger can be recognized"
        );
        assert!(!unreadable.is_ahead());
    }

    #[test]
    fn a_record_that_another_aggregator_has_skipped_meanwhile_costs_no_other_record() {
        for (checkpoint, next) in [(9, 10), (10, 10), (12, 12)] {
            let mut unreadable = UnreadableRecord::Next(Box::new(up_to(9)));
            assert_eq!(unreadable.continue_from(up_to(checkpoint)).next_offset(), next, "the checkpoint is at {checkpoint}");
            assert!(matches!(unreadable, UnreadableRecord::None));
        }
    }

    #[test]
    fn another_aggregator_that_has_counted_on_is_believed_and_another_error_is_not_taken_for_it() {
        let mut unreadable = UnreadableRecord::default();
        unreadable.note(&BrokerError::Lost("reset".to_owned()), up_to(5));
        assert!(!unreadable.is_ahead());
        unreadable.note(&too_large(), up_to(5));
        assert_eq!(unreadable.continue_from(up_to(20)).next_offset(), 20);
        unreadable.passed();
        assert_eq!(unreadable.continue_from(up_to(3)).next_offset(), 3);
    }
}
