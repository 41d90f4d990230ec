//! What others do to the fleet without killing anything: a subscriber who does not read, and an operator who closes connections.

use rollcall_tests::{Broker, Fleet};

/// A subscriber's queues, which refuse what they have no room for.
const QUEUES: [(&str, &str); 2] = [("subscriber-of-results", "results"), ("subscriber-of-events", "events")];

/// The strangers, and what they have done.
#[derive(Debug, Default)]
pub(crate) struct Strangers {
    subscribed: bool,
    /// Times that the subscriber came, with room for few messages, and read none.
    pub(crate) subscriptions: u64,
    /// Connections that the operator closed.
    pub(crate) closed: u64,
}

impl Strangers {
    /// One of them does something. Where the broker is away, nothing comes of it.
    pub(crate) fn act(&mut self, broker: &Broker, fleet: &Fleet, random: &mut fastrand::Rng) {
        if random.bool() {
            self.come_or_go(fleet, random);
        } else {
            self.close_connections(broker, random);
        }
    }

    /// The subscriber comes, or goes with its queues.
    pub(crate) fn come_or_go(&mut self, fleet: &Fleet, random: &mut fastrand::Rng) {
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

    /// The subscriber goes for good.
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
