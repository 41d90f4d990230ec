//! How many failures a job may have and still succeed.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Failures that a job tolerates: a number of companies, or a part of its total.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Tolerance {
    /// So many companies.
    Companies(u64),
    /// So many of a hundred.
    Percent(f64),
}

impl Default for Tolerance {
    fn default() -> Self {
        Tolerance::Companies(0)
    }
}

impl Tolerance {
    /// Whether `failed` companies are more than a job tolerates. A part of a total that is not yet known is not exceeded yet.
    pub fn is_exceeded(self, failed: u64, total: Option<u64>) -> bool {
        match (self, total) {
            (Tolerance::Companies(most), _) => failed > most,
            (Tolerance::Percent(percent), Some(total)) => failed as f64 * 100.0 > percent * total as f64,
            (Tolerance::Percent(_), None) => false,
        }
    }
}

impl FromStr for Tolerance {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("expected a number of companies such as 25, or a part of them such as 1%, found {text:?}");
        match text.strip_suffix('%') {
            None => text.parse().map(Tolerance::Companies).map_err(|_| bad()),
            Some(percent) => match percent.parse() {
                Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(Tolerance::Percent(percent)),
                _ => Err(bad()),
            },
        }
    }
}

impl fmt::Display for Tolerance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Tolerance::Companies(most) => write!(f, "{most}"),
            Tolerance::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl TryFrom<String> for Tolerance {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Tolerance> for String {
    fn from(tolerance: Tolerance) -> String {
        tolerance.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_or_a_part_is_exceeded_by_one_more() {
        let exceeded = |text: &str, failed, total| text.parse::<Tolerance>().unwrap().is_exceeded(failed, total);
        assert!(!exceeded("25", 25, None) && exceeded("25", 26, None));
        assert!(!exceeded("1%", 10, Some(1_000)) && exceeded("1%", 11, Some(1_000)));
        assert!(!exceeded("1%", 11, None), "of a total that is not known");
        assert!(!exceeded("0", 0, Some(0)) && exceeded("0", 1, Some(1)));
        assert!(!exceeded("100%", 7, Some(7)));
    }

    #[test]
    fn what_is_neither_is_refused() {
        for bad in ["", "%", "-1", "101%", "NaN%", "1.5", "x"] {
            assert!(bad.parse::<Tolerance>().is_err(), "{bad:?}");
        }
    }
}
