//! Faults that kill no process: a subscriber that does not read, and an operator who closes connections.

use rollcall_tests::{Broker, Fleet};

/// The subscriber's queues, which refuse messages when they are full.
const QUEUES: [(&str, &str); 2] = [("subscriber-of-results", "results"), ("subscriber-of-events", "events")];

/// The disturbances, and their counts.
#[derive(Debug, Default)]
pub(crate) struct Disturbances {
    subscribed: bool,
    /// How often the subscriber bound its queues, each with a small limit.
    pub(crate) subscriptions: u64,
    /// Connections that the operator closed.
    pub(crate) closed: u64,
}

impl Disturbances {
    /// Causes one disturbance at random; does nothing if the broker is down.
    pub(crate) fn act(&mut self, broker: &Broker, fleet: &Fleet, random: &mut fastrand::Rng) {
        if random.bool() {
            self.bind_or_delete_queues(fleet, random);
        } else {
            self.close_connections(broker, random);
        }
    }

    /// Declares or deletes the subscriber's queues.
    pub(crate) fn bind_or_delete_queues(&mut self, fleet: &Fleet, random: &mut fastrand::Rng) {
        let room = random.u32(1..100);
        let done =
            QUEUES.iter().all(
                |(queue, exchange)| {
                    if self.subscribed { fleet.delete(queue) } else { fleet.try_bind_bounded(queue, exchange, room) }
                },
            );
        if done {
            self.subscribed = !self.subscribed;
            self.subscriptions += u64::from(self.subscribed);
        }
    }

    /// Deletes the subscriber's queues for good.
    pub(crate) fn leave(&mut self, fleet: &Fleet) {
        for (queue, _) in QUEUES {
            fleet.delete(queue);
        }
    }

    fn close_connections(&mut self, broker: &Broker, random: &mut fastrand::Rng) {
        let connections = broker.try_ctl(&["list_connections", "--no-table-headers", "pid"]).unwrap_or_default();
        for connection in connections.lines().filter(|_| random.u32(..3) == 0) {
            if broker.try_ctl(&["close_connection", connection, "by the operator"]).is_some() {
                self.closed += 1;
            }
        }
    }
}
