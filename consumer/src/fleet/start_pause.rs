//! How long a fleet waits before it starts consumers in place of those that have failed.

use std::time::{Duration, Instant};

use rollcall_shared::broker::Backoff;

/// A consumer that has lived for so long works, and so do all of them if none has failed for so long: the next pause is the shortest again.
const WORKS_AFTER: Duration = Duration::from_secs(30);

/// The pause before the next start. It grows while consumers fail one after the other.
#[derive(Debug)]
pub(super) struct StartPause {
    backoff: Backoff,
    until: Instant,
    last_failure: Option<Instant>,
}

impl StartPause {
    /// No pause yet.
    pub(super) fn new(now: Instant) -> StartPause {
        StartPause { backoff: Backoff::new(), until: now, last_failure: None }
    }

    /// No consumer is started before that.
    pub(super) fn until(&self) -> Instant {
        self.until
    }

    /// A consumer has died after it `lived` so long, or could not be started at all; returns the pause that is left. Those that fail within
    /// one pause share it: what ends one may end all of them at once.
    pub(super) fn note_failure(&mut self, now: Instant, lived: Duration) -> Duration {
        let last = self.last_failure.replace(now);
        if lived >= WORKS_AFTER || last.is_some_and(|last| now.duration_since(last) >= WORKS_AFTER) {
            self.backoff = Backoff::new();
        }
        if now >= self.until {
            self.until = now + self.backoff.pause();
        }
        self.until - now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The longest of the first pauses, which is the shortest of the third.
    const SHORT: Duration = Duration::from_millis(400);

    fn fail_one_after_the_other(pause: &mut StartPause, times: usize) {
        for _ in 0..times {
            pause.note_failure(pause.until(), Duration::ZERO);
        }
    }

    #[test]
    fn consumers_that_die_at_once_share_one_pause() {
        let now = Instant::now();
        let mut pause = StartPause::new(now);
        let pauses: Vec<Duration> = (0..8).map(|_| pause.note_failure(now, Duration::ZERO)).collect();
        assert!(pauses.iter().all(|each| *each == pauses[0]) && pauses[0] < SHORT, "{pauses:?}");
        assert!(pause.note_failure(pause.until(), Duration::ZERO) <= SHORT, "eight deaths counted for more than one");
    }

    #[test]
    fn consumers_that_die_one_after_the_other_are_started_after_longer_and_longer_pauses() {
        let mut pause = StartPause::new(Instant::now());
        fail_one_after_the_other(&mut pause, 8);
        assert!(pause.note_failure(pause.until(), Duration::ZERO) >= Duration::from_secs(5));
    }

    #[test]
    fn the_pause_is_short_again_after_a_long_time_without_a_death_and_after_the_death_of_one_that_has_long_worked() {
        for (later, lived) in [(WORKS_AFTER, Duration::ZERO), (Duration::ZERO, WORKS_AFTER)] {
            let mut pause = StartPause::new(Instant::now());
            fail_one_after_the_other(&mut pause, 8);
            assert!(pause.note_failure(pause.until() + later, lived) < SHORT, "{later:?} {lived:?}");
        }
    }
}
