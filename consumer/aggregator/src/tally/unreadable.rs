//! Records that nobody can read: their headers, with those that the broker adds, do not fit in a frame, and the connection ends over them.
//! Whoever may publish results can put one into the ledger, and it must not stop the count.

use rollcall_shared::broker::BrokerError;

use crate::ledger::Ledger;

/// What is known of such a record, from one session to the next.
#[derive(Debug, Default)]
pub(crate) enum Unreadable {
    /// There is none.
    #[default]
    None,
    /// One is among the next records: they are read one at a time, from where this state ends.
    Ahead(Box<Ledger>),
    /// It is the next one.
    Next(Box<Ledger>),
}

impl Unreadable {
    /// The state to go on with, which is the `checkpoint` or one further on; without the record that cannot be read.
    pub(super) fn go_on(&mut self, checkpoint: Ledger) -> Ledger {
        let (known, is_next) = match std::mem::take(self) {
            Unreadable::None => return checkpoint,
            Unreadable::Ahead(known) => (known, false),
            Unreadable::Next(known) => (known, true),
        };
        // Another aggregator may have counted meanwhile.
        let mut ledger = if known.next_offset() >= checkpoint.next_offset() { *known } else { checkpoint };
        if is_next {
            let offset = ledger.next_offset();
            ledger.pass_over();
            tracing::error!(
                event = "record_unreadable",
                offset,
                "a record of the ledger has headers that do not fit in a frame, and is not counted; whoever published it may publish results"
            );
        } else {
            *self = Unreadable::Ahead(Box::default());
        }
        ledger
    }

    /// Whether records are to be read one at a time.
    pub(super) fn is_ahead(&self) -> bool {
        matches!(self, Unreadable::Ahead(_))
    }

    /// The records up to now have been read.
    pub(super) fn passed(&mut self) {
        *self = Unreadable::None;
    }

    /// A session has `ended` with this error, having counted up to `ledger`.
    pub(super) fn note(&mut self, error: &BrokerError, ledger: Ledger) {
        if !matches!(error, BrokerError::Unreadable(_)) {
            return;
        }
        *self = if self.is_ahead() { Unreadable::Next(Box::new(ledger)) } else { Unreadable::Ahead(Box::new(ledger)) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Record;

    fn up_to(offset: u64) -> Ledger {
        let mut ledger = Ledger::default();
        (0..offset).for_each(|offset| drop(ledger.apply(offset, None, Record::Nothing)));
        ledger
    }

    fn too_large() -> BrokerError {
        BrokerError::Unreadable("frame too large: 131094 bytes".to_owned())
    }

    #[test]
    fn the_record_that_ends_two_sessions_is_found_one_by_one_and_passed_over_once() {
        let mut unreadable = Unreadable::default();
        assert_eq!(unreadable.go_on(up_to(3)).next_offset(), 3);
        unreadable.note(&too_large(), up_to(5));
        assert!(unreadable.is_ahead());
        assert_eq!(unreadable.go_on(up_to(3)).next_offset(), 5, "the checkpoint is older");
        assert!(unreadable.is_ahead(), "read one at a time");
        unreadable.note(&too_large(), up_to(9));
        let passed = unreadable.go_on(up_to(3));
        assert_eq!(
            (passed.next_offset(), passed.last_record()),
            (10, None),
            "without the one at 9, by which no ledger can be known again"
        );
        assert!(!unreadable.is_ahead());
    }

    #[test]
    fn another_aggregator_that_has_counted_on_is_believed_and_another_error_is_not_taken_for_it() {
        let mut unreadable = Unreadable::default();
        unreadable.note(&BrokerError::Lost("reset".to_owned()), up_to(5));
        assert!(!unreadable.is_ahead());
        unreadable.note(&too_large(), up_to(5));
        assert_eq!(unreadable.go_on(up_to(20)).next_offset(), 20);
        unreadable.passed();
        assert_eq!(unreadable.go_on(up_to(3)).next_offset(), 3);
    }
}
