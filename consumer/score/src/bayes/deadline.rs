//! The time limit of a call, so that no company takes a scoring thread for ever.

use std::time::{Duration, Instant};

use crate::scorer::ScoreError;

/// Units of work between two reads of the clock. A unit takes a few nanoseconds, so that reading the clock costs nothing in comparison, and
/// a call ends within a millisecond of its deadline.
const CHECK_EVERY: usize = 1 << 16;

/// The cause of a failure for lack of time.
pub(super) const TIMEOUT: &str = "timeout";

/// When a call must end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline {
    timeout: Duration,
    /// `None` if it is later than the clock can represent.
    end: Option<Instant>,
    /// Units of work since the clock was last read.
    work: usize,
}

/// The deadline has passed. Holds the timeout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DeadlineExceeded(Duration);

impl Deadline {
    /// `timeout` from now.
    pub(super) fn after(timeout: Duration) -> Self {
        Self { timeout, end: Instant::now().checked_add(timeout), work: 0 }
    }

    /// Counts work that is about to be done, and reads the clock every [`CHECK_EVERY`] units. A unit is the work for one variable or one
    /// parent and one particle or one state.
    pub(super) fn spend(&mut self, work: usize) -> Result<(), DeadlineExceeded> {
        self.work = self.work.saturating_add(work);
        if self.work < CHECK_EVERY {
            return Ok(());
        }
        self.work = 0;
        match self.end {
            Some(end) if Instant::now() >= end => Err(DeadlineExceeded(self.timeout)),
            _ => Ok(()),
        }
    }
}

impl From<DeadlineExceeded> for ScoreError {
    fn from(DeadlineExceeded(timeout): DeadlineExceeded) -> Self {
        let timeout = humantime::format_duration(timeout);
        ScoreError {
            cause: TIMEOUT.to_owned(),
            message: format!(
                "the scorer did not answer within {timeout}; raise --score-timeout, lower --particles or simplify the network"
            ),
            // Another machine may be faster, or this one less busy.
            retryable: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_is_looked_at_after_enough_work_and_not_before() {
        let mut deadline = Deadline::after(Duration::ZERO);
        assert_eq!(deadline.spend(CHECK_EVERY - 1), Ok(()));
        assert_eq!(deadline.spend(1), Err(DeadlineExceeded(Duration::ZERO)));
        assert_eq!(deadline.spend(usize::MAX), Err(DeadlineExceeded(Duration::ZERO)));
    }

    #[test]
    fn a_time_beyond_the_end_of_the_clock_is_never_up() {
        assert_eq!(Deadline::after(Duration::MAX).spend(usize::MAX), Ok(()));
    }
}
