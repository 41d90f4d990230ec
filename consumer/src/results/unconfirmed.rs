//! Attempts of earlier sessions whose results were not known to be confirmed when their connection was lost.
//!
//! The broker delivers such a company again, to this consumer or to another. If it comes back here, it is not scored twice: the new delivery
//! is kept, and acknowledged when the result is confirmed.

use std::collections::HashMap;

use crate::intake::work_item::{AttemptId, WorkItem};

/// The attempts of earlier sessions.
#[derive(Debug, Default)]
pub(crate) struct UnconfirmedAttempts {
    attempts: HashMap<AttemptId, Progress>,
}

#[derive(Debug)]
enum Progress {
    /// Its result is not confirmed yet, and the broker has not delivered it to this session.
    Unconfirmed,
    /// Its result is not confirmed yet, and this is its delivery in this session.
    Redelivered(Box<WorkItem>),
    /// Its result is confirmed.
    Confirmed,
}

/// What to do with a redelivered work item.
#[derive(Debug)]
pub(crate) enum Redelivery {
    /// Triage it: no earlier session left an attempt at it.
    Unknown(WorkItem),
    /// Nothing yet: its result is on its way, and the item is kept until then.
    Kept,
    /// Acknowledge it: its result is confirmed.
    Confirmed(WorkItem),
}

impl UnconfirmedAttempts {
    /// Adds an attempt whose result is not confirmed.
    pub(crate) fn insert(&mut self, attempt: AttemptId) {
        self.attempts.insert(attempt, Progress::Unconfirmed);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.attempts.is_empty()
    }

    /// Matches a work item with the attempts. Only one that was delivered before can be among them.
    pub(crate) fn match_redelivery(&mut self, item: WorkItem) -> Redelivery {
        if self.attempts.is_empty() {
            return Redelivery::Unknown(item);
        }
        match self.attempts.get_mut(&AttemptId::of(&item.work)) {
            Some(progress @ Progress::Unconfirmed) => {
                *progress = Progress::Redelivered(Box::new(item));
                Redelivery::Kept
            }
            Some(Progress::Confirmed) => Redelivery::Confirmed(item),
            Some(Progress::Redelivered(_)) | None => Redelivery::Unknown(item),
        }
    }

    /// Removes an attempt, and returns its delivery in this session, if there is one.
    pub(crate) fn remove(&mut self, attempt: &AttemptId) -> Option<WorkItem> {
        match self.attempts.remove(attempt) {
            Some(Progress::Redelivered(item)) => Some(*item),
            _ => None,
        }
    }

    /// Notes that the result of an attempt is confirmed, and returns its delivery in this session, if there is one.
    pub(crate) fn confirm(&mut self, attempt: AttemptId) -> Option<WorkItem> {
        match self.attempts.insert(attempt, Progress::Confirmed) {
            Some(Progress::Redelivered(item)) => Some(*item),
            _ => None,
        }
    }

    /// Removes all attempts, and returns the deliveries in this session of those without a confirmed result.
    pub(crate) fn drain_redelivered(&mut self) -> Vec<WorkItem> {
        let redelivered = |progress| match progress {
            Progress::Redelivered(item) => Some(*item),
            _ => None,
        };
        std::mem::take(&mut self.attempts).into_values().filter_map(redelivered).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::work_item::test_item;

    fn attempt(index: u32) -> AttemptId {
        AttemptId::of(&test_item(index, "").work)
    }

    #[test]
    fn what_is_in_hand_is_kept_when_it_comes_again_and_acknowledged_once_it_is_answered() {
        let mut unconfirmed = UnconfirmedAttempts::default();
        [1, 2].into_iter().for_each(|index| unconfirmed.insert(attempt(index)));
        assert!(matches!(unconfirmed.match_redelivery(test_item(1, "")), Redelivery::Kept));
        // A second copy of the same company is another delivery, which must be answered for too.
        assert!(matches!(unconfirmed.match_redelivery(test_item(1, "")), Redelivery::Unknown(_)));
        assert!(matches!(unconfirmed.match_redelivery(test_item(3, "")), Redelivery::Unknown(_)));
        assert_eq!(unconfirmed.confirm(attempt(1)).unwrap().tag, 1);
        assert!(unconfirmed.confirm(attempt(2)).is_none());
        assert!(matches!(unconfirmed.match_redelivery(test_item(2, "")), Redelivery::Confirmed(_)));
    }

    #[test]
    fn another_attempt_or_round_is_another_delivery() {
        let mut unconfirmed = UnconfirmedAttempts::default();
        unconfirmed.insert(attempt(1));
        for (round, attempt) in [(0, 2), (1, 1)] {
            let mut item = test_item(1, "");
            (item.work.round, item.work.attempt) = (round, attempt);
            assert!(matches!(unconfirmed.match_redelivery(item), Redelivery::Unknown(_)));
        }
    }
}
