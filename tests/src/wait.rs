//! Waiting for a condition, with a deadline.

use std::thread::sleep;
use std::time::{Duration, Instant};

/// Long enough for every wait on a busy machine. A condition that holds earlier ends the wait.
const DEADLINE: Duration = Duration::from_secs(60);

/// The pause between two checks of a condition is twice as long as a check takes. Many checks start a process or read the whole ledger,
/// and would take the cores away from other tests otherwise.
const SHORTEST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Waits until `condition` returns a value. Panics after a minute.
pub fn eventually<T>(what: &str, condition: impl FnMut() -> Option<T>) -> T {
    within(DEADLINE, what, condition)
}

/// Waits until `condition` returns a value. Panics after `deadline`.
pub fn within<T>(deadline: Duration, what: &str, condition: impl FnMut() -> Option<T>) -> T {
    poll(deadline, LONGEST_PAUSE, what, condition)
}

/// Waits until `condition` returns a value, with short pauses: for a state that soon passes. Panics after a minute.
pub fn soon<T>(what: &str, condition: impl FnMut() -> Option<T>) -> T {
    poll(DEADLINE, Duration::from_millis(100), what, condition)
}

fn poll<T>(deadline: Duration, longest_pause: Duration, what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + deadline;
    loop {
        let began = Instant::now();
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < until, "after {deadline:?}, still not so: {what}");
        sleep((began.elapsed() * 2).clamp(SHORTEST_PAUSE, longest_pause));
    }
}
