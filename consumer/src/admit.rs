//! What becomes of a company as it arrives: a pure decision, from what is known of its job and of its earlier deliveries.

use std::collections::{HashMap, VecDeque};

use rollcall_shared::message::{ControlCommand, ControlMessage, Job};
use rollcall_shared::topology::DELIVERY_LIMIT;

use crate::intake::Taken;
use crate::interruptions::{Interruptions, Times};

/// A company delivered so often without an answer is scored one at a time from then on. The first time is most often a consumer
/// that was scaled in or killed, and says nothing of the company.
const SUSPECT_AFTER: u32 = 2;

/// What to do with a company.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Score it.
    Score,
    /// Move it to the queue of suspects.
    Isolate,
    /// Let it wait before it is given up: a consumer that held it may live, and be about to say so.
    Recheck,
    /// Send it to the dead queue: consumers die of it.
    GiveUp,
    /// Put it back as a new message: the broker is about to give it up, and consumers did not die of it.
    Renew,
    /// Move it to its job's queue of paused companies.
    SetAside,
    /// Forget it: its job has ended without it.
    Drop,
}

/// A message that the broker has delivered so often is put back as a new one, before its own limit is reached.
const RENEW_AFTER: u32 = DELIVERY_LIMIT as u32 / 2;

/// Decides about a company that may be delivered `max_deliveries` times without an answer. A delivery that ended with its connection does
/// not count. Nobody is given up for what a neighbour may have done: at least one of those times, it was scored by itself.
///
/// A company that is to be given up waits once more, outside of the quarantine, and is decided about when it comes back: a
/// consumer whose connection was lost says that it lives only when it is connected again.
pub(crate) fn admit(taken: &Taken, standing: &Standing, max_deliveries: u32) -> Admission {
    let orders = standing.of(&taken.work.job);
    let interrupted = orders.map_or_else(Times::default, |orders| orders.interruptions.of(&taken.work));
    let deaths = taken.deliveries.saturating_sub(interrupted.all);
    let deaths_alone = taken.deliveries_alone.saturating_sub(interrupted.alone);
    if orders.is_some_and(|orders| orders.dropped_through.is_some_and(|round| taken.work.round <= round)) {
        Admission::Drop
    } else if orders.is_some_and(|orders| orders.paused) {
        Admission::SetAside
    } else if deaths >= max_deliveries && deaths_alone > 0 {
        if taken.suspect { Admission::Recheck } else { Admission::GiveUp }
    } else if deaths >= SUSPECT_AFTER.min(max_deliveries) && !taken.suspect {
        Admission::Isolate
    } else if taken.earlier >= RENEW_AFTER {
        Admission::Renew
    } else {
        Admission::Score
    }
}

/// The orders that hold, by job.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    jobs: HashMap<Job, Orders>,
    /// Jobs with interrupted deliveries, the oldest first: nothing says when those are over.
    interrupted: VecDeque<Job>,
}

/// Jobs whose interrupted deliveries are remembered.
const MOST_INTERRUPTED: usize = 10_000;

/// What holds for one job.
#[derive(Debug, Default)]
struct Orders {
    /// Companies up to this round are not to be scored.
    dropped_through: Option<u32>,
    paused: bool,
    interruptions: Interruptions,
}

impl Standing {
    /// Takes in an order.
    pub(crate) fn hear(&mut self, control: ControlMessage) {
        if control.command == ControlCommand::Forget {
            self.jobs.remove(&control.job);
            return;
        }
        let ControlMessage { job, command } = control;
        let orders = self.jobs.entry(job.clone()).or_default();
        match command {
            ControlCommand::Drop { round } => orders.dropped_through = orders.dropped_through.max(Some(round)),
            ControlCommand::Pause => orders.paused = true,
            ControlCommand::Resume | ControlCommand::Forget => orders.paused = false,
            ControlCommand::Interrupted(interrupted) => {
                let is_first = orders.interruptions.is_empty();
                orders.interruptions.add(interrupted);
                if is_first {
                    self.interrupted.push_back(job);
                    self.forget_oldest_interrupted();
                }
            }
        }
    }

    fn forget_oldest_interrupted(&mut self) {
        while self.interrupted.len() > MOST_INTERRUPTED
            && let Some(oldest) = self.interrupted.pop_front()
        {
            if let Some(orders) = self.jobs.get_mut(&oldest) {
                orders.interruptions = Interruptions::default();
            }
        }
    }

