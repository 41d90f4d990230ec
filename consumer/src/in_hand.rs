//! What a consumer has in hand when its connection is lost, and answers for over its next one.
//!
//! The broker delivers it again, to this consumer or to another. What comes back here is not scored twice: the new delivery is
//! acknowledged with the result that is on its way.

use std::collections::{BTreeMap, HashMap};

use rollcall_shared::message::{
    ControlCommand, ControlMessage, Index, Indices, Interrupted, Job, Message, Opening, ResultHeaders, Work,
};

use crate::answer::Answered;
use crate::batch::Scored;
use crate::intake::Taken;

/// One attempt at one company: the same in every copy of its message.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct AttemptId {
    job: Job,
    index: Index,
    round: u32,
    attempt: u32,
    /// Another job may have the same name.
    opening: Option<Opening>,
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

/// The companies in hand of earlier sessions.
#[derive(Debug, Default)]
pub(crate) struct InHand {
    attempts: HashMap<AttemptId, Progress>,
}

#[derive(Debug)]
enum Progress {
    /// Its result is not confirmed yet, and the broker has not delivered it to this session.
    Unanswered,
    /// The same, but the broker has delivered it to this session.
    Redelivered(Box<Taken>),
    /// Its result is confirmed.
    Answered,
}

/// What to do with a company that the broker has delivered.
#[derive(Debug)]
pub(crate) enum Redelivery {
    /// It is not in hand.
    Unknown(Taken),
    /// Nothing yet: its result is on its way.
    Kept,
    /// Acknowledge it: its result is confirmed.
    Answered(Taken),
}

impl InHand {
    /// Notes an attempt that is in hand.
    pub(crate) fn insert(&mut self, attempt: AttemptId) {
        self.attempts.insert(attempt, Progress::Unanswered);
    }

    /// Looks whether a delivered company is in hand. Only one that was delivered before can be.
    pub(crate) fn take_in(&mut self, taken: Taken) -> Redelivery {
        if self.attempts.is_empty() {
            return Redelivery::Unknown(taken);
        }
        match self.attempts.get_mut(&AttemptId::of(&taken.work)) {
            Some(progress @ Progress::Unanswered) => {
                *progress = Progress::Redelivered(Box::new(taken));
                Redelivery::Kept
            }
            Some(Progress::Answered) => Redelivery::Answered(taken),
            Some(Progress::Redelivered(_)) | None => Redelivery::Unknown(taken),
        }
    }

    /// Forgets an attempt, and returns its delivery in this session, if there is one.
    pub(crate) fn remove(&mut self, attempt: &AttemptId) -> Option<Taken> {
        match self.attempts.remove(attempt) {
            Some(Progress::Redelivered(taken)) => Some(*taken),
            _ => None,
        }
    }

    /// Notes that the result of an attempt is confirmed, and returns its delivery in this session, if there is one.
    pub(crate) fn answered(&mut self, attempt: AttemptId) -> Option<Taken> {
        match self.attempts.insert(attempt, Progress::Answered) {
            Some(Progress::Redelivered(taken)) => Some(*taken),
            _ => None,
        }
    }

    /// Takes out all deliveries in this session of what has no confirmed result.
    pub(crate) fn drain_redelivered(&mut self) -> Vec<Taken> {
        let redelivered = |progress| match progress {
            Progress::Redelivered(taken) => Some(*taken),
            _ => None,
        };
        std::mem::take(&mut self.attempts).into_values().filter_map(redelivered).collect()
    }
}

/// What one session leaves to the next.
#[derive(Default)]
pub(crate) struct Carried {
    pub(crate) in_hand: InHand,
    /// Outcomes that no session has seen yet.
    pub(crate) scored: Vec<Scored>,
    /// Results that were published and not confirmed.
    pub(crate) results: Vec<(Answered, Message)>,
    /// Deliveries that ended with the connection, by job, round, attempt, and whether from the quarantine.
    pub(crate) interrupted: BTreeMap<(Job, u32, u32, bool), Indices>,
}

impl Carried {
    /// Notes that a delivery ended with the connection.
    pub(crate) fn interrupt(&mut self, attempt: &AttemptId, quarantined: bool) {
        let AttemptId { job, index, round, attempt, .. } = attempt;
        let indices = self.interrupted.entry((job.clone(), *round, *attempt, quarantined)).or_default();
        indices.0.insert(index.0);
    }

    /// Whether there is nothing to answer for.
    pub(crate) fn is_empty(&self) -> bool {
        self.in_hand.attempts.is_empty() && self.scored.is_empty() && self.results.is_empty() && self.interrupted.is_empty()
    }

    /// What every consumer is to be told of the deliveries that ended with the connection.
    pub(crate) fn interruptions(&self) -> Vec<ControlMessage> {
        let control = |((job, round, attempt, quarantined), indices): (&(Job, u32, u32, bool), &Indices)| ControlMessage {
            job: job.clone(),
            command: ControlCommand::Interrupted(Interrupted {
                round: *round,
                attempt: *attempt,
                quarantined: *quarantined,
                indices: indices.clone(),
            }),
        };
        self.interrupted.iter().map(control).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::just_taken;

    fn attempt(index: u32) -> AttemptId {
        AttemptId::of(&just_taken(index, "").work)
    }

    #[test]
    fn what_is_in_hand_is_kept_when_it_comes_again_and_acknowledged_once_it_is_answered() {
        let mut in_hand = InHand::default();
        [1, 2].into_iter().for_each(|index| in_hand.insert(attempt(index)));
        assert!(matches!(in_hand.take_in(just_taken(1, "")), Redelivery::Kept));
        // A second copy of the same company is another delivery, which must be answered for too.
        assert!(matches!(in_hand.take_in(just_taken(1, "")), Redelivery::Unknown(_)));
        assert!(matches!(in_hand.take_in(just_taken(3, "")), Redelivery::Unknown(_)));
        assert_eq!(in_hand.answered(attempt(1)).unwrap().tag, 1);
        assert!(in_hand.answered(attempt(2)).is_none());
        assert!(matches!(in_hand.take_in(just_taken(2, "")), Redelivery::Answered(_)));
    }

    #[test]
    fn another_attempt_or_round_is_another_delivery() {
        let mut in_hand = InHand::default();
        in_hand.insert(attempt(1));
        for (round, attempt) in [(0, 2), (1, 1)] {
            let mut taken = just_taken(1, "");
            (taken.work.round, taken.work.attempt) = (round, attempt);
            assert!(matches!(in_hand.take_in(taken), Redelivery::Unknown(_)));
        }
    }

    #[test]
    fn interruptions_are_told_by_job_round_and_attempt() {
        let mut carried = Carried::default();
        for index in [4, 5, 6, 5] {
            carried.interrupt(&attempt(index), false);
        }
        carried.interrupt(&attempt(5), true);
        let told = carried.interruptions().into_iter().map(|control| match control.command {
            ControlCommand::Interrupted(Interrupted { quarantined, indices, .. }) => (quarantined, indices.to_string()),
            other => panic!("{other:?}"),
        });
        assert_eq!(told.collect::<Vec<_>>(), [(false, "4-6".to_owned()), (true, "5".to_owned())]);
    }
}
