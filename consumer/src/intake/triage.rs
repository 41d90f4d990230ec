//! What becomes of a work item as it arrives: a pure decision, from the directives about its job and from its earlier deliveries.

use rollcall_shared::topology::DELIVERY_LIMIT;

use super::interruptions::InterruptedDeliveries;
use super::job_directives::JobDirectives;
use super::work_item::WorkItem;

/// After this many deliveries without an answer, a company is scored one at a time. After the first, the cause is most often that a consumer
/// was scaled in or killed, which says nothing about the company.
const QUARANTINE_AFTER: u32 = 2;

/// After this many deliveries, a message is republished as a new one, before the broker's own limit is reached.
const REPUBLISH_AFTER: u32 = DELIVERY_LIMIT as u32 / 2;

/// What becomes of a work item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Triage {
    /// It is scored.
    Score,
    /// It moves to the quarantine.
    Quarantine,
    /// It waits before it is dead-lettered: a consumer that held it may be alive, and about to say so.
    Recheck,
    /// It moves to the dead letters: consumers crash on it.
    DeadLetter,
    /// It is republished as a new message: the broker's limit is near, and consumers did not crash on it.
    Republish,
    /// It moves to the queue of its paused job.
    Pause,
    /// It is acknowledged unscored: its job has ended without it.
    Drop,
}

/// Decides about a work item that may be delivered `max_deliveries` times without an answer. A delivery does not count if its
/// consumer has reported that only the connection was lost. At least one that counts must be from the quarantine: from a work
/// queue, the company comes with others, and any of them may have caused the crash.
///
/// A company that is to be given up is triaged once more, after a delay and outside the quarantine: a consumer that lost its connection
/// can report that only once it has reconnected.
pub(crate) fn triage(item: &WorkItem, directives: &JobDirectives, max_deliveries: u32) -> Triage {
    let in_force = directives.of(&item.work.job);
    let interrupted = in_force.map_or_else(InterruptedDeliveries::default, |in_force| in_force.interruptions.of(&item.work));
    let crashes = item.deliveries.saturating_sub(interrupted.all);
    let crashed_alone = item.deliveries_alone.saturating_sub(interrupted.alone);
    let is_quarantined = item.isolation.is_quarantined();
    if in_force.is_some_and(|in_force| in_force.dropped_through.is_some_and(|round| item.work.round <= round)) {
        Triage::Drop
    } else if in_force.is_some_and(|in_force| in_force.paused) {
        Triage::Pause
    } else if crashes >= max_deliveries && crashed_alone > 0 {
        if is_quarantined { Triage::Recheck } else { Triage::DeadLetter }
    } else if crashes >= QUARANTINE_AFTER.min(max_deliveries) && !is_quarantined {
        Triage::Quarantine
    } else if item.deliveries_of_message >= REPUBLISH_AFTER {
        Triage::Republish
    } else {
        Triage::Score
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rollcall_shared::message::{ControlMessage, Directive, Interrupted};

    use super::*;
    use crate::intake::work_item::{Isolation, test_item};

    fn item(round: u32, deliveries: u32, quarantined: bool) -> WorkItem {
        let mut item = test_item(0, "");
        (item.work.round, item.work.deliveries) = (round, deliveries);
        let isolation = if quarantined { Isolation::Quarantined } else { Isolation::Batched };
        let deliveries_alone = if quarantined { deliveries.saturating_sub(1) } else { 0 };
        WorkItem { deliveries, deliveries_alone, isolation, ..item }
    }

    fn directives(sent: &[Directive]) -> JobDirectives {
        let mut directives = JobDirectives::default();
        for directive in sent {
            directives.apply(ControlMessage { job: "j".parse().unwrap(), directive: directive.clone() });
        }
        directives
    }

    #[test]
    fn a_dropped_job_is_scored_again_where_it_is_redriven_and_only_there() {
        let dropped = directives(&[Directive::Drop { round: 0 }]);
        assert_eq!(triage(&item(0, 0, false), &dropped, 5), Triage::Drop);
        assert_eq!(triage(&item(1, 0, false), &dropped, 5), Triage::Score);
        let paused = directives(&[Directive::Drop { round: 0 }, Directive::Pause]);
        assert_eq!(triage(&item(0, 0, false), &paused, 5), Triage::Drop);
        assert_eq!(triage(&item(1, 0, false), &paused, 5), Triage::Pause);
        let another_of_that_name = directives(&[Directive::Drop { round: 0 }, Directive::Pause, Directive::Forget]);
        assert_eq!(triage(&item(0, 0, false), &another_of_that_name, 5), Triage::Score);
        let resumed = directives(&[Directive::Pause, Directive::Resume]);
        assert_eq!(triage(&item(0, 0, false), &resumed, 5), Triage::Score);
    }

    proptest! {
        #[test]
        fn a_company_is_given_up_after_its_deliveries_and_only_where_the_last_was_by_itself(
            (deliveries, most, quarantined) in (0_u32..40, 1_u32..21, any::<bool>())
        ) {
            let item = item(0, deliveries, quarantined);
            let admitted = triage(&item, &JobDirectives::default(), most);
            prop_assert_eq!(admitted == Triage::Recheck, deliveries >= most && item.deliveries_alone > 0);
            let rechecked = WorkItem { isolation: Isolation::Batched, ..item.clone() };
            prop_assert_eq!(triage(&rechecked, &JobDirectives::default(), most) == Triage::DeadLetter, admitted == Triage::Recheck);
            if admitted == Triage::Score && deliveries >= QUARANTINE_AFTER.min(most) {
                prop_assert!(quarantined);
            }
        }

        #[test]
        fn deliveries_that_ended_with_a_connection_never_lead_to_isolation_or_giving_up(
            (deliveries, most, quarantined, times) in (0_u32..20, 1_u32..21, any::<bool>(), 0_u32..20)
        ) {
            let interrupted = |quarantined| {
                Directive::Interrupted(Interrupted { round: 0, attempt: 1, quarantined, indices: "0".parse().unwrap() })
            };
            let sent: Vec<Directive> = (0..times).map(|_| interrupted(quarantined)).collect();
            let item = item(0, deliveries + times, quarantined);
            let as_without = WorkItem { deliveries, deliveries_alone: item.deliveries_alone.saturating_sub(if quarantined { times } else { 0 }), ..item.clone() };
            prop_assert_eq!(triage(&item, &directives(&sent), most), triage(&as_without, &JobDirectives::default(), most));
        }

        #[test]
        fn of_all_that_was_ordered_the_highest_drop_and_the_last_of_pause_and_resume_hold(
            (sent, round, deliveries) in (prop::collection::vec(any_directive(), 0..12), 0_u32..4, 0_u32..8)
        ) {
            let is_drop = |sent: &Directive| matches!(sent, Directive::Drop { round: through } if round <= *through);
            let dropped = sent.iter().any(is_drop);
            let last = sent.iter().rev().find(|directive| !matches!(directive, Directive::Drop { .. }));
            let expected = match last {
                _ if dropped => Triage::Drop,
                Some(Directive::Pause) => Triage::Pause,
                _ => triage(&item(round, deliveries, false), &JobDirectives::default(), 5),
            };
            prop_assert_eq!(triage(&item(round, deliveries, false), &directives(&sent), 5), expected);
        }
    }

    fn any_directive() -> impl Strategy<Value = Directive> {
        prop_oneof![(0_u32..4).prop_map(|round| Directive::Drop { round }), Just(Directive::Pause), Just(Directive::Resume)]
    }
}
