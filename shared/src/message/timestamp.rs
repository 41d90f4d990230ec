//! Points in time.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A point in time, to the millisecond; on the wire RFC 3339 in UTC, such as `2027-01-31T05:00:00.000Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(jiff::Timestamp);

/// Text that is not a point in time with its offset from UTC.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a time in UTC such as 2027-01-31T05:00:00Z, found {found:?}")]
pub struct BadTimestamp {
    found: String,
}

impl Timestamp {
    /// The timestamp of `time`, cut to the millisecond. A time before 1970 becomes the beginning of 1970.
    pub fn of(time: SystemTime) -> Timestamp {
        let time = jiff::Timestamp::try_from(time).unwrap_or(jiff::Timestamp::MAX);
        Timestamp::cut(time.max(jiff::Timestamp::UNIX_EPOCH)).unwrap_or(Timestamp(jiff::Timestamp::UNIX_EPOCH))
    }

    /// Now, by this machine's clock.
    pub fn now() -> Timestamp {
        Timestamp::of(SystemTime::now())
    }

    /// The time from this point to `later`; `None` if `later` is before it.
    pub fn until(self, later: Timestamp) -> Option<Duration> {
        later.0.duration_since(self.0).try_into().ok()
    }

    fn cut(time: jiff::Timestamp) -> Option<Timestamp> {
        jiff::Timestamp::from_millisecond(time.as_millisecond()).ok().map(Timestamp)
    }
}

impl FromStr for Timestamp {
    type Err = BadTimestamp;
    fn from_str(text: &str) -> Result<Self, BadTimestamp> {
        const SHOWN: usize = 64;
        let time = text.parse().ok().filter(|time| *time >= jiff::Timestamp::UNIX_EPOCH);
        time.and_then(Timestamp::cut).ok_or_else(|| BadTimestamp { found: text.chars().take(SHOWN).collect() })
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.0)
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

    named!(at deadline_at done_at opened_at redriven_at scored_at since time);
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
        ] {
            let time: Timestamp = text.parse().unwrap();
            assert_eq!(time.to_string(), written);
            assert_eq!(serde_json::to_string(&time).unwrap(), format!("{written:?}"));
        }
        assert!("1969-12-31T23:59:59Z".parse::<Timestamp>().is_err());
        assert_eq!(Timestamp::of(SystemTime::UNIX_EPOCH - Duration::from_secs(1)).to_string(), "1970-01-01T00:00:00.000Z");
        let [early, late] = ["2027-01-31T05:00:00Z", "2027-01-31T05:00:01Z"].map(|text| text.parse::<Timestamp>().unwrap());
        assert_eq!((early.until(late), late.until(early)), (Some(Duration::from_secs(1)), None));
    }
}