    fn of(&self, job: &Job) -> Option<&Orders> {
        if self.jobs.is_empty() { None } else { self.jobs.get(job) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use proptest::prelude::*;
    use rollcall_shared::message::{Index, Interrupted, Priority, Work};

    use super::*;

    fn taken(round: u32, deliveries: u32, suspect: bool) -> Taken {
        let work = Work {
            job: "j".parse().unwrap(),
            index: Index(0),
            company_id: String::new(),
            attempt: 1,
            round,
            opening: None,
            priority: Priority::Normal,
            deliveries,
            deliveries_alone: 0,
            retry: None,
            traceparent: String::new(),
            record: Vec::new(),
        };
        Taken {
            work,
            tag: 1,
            session: 0,
            deliveries,
            deliveries_alone: if suspect { deliveries.saturating_sub(1) } else { 0 },
            earlier: 0,
            suspect,
            alone: suspect,
            taken_at: Instant::now(),
        }
    }

    fn standing(orders: &[ControlCommand]) -> Standing {
        let mut standing = Standing::default();
        for order in orders {
            standing.hear(ControlMessage { job: "j".parse().unwrap(), command: order.clone() });
        }
        standing
    }

    #[test]
    fn a_dropped_job_is_scored_again_where_it_is_redriven_and_only_there() {
        let dropped = standing(&[ControlCommand::Drop { round: 0 }]);
        assert_eq!(admit(&taken(0, 0, false), &dropped, 5), Admission::Drop);
        assert_eq!(admit(&taken(1, 0, false), &dropped, 5), Admission::Score);
        let paused = standing(&[ControlCommand::Drop { round: 0 }, ControlCommand::Pause]);
        assert_eq!(admit(&taken(0, 0, false), &paused, 5), Admission::Drop);
        assert_eq!(admit(&taken(1, 0, false), &paused, 5), Admission::SetAside);
        let another_of_that_name = standing(&[ControlCommand::Drop { round: 0 }, ControlCommand::Pause, ControlCommand::Forget]);
        assert_eq!(admit(&taken(0, 0, false), &another_of_that_name, 5), Admission::Score);
        let resumed = standing(&[ControlCommand::Pause, ControlCommand::Resume]);
        assert_eq!(admit(&taken(0, 0, false), &resumed, 5), Admission::Score);
    }

    proptest! {
        #[test]
        fn a_company_is_given_up_after_its_deliveries_and_only_where_the_last_was_by_itself(
            (deliveries, most, suspect) in (0_u32..40, 1_u32..21, any::<bool>())
        ) {
            let taken = taken(0, deliveries, suspect);
            let admitted = admit(&taken, &Standing::default(), most);
            prop_assert_eq!(admitted == Admission::Recheck, deliveries >= most && taken.deliveries_alone > 0);
            let rechecked = Taken { suspect: false, ..taken.clone() };
            prop_assert_eq!(admit(&rechecked, &Standing::default(), most) == Admission::GiveUp, admitted == Admission::Recheck);
            if admitted == Admission::Score && deliveries >= SUSPECT_AFTER.min(most) {
                prop_assert!(suspect);
            }
        }

        #[test]
        fn deliveries_that_ended_with_a_connection_never_lead_to_isolation_or_giving_up(
            (deliveries, most, suspect, times) in (0_u32..20, 1_u32..21, any::<bool>(), 0_u32..20)
        ) {
            let interrupted = |quarantined| {
                ControlCommand::Interrupted(Interrupted { round: 0, attempt: 1, quarantined, indices: "0".parse().unwrap() })
            };
            let orders: Vec<ControlCommand> = (0..times).map(|_| interrupted(suspect)).collect();
            let taken = taken(0, deliveries + times, suspect);
            let as_without = Taken { deliveries, deliveries_alone: taken.deliveries_alone.saturating_sub(if suspect { times } else { 0 }), ..taken.clone() };
            prop_assert_eq!(admit(&taken, &standing(&orders), most), admit(&as_without, &Standing::default(), most));
        }

        #[test]
        fn of_all_that_was_ordered_the_highest_drop_and_the_last_of_pause_and_resume_hold(
            (orders, round, deliveries) in (prop::collection::vec(any_order(), 0..12), 0_u32..4, 0_u32..8)
        ) {
            let dropped = orders.iter().any(|order| matches!(order, ControlCommand::Drop { round: through } if round <= *through));
            let last = orders.iter().rev().find(|order| !matches!(order, ControlCommand::Drop { .. }));
            let expected = match last {
                _ if dropped => Admission::Drop,
                Some(ControlCommand::Pause) => Admission::SetAside,
                _ => admit(&taken(round, deliveries, false), &Standing::default(), 5),
            };
            prop_assert_eq!(admit(&taken(round, deliveries, false), &standing(&orders), 5), expected);
        }
    }

    fn any_order() -> impl Strategy<Value = ControlCommand> {
        prop_oneof![
            (0_u32..4).prop_map(|round| ControlCommand::Drop { round }),
            Just(ControlCommand::Pause),
            Just(ControlCommand::Resume)
        ]
    }
}
