//! When a job is to be done by: a point in time, or a span from its opening on.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::timestamp;

/// A point in time, to the millisecond; on the wire RFC 3339 in UTC, such as `2027-01-31T05:00:00.000Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Timestamp(SystemTime);

/// What is no point in time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a time in UTC such as 2027-01-31T05:00:00Z, found {found:?}")]
pub struct BadTimestamp {
    found: String,
}

impl Timestamp {
    /// Of `time`, which is after 1970 and before the year 10000.
    pub fn of(time: SystemTime) -> Timestamp {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let milliseconds = u64::try_from(since.as_millis()).unwrap_or_default();
        Timestamp(SystemTime::UNIX_EPOCH + Duration::from_millis(milliseconds))
    }

    /// Now, by this machine's clock.
    pub fn now() -> Timestamp {
        Timestamp::of(SystemTime::now())
    }

    /// How long before `later` it was; nothing where it was after it.
    pub fn until(self, later: Timestamp) -> Option<Duration> {
        later.0.duration_since(self.0).ok()
    }
}

impl FromStr for Timestamp {
    type Err = BadTimestamp;
    fn from_str(text: &str) -> Result<Self, BadTimestamp> {
        const SHOWN: usize = 64;
        let bad = |_| BadTimestamp { found: text.chars().take(SHOWN).collect() };
        humantime::parse_rfc3339(text).map(Timestamp::of).map_err(bad)
    }
}

impl TryFrom<String> for Timestamp {
    type Error = BadTimestamp;
    fn try_from(text: String) -> Result<Self, BadTimestamp> {
        text.parse()
    }
}

impl From<Timestamp> for String {
    fn from(time: Timestamp) -> String {
        time.to_string()
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&timestamp(self.0))
    }
}

/// A length of time above zero, to the millisecond; on the wire a number of seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Span(Duration);

/// What is no length of time.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("expected a number of seconds above zero and at most {LONGEST_SPAN_SECONDS}, found {found}")]
pub struct BadSpan {
    found: f64,
}

/// Longer than any job, and so short that as a number of seconds it still tells milliseconds.
const LONGEST_SPAN_SECONDS: u64 = 1_000_000_000_000;

impl Span {
    /// The span of that length, rounded; nothing where it is shorter than a millisecond or longer than 30,000 years.
    pub fn of(length: Duration) -> Option<Span> {
        const HALF: Duration = Duration::from_micros(500);
        let milliseconds = u64::try_from(length.checked_add(HALF)?.as_millis()).ok()?;
        let is_span = milliseconds > 0 && milliseconds <= LONGEST_SPAN_SECONDS * 1_000;
        is_span.then(|| Span(Duration::from_millis(milliseconds)))
    }

    /// Its length.
    pub fn length(self) -> Duration {
        self.0
    }
}

impl TryFrom<f64> for Span {
    type Error = BadSpan;
    fn try_from(seconds: f64) -> Result<Self, BadSpan> {
        Duration::try_from_secs_f64(seconds).ok().and_then(Span::of).ok_or(BadSpan { found: seconds })
    }
}

impl From<Span> for f64 {
    fn from(span: Span) -> f64 {
        span.0.as_secs_f64()
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_in_time_is_read_at_the_door_or_refused() {
        let read = |text: &str| serde_json::from_value::<Timestamp>(text.into());
        assert_eq!(read("2027-01-31T05:00:00.1239Z").unwrap().to_string(), "2027-01-31T05:00:00.123Z");
        for bad in ["", "soon", "2027-01-31T05:00:00", "2027-01-31", "~"] {
            assert!(read(bad).unwrap_err().to_string().contains("expected a time in UTC"), "{bad:?}");
        }
    }

    #[test]
    fn a_span_is_a_number_of_seconds_above_zero() {
        let read = |text: &str| serde_json::from_str::<Span>(text);
        assert_eq!(read("7200").unwrap().to_string(), "2h");
        assert_eq!(read("0.5").unwrap().length(), Duration::from_millis(500));
        for bad in ["0", "-1", "1e300", "0.0001", "1000000000001", "\"2h\""] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
