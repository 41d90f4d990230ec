//! Sets of indices, in a text form that is short, and easy to read and write in any language.

use std::fmt;
use std::str::FromStr;

use roaring::RoaringBitmap;
use serde::{Deserialize, Serialize};

/// A set of indices, as text `0-99,105,200-204`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Indices(pub RoaringBitmap);

/// Text that is not a set of indices.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected indices such as 3 or 3,17-20, found {found:?}")]
pub struct BadIndices {
    found: String,
}

impl fmt::Display for Indices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        let mut indices = self.0.iter();
        while let Some(run) = indices.next_range() {
            let (first, last) = run.into_inner();
            if first == last {
                write!(f, "{separator}{first}")?;
            } else {
                write!(f, "{separator}{first}-{last}")?;
            }
            separator = ",";
        }
        Ok(())
    }
}

impl FromStr for Indices {
    type Err = BadIndices;
    fn from_str(text: &str) -> Result<Self, BadIndices> {
        let mut indices = RoaringBitmap::new();
        for range in text.split(',').map(str::trim).filter(|range| !range.is_empty()) {
            let bad = || BadIndices { found: range.to_owned() };
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let (first, last): (u32, u32) = (first.parse().map_err(|_| bad())?, last.parse().map_err(|_| bad())?);
            if first > last {
                return Err(bad());
            }
            indices.insert_range(first..=last);
        }
        Ok(Indices(indices))
    }
}

impl TryFrom<String> for Indices {
    type Error = BadIndices;
    fn try_from(text: String) -> Result<Self, BadIndices> {
        text.parse()
    }
}

impl From<Indices> for String {
    fn from(indices: Indices) -> String {
        indices.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn runs_are_written_as_ranges() {
        let indices = Indices([0, 1, 2, 5, 7, 8].into_iter().collect());
        assert_eq!(indices.to_string(), "0-2,5,7-8");
        assert_eq!("".parse(), Ok(Indices::default()));
        for bad in ["x", "3-1", "-", "1-", "4294967296"] {
            assert!(bad.parse::<Indices>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn all_indices_there_can_be_are_written_as_fast_as_few() {
        let all: Indices = "0-4294967295".parse().unwrap();
        let written = std::time::Instant::now();
        assert_eq!(all.to_string(), "0-4294967295");
        assert!(written.elapsed() < std::time::Duration::from_secs(1));
    }

    proptest! {
        #[test]
        fn indices_read_back_as_they_were_written(indices in proptest::collection::btree_set(0_u32..200, 0..100)) {
            let indices = Indices(indices.into_iter().chain([u32::MAX]).collect());
            prop_assert_eq!(indices.to_string().parse(), Ok(indices));
        }
    }
}
