//! What a session leaves to the next one when its connection is lost.

use std::collections::BTreeMap;

use rollcall_shared::message::{ControlMessage, Directive, Indices, Interrupted, Job, Message};

use crate::intake::work_item::AttemptId;
use crate::results::disposition::DecidedItem;
use crate::results::ticket::PublishTicket;
use crate::results::unconfirmed::UnconfirmedAttempts;

/// What a session leaves to the next one.
#[derive(Default)]
pub(crate) struct Handover {
    pub(super) unconfirmed: UnconfirmedAttempts,
    /// Items whose disposition no session has carried out yet.
    pub(super) decided: Vec<DecidedItem>,
    /// Results that were published and not confirmed.
    pub(super) results: Vec<(PublishTicket, Message)>,
    /// Deliveries that ended with the connection, by job, round, attempt, and whether from the quarantine.
    pub(super) interrupted: BTreeMap<(Job, u32, u32, bool), Indices>,
}

impl Handover {
    /// Notes that a delivery ended with the connection.
    pub(super) fn interrupt(&mut self, attempt: &AttemptId, quarantined: bool) {
        let AttemptId { job, index, round, attempt, .. } = attempt;
        let indices = self.interrupted.entry((job.clone(), *round, *attempt, quarantined)).or_default();
        indices.0.insert(index.0);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.unconfirmed.is_empty() && self.decided.is_empty() && self.results.is_empty() && self.interrupted.is_empty()
    }

    /// The control messages that tell every consumer which deliveries ended with the connection.
    pub(super) fn interruptions(&self) -> Vec<ControlMessage> {
        let control = |((job, round, attempt, quarantined), indices): (&(Job, u32, u32, bool), &Indices)| ControlMessage {
            job: job.clone(),
            directive: Directive::Interrupted(Interrupted {
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
    use crate::intake::work_item::test_item;

    fn attempt(index: u32) -> AttemptId {
        AttemptId::of(&test_item(index, "").work)
    }

    #[test]
    fn interruptions_are_told_by_job_round_and_attempt() {
        let mut handover = Handover::default();
        for index in [4, 5, 6, 5] {
            handover.interrupt(&attempt(index), false);
        }
        handover.interrupt(&attempt(5), true);
        let told = handover.interruptions().into_iter().map(|control| match control.directive {
            Directive::Interrupted(Interrupted { quarantined, indices, .. }) => (quarantined, indices.to_string()),
            other => panic!("{other:?}"),
        });
        assert_eq!(told.collect::<Vec<_>>(), [(false, "4-6".to_owned()), (true, "5".to_owned())]);
    }
}
