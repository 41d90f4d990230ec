//! When a call is given up: one that takes for ever would hold its thread, and its companies' job, for ever.

use std::time::{Duration, Instant};

use super::super::ScoreError;

/// Work between two looks at the clock. A unit of it takes a nanosecond or a few, so that the clock costs nothing beside the
/// work, and a company is given up within a millisecond.
const WORK_A_LOOK: usize = 1 << 16;

/// The cause of a failure for lack of time.
pub(super) const TIMEOUT: &str = "timeout";

/// The time that a call has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline {
    timeout: Duration,
    /// None where the time ends after the clock does.
    end: Option<Instant>,
    /// Work done since the last look at the clock.
    work: usize,
}

/// The time is up; holds how long it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Late(Duration);

impl Deadline {
    /// The time begins now.
    pub(super) fn after(timeout: Duration) -> Self {
        Self { timeout, end: Instant::now().checked_add(timeout), work: 0 }
    }

    /// Notes some work that is about to be done: what one particle or one state costs for one variable or one parent.
    ///
    /// # Errors
    /// [`Late`] where the time is up.
    pub(super) fn spend(&mut self, work: usize) -> Result<(), Late> {
        self.work = self.work.saturating_add(work);
        if self.work < WORK_A_LOOK {
            return Ok(());
        }
        self.work = 0;
        match self.end {
            Some(end) if Instant::now() >= end => Err(Late(self.timeout)),
            _ => Ok(()),
        }
    }
}

impl From<Late> for ScoreError {
    fn from(Late(timeout): Late) -> Self {
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
        assert_eq!(deadline.spend(WORK_A_LOOK - 1), Ok(()));
        assert_eq!(deadline.spend(1), Err(Late(Duration::ZERO)));
        assert_eq!(deadline.spend(usize::MAX), Err(Late(Duration::ZERO)));
    }

    #[test]
    fn a_time_beyond_the_end_of_the_clock_is_never_up() {
        assert_eq!(Deadline::after(Duration::MAX).spend(usize::MAX), Ok(()));
    }
}
