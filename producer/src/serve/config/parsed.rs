//! Reads values that are written as in flags: from text, a number or a boolean.

use std::fmt::{self, Display};
use std::marker::PhantomData;
use std::str::FromStr;
use std::time::Duration;

use rollcall_shared::duration::parse_positive;
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};

struct Parsed<T>(PhantomData<T>);

impl<T: FromStr<Err: Display>> Visitor<'_> for Parsed<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text or a number")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<T, E> {
        self.visit_str(if flag { "true" } else { "false" })
    }
}

/// For serde's `deserialize_with`: a value by its [`FromStr`].
pub(super) fn parsed<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    from.deserialize_any(Parsed(PhantomData))
}

/// The same for a key that may be left out.
pub(super) fn optional<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(from: D) -> Result<Option<T>, D::Error> {
    parsed(from).map(Some)
}

/// A duration above zero.
pub(super) fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    parse_positive(&String::deserialize(from)?).map_err(D::Error::custom)
}

/// A number of bytes such as `500 MB`, `8GiB` or 1048576.
pub(super) fn bytes<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    parsed::<Bytes, D>(from).map(|Bytes(bytes)| bytes)
}

struct Bytes(u64);

/// Text that is not a number of bytes.
#[derive(Debug, thiserror::Error)]
#[error("expected a number of bytes above zero such as 500MB or 8GiB, found {0:?}")]
struct BadBytes(String);

impl FromStr for Bytes {
    type Err = BadBytes;
    fn from_str(text: &str) -> Result<Bytes, BadBytes> {
        let bad = || BadBytes(text.to_owned());
        let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
        let unit: u64 = match text[digits.len()..].trim() {
            "" | "B" => 1,
            "kB" => 1_000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            "TB" => 1_000_000_000_000,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            "TiB" => 1 << 40,
            _ => return Err(bad()),
        };
        let bytes = digits.parse::<u64>().ok().and_then(|count| count.checked_mul(unit)).filter(|&bytes| bytes > 0);
        bytes.map(Bytes).ok_or_else(bad)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_a_unit_or_none() {
        for (text, bytes) in [("7", 7), ("5 MB", 5_000_000), ("8GiB", 8 << 30), ("1kB", 1_000)] {
            assert_eq!(text.parse::<Bytes>().map(|Bytes(bytes)| bytes).ok(), Some(bytes), "{text}");
        }
        for text in ["", "0", "GiB", "1.5GB", "5 mb", "-1", "99999999999TiB"] {
            assert!(text.parse::<Bytes>().is_err(), "{text}");
        }
    }
}
