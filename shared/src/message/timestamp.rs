//! Points in time.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A point in time from 1970 to 9999, to the millisecond; on the wire RFC 3339 in UTC, such as `2027-01-31T05:00:00.000Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    /// Milliseconds since 1970, at most [`LAST_MS`].
    since_1970_ms: u64,
}

/// The last millisecond of the year 9999: RFC 3339 has no later year.
const LAST_MS: u64 = 253_402_300_799_999;

/// Text that is not a point in time with its offset from UTC.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a time in UTC such as 2027-01-31T05:00:00Z, found {found:?}")]
pub struct BadTimestamp {
    found: String,
}

impl Timestamp {
    /// The beginning of 1970.
    pub const UNIX_EPOCH: Timestamp = Timestamp { since_1970_ms: 0 };

    /// The timestamp of `time`, cut to the millisecond. A time before 1970 becomes the beginning of 1970, and one after 9999 the end of
    /// 9999.
    pub fn of(time: SystemTime) -> Timestamp {
        let since_1970 = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Timestamp { since_1970_ms: u64::try_from(since_1970.as_millis()).unwrap_or(LAST_MS).min(LAST_MS) }
    }

    /// Now, by this machine's clock.
    pub fn now() -> Timestamp {
        Timestamp::of(SystemTime::now())
    }

    /// The time from this point to `later`; `None` if `later` is before it.
    pub fn until(self, later: Timestamp) -> Option<Duration> {
        later.since_1970_ms.checked_sub(self.since_1970_ms).map(Duration::from_millis)
    }
}

impl From<Timestamp> for SystemTime {
    fn from(time: Timestamp) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(time.since_1970_ms)
    }
}

impl FromStr for Timestamp {
    type Err = BadTimestamp;
    fn from_str(text: &str) -> Result<Self, BadTimestamp> {
        const SHOWN: usize = 64;
        let time = match text.parse::<jiff::Timestamp>() {
            Ok(time) if time < jiff::Timestamp::UNIX_EPOCH => None,
            Ok(time) => u64::try_from(time.as_millisecond()).ok().map(|since_1970_ms| Timestamp { since_1970_ms }),
            // jiff knows no time in the last 26 hours of 9999, and humantime no offset but Z: such a time is accepted with Z only.
            Err(_) => humantime::parse_rfc3339(text).ok().map(Timestamp::of),
        };
        time.ok_or_else(|| BadTimestamp { found: text.chars().take(SHOWN).collect() })
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_rfc3339_millis((*self).into()).fmt(f)
    }
}

/// Without an allocation: each result has one.
impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<str>::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// For serde's `deserialize_with`: `None` for a text that is not a time. For times that decide nothing, in messages that other programs
/// may publish: such a message counts all the same.
pub(super) fn if_valid<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    Ok(Option::<Cow<str>>::deserialize(deserializer)?.and_then(|text| text.parse().ok()))
}

/// Functions for serde's `deserialize_with`, one for each field: their errors name the field, which serde's own do not.
pub(super) mod field {
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer};

    macro_rules! named {
        ($($field:ident)*) => {
            $(pub(crate) fn $field<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
                T::deserialize(from).map_err(|error| D::Error::custom(format_args!("{}: {error}", stringify!($field))))
            })*
        };
    }

    named!(deadline_at done_at since);
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
    fn a_point_in_time_is_written_with_milliseconds_in_utc_and_compared_as_a_time() {
        for (text, written) in [
            ("2027-01-31T05:00:00Z", "2027-01-31T05:00:00.000Z"),
            ("2027-01-31T07:00:00.5+02:00", "2027-01-31T05:00:00.500Z"),
            ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000Z"),
            ("9999-12-30T22:00:00.999Z", "9999-12-30T22:00:00.999Z"),
            ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59.000Z"),
            ("9999-12-31T23:59:59.9999Z", "9999-12-31T23:59:59.999Z"),
        ] {
            let time: Timestamp = text.parse().unwrap();
            assert_eq!(time.to_string(), written);
            assert_eq!(serde_json::to_string(&time).unwrap(), format!("{written:?}"));
        }
        for outside in ["1969-12-31T23:59:59Z", "+010000-01-01T00:00:00Z", "10000-01-01T00:00:00Z"] {
            assert!(outside.parse::<Timestamp>().is_err(), "{outside}");
        }
        let year_10000 = SystemTime::from("9999-12-31T23:59:59Z".parse::<Timestamp>().unwrap()) + Duration::from_secs(1);
        assert_eq!(Timestamp::of(year_10000).to_string(), "9999-12-31T23:59:59.999Z");
        assert_eq!(Timestamp::of(SystemTime::UNIX_EPOCH - Duration::from_secs(1)).to_string(), "1970-01-01T00:00:00.000Z");
        let [early, late] = ["2027-01-31T05:00:00Z", "2027-01-31T05:00:01Z"].map(|text| text.parse::<Timestamp>().unwrap());
        assert_eq!((early.until(late), late.until(early)), (Some(Duration::from_secs(1)), None));
    }
}
