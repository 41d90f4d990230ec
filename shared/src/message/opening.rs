//! The id of an opening of a job: it distinguishes two jobs of the same name.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The id of one opening of a job. Work and results carry it, so that the companies of two producers that chose the same name for
/// their jobs are not mixed up. Reading it does not allocate: the aggregator reads one for each result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Opening(Uuid);

/// Text that is not the id of an opening.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected the UUID of a job's opening, found {found:?}")]
pub struct BadOpening {
    found: String,
}

impl Opening {
    /// A new id (UUID version 7, RFC 9562).
    pub fn unique() -> Opening {
        Opening(Uuid::now_v7())
    }
}

impl FromStr for Opening {
    type Err = BadOpening;
    fn from_str(text: &str) -> Result<Self, BadOpening> {
        const SHOWN: usize = 64;
        Uuid::try_parse(text).map(Opening).map_err(|_| BadOpening { found: text.chars().take(SHOWN).collect() })
    }
}

impl TryFrom<String> for Opening {
    type Error = BadOpening;
    fn try_from(text: String) -> Result<Self, BadOpening> {
        text.parse()
    }
}

impl From<Opening> for String {
    fn from(opening: Opening) -> String {
        opening.to_string()
    }
}

impl fmt::Display for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_opening_reads_back_as_it_was_written_and_other_text_is_refused() {
        let opening = Opening::unique();
        assert_eq!(opening.to_string().parse(), Ok(opening));
        for bad in ["", "j", "0190163d-8694-739b-aea5-966c26f8ad9", "é"] {
            assert!(bad.parse::<Opening>().is_err(), "{bad:?}");
        }
    }
}
