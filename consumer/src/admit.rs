//! What becomes of a company as it arrives: a pure decision, from what is known of its job and of its earlier deliveries.

use std::collections::HashMap;

use rollcall_shared::message::{Control, Job, Order};

use crate::intake::Taken;

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
    /// Send it to the dead queue: consumers die of it.
    GiveUp,
    /// Move it to its job's queue of paused companies.
    SetAside,
    /// Forget it: its job has ended without it.
    Drop,
}

/// Decides about a company that may be delivered `max_deliveries` times without an answer. Nobody is given up for what a neighbour
/// may have done: the last of those times, it was scored by itself.
pub(crate) fn admit(taken: &Taken, standing: &Standing, max_deliveries: u32) -> Admission {
    let orders = standing.of(&taken.work.job);
    if orders.dropped_through.is_some_and(|round| taken.work.round <= round) {
        Admission::Drop
    } else if orders.paused {
        Admission::SetAside
    } else if taken.deliveries >= max_deliveries && taken.guilty {
        Admission::GiveUp
    } else if taken.deliveries >= SUSPECT_AFTER.min(max_deliveries) && !taken.suspect {
        Admission::Isolate
    } else {
        Admission::Score
    }
}

/// The orders that hold, by job.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    jobs: HashMap<Job, Orders>,
}

/// What holds for one job.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Orders {
    /// Companies up to this round are not to be scored.
    dropped_through: Option<u32>,
    paused: bool,
}

impl Standing {
    /// Takes in an order.
    pub(crate) fn hear(&mut self, control: Control) {
        if control.order == Order::Forget {
            self.jobs.remove(&control.job);
            return;
        }
        let orders = self.jobs.entry(control.job).or_default();
        match control.order {
            Order::Drop { round } => orders.dropped_through = orders.dropped_through.max(Some(round)),
            Order::Pause => orders.paused = true,
            Order::Resume | Order::Forget => orders.paused = false,
        }
    }

    fn of(&self, job: &Job) -> Orders {
        if self.jobs.is_empty() { Orders::default() } else { self.jobs.get(job).copied().unwrap_or_default() }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use proptest::prelude::*;
    use rollcall_shared::message::{Index, Priority, Work};

    use super::*;

    fn taken(round: u32, deliveries: u32, suspect: bool) -> Taken {
        let work = Work {
            job: "j".parse().unwrap(),
            index: Index(0),
            company_id: String::new(),
            attempt: 1,
            round,
            priority: Priority::Normal,
            deliveries,
            retry: None,
            traceparent: String::new(),
            record: Vec::new(),
        };
        Taken {
            work,
            tag: 1,
            session: 0,
            deliveries,
            suspect,
            guilty: suspect && deliveries > 1,
            alone: suspect,
            taken_at: Instant::now(),
        }
    }

    fn standing(orders: &[Order]) -> Standing {
        let mut standing = Standing::default();
        for &order in orders {
            standing.hear(Control { job: "j".parse().unwrap(), order });
        }
        standing
    }

    #[test]
    fn a_dropped_job_is_scored_again_where_it_is_redriven_and_only_there() {
        let dropped = standing(&[Order::Drop { round: 0 }]);
        assert_eq!(admit(&taken(0, 0, false), &dropped, 5), Admission::Drop);
        assert_eq!(admit(&taken(1, 0, false), &dropped, 5), Admission::Score);
        let paused = standing(&[Order::Drop { round: 0 }, Order::Pause]);
        assert_eq!(admit(&taken(0, 0, false), &paused, 5), Admission::Drop);
        assert_eq!(admit(&taken(1, 0, false), &paused, 5), Admission::SetAside);
        let another_of_that_name = standing(&[Order::Drop { round: 0 }, Order::Pause, Order::Forget]);
        assert_eq!(admit(&taken(0, 0, false), &another_of_that_name, 5), Admission::Score);
        let resumed = standing(&[Order::Pause, Order::Resume]);
        assert_eq!(admit(&taken(0, 0, false), &resumed, 5), Admission::Score);
    }

    proptest! {
        #[test]
        fn a_company_is_given_up_after_its_deliveries_and_only_where_the_last_was_by_itself(
            (deliveries, most, suspect) in (0_u32..40, 1_u32..21, any::<bool>())
        ) {
            let taken = taken(0, deliveries, suspect);
            let admitted = admit(&taken, &Standing::default(), most);
            prop_assert_eq!(admitted == Admission::GiveUp, deliveries >= most && taken.guilty);
            if admitted == Admission::Score && deliveries >= SUSPECT_AFTER.min(most) {
                prop_assert!(suspect);
            }
        }

        #[test]
        fn of_all_that_was_ordered_the_highest_drop_and_the_last_of_pause_and_resume_hold(
            (orders, round, deliveries) in (prop::collection::vec(any_order(), 0..12), 0_u32..4, 0_u32..8)
        ) {
            let dropped = orders.iter().any(|order| matches!(order, Order::Drop { round: through } if round <= *through));
            let last = orders.iter().rev().find(|order| !matches!(order, Order::Drop { .. }));
            let expected = match last {
                _ if dropped => Admission::Drop,
                Some(Order::Pause) => Admission::SetAside,
                _ => admit(&taken(round, deliveries, false), &Standing::default(), 5),
            };
            prop_assert_eq!(admit(&taken(round, deliveries, false), &standing(&orders), 5), expected);
        }
    }

    fn any_order() -> impl Strategy<Value = Order> {
        prop_oneof![(0_u32..4).prop_map(|round| Order::Drop { round }), Just(Order::Pause), Just(Order::Resume)]
    }
}
