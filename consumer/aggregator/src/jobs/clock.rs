//! The ledger's clock: the time during which some aggregator counted. It stands still while none does, and no adjustment of a
//! machine's clock changes it, so that its spans are right on whichever machine an aggregator runs.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// When a record is read, and how long before that it was published.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    /// The ledger's clock, in microseconds.
    pub(super) clock_us: u64,
    /// `None` if it is unknown.
    pub(super) age: Option<Duration>,
}

/// When a job, or its latest redrive, began, in microseconds of the ledger's clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Beginning {
    read_at_us: u64,
    /// When it was published. Negative if that was before the clock began, `None` if it is unknown.
    published_at_us: Option<i64>,
}

impl Beginning {
    /// How long ago it was read.
    pub(super) fn since_read(&self, clock_us: u64) -> Duration {
        Duration::from_micros(clock_us.saturating_sub(self.read_at_us))
    }

    /// How long ago it was published; `None` if that is unknown.
    pub(super) fn since_published(&self, clock_us: u64) -> Option<Duration> {
        let since = i64::try_from(clock_us).ok()?.checked_sub(self.published_at_us?)?;
        u64::try_from(since).ok().map(Duration::from_micros)
    }

    /// Adds a time in which the clock stood still; `None` if it is unknown how long it was.
    pub(super) fn add_gap(&mut self, gap: Option<Duration>) {
        self.published_at_us = self.published_at_us.and_then(|published_at_us| earlier(published_at_us, gap?));
    }
}

impl From<Moment> for Beginning {
    fn from(moment: Moment) -> Beginning {
        let published_at_us = i64::try_from(moment.clock_us).ok().and_then(|read_at_us| earlier(read_at_us, moment.age?));
        Beginning { read_at_us: moment.clock_us, published_at_us }
    }
}

fn earlier(time_us: i64, by: Duration) -> Option<i64> {
    time_us.checked_sub(i64::try_from(by.as_micros()).ok()?)
}
