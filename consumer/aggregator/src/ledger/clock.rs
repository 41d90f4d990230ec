//! The ledger's clock: the time for which aggregators have counted, one after another. It stands still while none does, and no
//! clock of a machine sets it back or forward, so that spans of it are true wherever an aggregator runs.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// When a record is read by the ledger's clock, and how long before that it was said.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    /// Microseconds.
    pub(super) micros: u64,
    /// Nothing where nobody knows.
    pub(super) age: Option<Duration>,
}

/// Since when a job, or the latest redrive of it, runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Times {
    read_at: u64,
    /// Before the clock began, for what was said before.
    began_at: Option<i64>,
}

impl Times {
    /// How long ago its beginning was read, `micros` by the ledger's clock.
    pub(super) fn read_for(&self, micros: u64) -> Duration {
        Duration::from_micros(micros.saturating_sub(self.read_at))
    }

    /// How long ago it began; nothing where that is not known.
    pub(super) fn runs_for(&self, micros: u64) -> Option<Duration> {
        let since = i64::try_from(micros).ok()?.checked_sub(self.began_at?)?;
        u64::try_from(since).ok().map(Duration::from_micros)
    }

    /// Nobody has counted for `gap`; nothing where nobody knows for how long.
    pub(super) fn stood_still(&mut self, gap: Option<Duration>) {
        self.began_at = self.began_at.and_then(|began_at| earlier(began_at, gap?));
    }
}

impl From<Moment> for Times {
    fn from(moment: Moment) -> Times {
        let began_at = i64::try_from(moment.micros).ok().and_then(|read_at| earlier(read_at, moment.age?));
        Times { read_at: moment.micros, began_at }
    }
}

fn earlier(micros: i64, by: Duration) -> Option<i64> {
    micros.checked_sub(i64::try_from(by.as_micros()).ok()?)
}
