//! Somebody who, once the killing has stopped, starts the broker anew where it has left a queue down.
//!
//! RabbitMQ 3.10.8, killed and started, now and then crashes over what was waiting in a quorum queue, and gives that queue up.
//! The fleet can only wait then; the next start brings the queue back, with all that was in it.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use rollcall_tests::Broker;

/// A queue that is down twice in a row stays so.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Stands by until the other end of `end` is dropped; returns how often the broker had to be started anew.
pub(crate) fn stand_by(broker: &Broker, end: &Receiver<()>) -> u64 {
    let mut restarts = 0;
    let mut down_before = Vec::new();
    while end.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
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
