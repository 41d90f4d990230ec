//! An operator who, after the last kill, restarts a broker that has left a queue down.
//!
//! RabbitMQ 3.10.8 sometimes crashes at a restart on the messages of a quorum queue, and then leaves that queue down. The
//! fleet can only wait; the next restart recovers the queue with its messages.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use rollcall_tests::Broker;

/// A queue that is down at two checks in a row stays down.
const POLL: Duration = Duration::from_secs(5);

/// Restarts the broker if a queue stays down, until the sender of `end` is dropped; returns how often.
pub(crate) fn restart_if_queues_stay_down(broker: &Broker, end: &Receiver<()>) -> u64 {
    let mut restarts = 0;
    let mut down_before = Vec::new();
    while end.recv_timeout(POLL) == Err(RecvTimeoutError::Timeout) {
        let down = broker.queues_down();
        if !down.iter().any(|queue| down_before.contains(queue)) {
            down_before = down;
            continue;
        }
        println!("chaos: the broker has left {} down; starting it anew", down.join(", "));
        broker.kill_9();
        broker.restart();
        restarts += 1;
        down_before.clear();
    }
    restarts
}
