//! A company taken from the broker, with what is needed to settle it.

use std::time::Instant;

use rollcall_shared::message::{Index, Job, Opening, ResultHeaders, Work};

/// A company taken from the broker, with what is needed to settle it.
#[derive(Debug, Clone)]
pub(crate) struct WorkItem {
    pub(crate) work: Work,
    /// The delivery tag on the session's channel.
    pub(crate) tag: u64,
    /// The session that took it: on the channel of another, the tag means nothing.
    pub(crate) session: u64,
    /// How often it was delivered before without an answer, in this message and in earlier ones of this attempt.
    pub(crate) deliveries: u32,
    /// How many of those deliveries came from the quarantine: it was in a call of its own, so a crash is most likely its own.
    pub(crate) deliveries_alone: u32,
    /// How many of those deliveries were of this message: the broker's own delivery limit counts these.
    pub(crate) deliveries_of_message: u32,
    pub(crate) isolation: Isolation,
    pub(crate) taken_at: Instant,
}

/// How a work item is kept apart from others while it is scored. It only becomes stricter while a consumer has the item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Isolation {
    /// It came from a work queue, and may be scored in a batch with others.
    Batched,
    /// It came from a work queue, was in a batch that failed, and is scored in a call of its own. Other items are in flight beside it.
    Alone,
    /// It came from the quarantine, one at a time, and is scored in a call of its own. It goes back to the quarantine, and is acknowledged
    /// as soon as its result is confirmed, since the next one is delivered only then.
    Quarantined,
}

impl Isolation {
    /// Whether it came from the quarantine.
    pub(crate) fn is_quarantined(self) -> bool {
        self == Isolation::Quarantined
    }
}

impl WorkItem {
    /// The same item, to be scored in a call of its own.
    pub(crate) fn alone(self) -> WorkItem {
        let isolation = if self.isolation == Isolation::Batched { Isolation::Alone } else { self.isolation };
        WorkItem { isolation, ..self }
    }
}

/// One attempt at one company: equal for every copy of its message.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct AttemptId {
    pub(crate) job: Job,
    pub(crate) index: Index,
    pub(crate) round: u32,
    pub(crate) attempt: u32,
    /// Tells jobs of the same name apart.
    pub(crate) opening: Option<Opening>,
}

impl AttemptId {
    /// The attempt that a work message is about.
    pub(crate) fn of(work: &Work) -> AttemptId {
        let Work { job, index, round, attempt, opening, .. } = work;
        AttemptId { job: job.clone(), index: *index, round: *round, attempt: *attempt, opening: *opening }
    }
}

impl From<ResultHeaders> for AttemptId {
    fn from(ResultHeaders { job, index, round, attempt, opening, .. }: ResultHeaders) -> AttemptId {
        AttemptId { job, index, round, attempt, opening }
    }
}

/// A company of normal priority that has just been taken.
#[cfg(test)]
pub(crate) fn test_item(index: u32, record: &str) -> WorkItem {
    let work = Work {
        job: "j".parse().unwrap(),
        index: Index(index),
        company_id: String::new(),
        attempt: 1,
        round: 0,
        opening: None,
        priority: rollcall_shared::message::Priority::Normal,
        deliveries: 0,
        deliveries_alone: 0,
        retry: None,
        traceparent: String::new(),
        record: record.as_bytes().to_vec(),
    };
    let (tag, taken_at) = (index.into(), Instant::now());
    let isolation = Isolation::Batched;
    WorkItem { work, tag, session: 0, deliveries: 0, deliveries_alone: 0, deliveries_of_message: 0, isolation, taken_at }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_that_is_to_be_scored_alone_still_goes_back_to_the_quarantine_if_it_came_from_there() {
        let alone = |isolation| WorkItem { isolation, ..test_item(0, "") }.alone().isolation;
        assert_eq!(alone(Isolation::Batched), Isolation::Alone);
        assert_eq!(alone(Isolation::Alone), Isolation::Alone);
        assert_eq!(alone(Isolation::Quarantined), Isolation::Quarantined);
    }
}
