//! Lengths of time.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A length of time above zero, to the millisecond; on the wire a number of seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Span(Duration);

/// A number that is not a length of time.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("expected a number of seconds above zero and at most {LONGEST_SPAN_SECONDS}, found {found}")]
pub struct BadSpan {
    found: f64,
}

/// Longer than any job, and short enough that a 64-bit float of seconds is exact to the millisecond.
const LONGEST_SPAN_SECONDS: u64 = 1_000_000_000_000;

impl Span {
    /// The span of that length, rounded to the millisecond; `None` below a millisecond and above 30,000 years.
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
    fn a_span_is_a_number_of_seconds_above_zero() {
        let read = |text: &str| serde_json::from_str::<Span>(text);
        assert_eq!(read("7200").unwrap().to_string(), "2h");
        assert_eq!(read("0.5").unwrap().length(), Duration::from_millis(500));
        for bad in ["0", "-1", "1e300", "0.0001", "1000000000001", "\"2h\""] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
