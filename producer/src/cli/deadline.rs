//! When a job is to be done, as a flag gives it.

use std::str::FromStr;
use std::time::{Duration, SystemTime};

use chrono::DateTime;
use rollcall_shared::message::{Span, Timestamp};

/// When a job is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deadline {
    /// This long after the aggregator has read its opening.
    Within(Span),
    /// At this time.
    At(Timestamp),
}

/// A text that is no deadline.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a time to come, such as 2h, or with its offset from UTC 2027-01-31T06:00:00+01:00, found {0:?}")]
pub struct BadDeadline(String);

/// The last second of the year 9999, after the epoch: RFC 3339 has no later year.
const LAST_SECOND: Duration = Duration::from_secs(253_402_300_799);

impl FromStr for Deadline {
    type Err = BadDeadline;

    /// Takes no time without an offset: it would be another time on a machine in another zone.
    fn from_str(text: &str) -> Result<Self, BadDeadline> {
        let last = SystemTime::UNIX_EPOCH + LAST_SECOND;
        let deadline = match humantime::parse_duration(text) {
            Ok(length) => Span::of(length).filter(|_| end_of(length).is_some_and(|end| end <= last)).map(Deadline::Within),
            Err(_) => {
                let time = DateTime::parse_from_rfc3339(text).ok().map(SystemTime::from);
                time.filter(|time| *time <= last).map(|time| Deadline::At(Timestamp::of(time)))
            }
        };
        deadline.ok_or_else(|| BadDeadline(text.to_owned()))
    }
}

impl Deadline {
    /// The point in time by this machine's clock, and the span if it is one.
    ///
    /// # Errors
    /// [`BadDeadline`] if that time has passed.
    pub(super) fn at_and_span(self) -> Result<(Option<Timestamp>, Option<Span>), BadDeadline> {
        match self {
            Deadline::Within(span) => Ok((end_of(span.length()).map(Timestamp::of), Some(span))),
            Deadline::At(time) if time <= Timestamp::now() => Err(BadDeadline(time.to_string())),
            Deadline::At(time) => Ok((Some(time), None)),
        }
    }
}

/// When a span that begins now ends; `None` if that is beyond the range of the clock.
fn end_of(length: Duration) -> Option<SystemTime> {
    SystemTime::now().checked_add(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_a_duration_or_a_time_with_its_offset() {
        for same in ["2999-01-31T06:00:00Z", "2999-01-31t07:30:00.000+01:30", "2999-01-30T22:00:00-08:00"] {
            assert_eq!(same.parse(), Ok(Deadline::At("2999-01-31T06:00:00Z".parse().unwrap())), "{same}");
        }
        let last: Deadline = "9999-12-31T23:59:59Z".parse().unwrap();
        let written = last.at_and_span().unwrap().0.unwrap().to_string();
        assert_eq!((written.as_str(), written.parse().map(Deadline::At)), ("9999-12-31T23:59:59.000Z", Ok(last)));
        assert_eq!("2h 30m".parse(), Ok(Deadline::Within(Span::of(Duration::from_secs(9_000)).unwrap())));
        for bad in [
            "2999-01-31T06:00:00",
            "2999-01-31 06:00:00",
            "2999-01-31",
            "2999-01-31T06:00Z",
            "2999-02-30T06:00:00Z",
            "2999-01-31T06:00:00 Europe/Berlin",
            "9999-12-31T23:59:59-12:00",
            "+12000-01-01T00:00:00Z",
            "9000years",
            "0s",
            "tomorrow",
            "",
        ] {
            let refused = bad.parse::<Deadline>().unwrap_err().to_string();
            assert!(refused.contains(&format!("{bad:?}")) && refused.contains("+01:00"), "{refused}");
        }
        let past: Deadline = "2001-01-31T06:00:00+01:00".parse().unwrap();
        assert_eq!(past.at_and_span(), Err(BadDeadline("2001-01-31T05:00:00.000Z".to_owned())));
    }
}
