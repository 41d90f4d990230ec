//! How many failures a job may have and still succeed.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Failures that a job tolerates: a number of companies, or a percentage of its total.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Tolerance {
    /// At most this many companies.
    Companies(u64),
    /// At most this part of the total.
    Percent(Percentage),
}

/// From 0 to 100 %, as exact as its text, since one failure more or less decides how a job ends: integers, not floats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Percentage {
    parts: u64,
}

impl Percentage {
    /// Digits after the decimal point.
    const DECIMALS: usize = 15;

    /// Parts of one percent, so that each of those digits counts.
    const ONE: u64 = 1_000_000_000_000_000;

    /// Whether `failed` is more than this part of `total`.
    fn is_exceeded(self, failed: u64, total: u64) -> bool {
        u128::from(failed) * 100 * u128::from(Percentage::ONE) > u128::from(self.parts) * u128::from(total)
    }

    /// A decimal number such as `1` or `0.57`.
    fn parse(text: &str) -> Option<Percentage> {
        let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.len() + decimals.len() == 0 || !digits(whole) || !digits(decimals) {
            return None;
        }
        let decimals = decimals.trim_end_matches('0');
        if decimals.len() > Percentage::DECIMALS {
            return None;
        }
        let whole: u64 = format!("0{whole}").parse().ok()?;
        let decimals: u64 = format!("{decimals:0<width$}", width = Percentage::DECIMALS).parse().ok()?;
        let parts = whole.checked_mul(Percentage::ONE)?.checked_add(decimals)?;
        (parts <= 100 * Percentage::ONE).then_some(Percentage { parts })
    }
}

impl fmt::Display for Percentage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, decimals) = (self.parts / Percentage::ONE, self.parts % Percentage::ONE);
        let text = format!("{whole}.{decimals:0width$}", width = Percentage::DECIMALS);
        f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

impl Default for Tolerance {
    fn default() -> Self {
        Tolerance::Companies(0)
    }
}

impl Tolerance {
    /// Whether `failed` companies are more than a job tolerates. A percentage is not exceeded before the total is known.
    pub fn is_exceeded(self, failed: u64, total: Option<u64>) -> bool {
        match (self, total) {
            (Tolerance::Companies(most), _) => failed > most,
            (Tolerance::Percent(percent), Some(total)) => percent.is_exceeded(failed, total),
            (Tolerance::Percent(_), None) => false,
        }
    }
}

/// Text that is not a tolerance.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a number of companies such as 25, or a part of them such as 1%, found {found:?}")]
pub struct BadTolerance {
    found: String,
}

impl FromStr for Tolerance {
    type Err = BadTolerance;
    fn from_str(text: &str) -> Result<Self, BadTolerance> {
        let bad = || BadTolerance { found: text.to_owned() };
        match text.strip_suffix('%') {
            None => text.parse().map(Tolerance::Companies).map_err(|_| bad()),
            Some(percent) => Percentage::parse(percent).map(Tolerance::Percent).ok_or_else(bad),
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
    type Error = BadTolerance;
    fn try_from(text: String) -> Result<Self, BadTolerance> {
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
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_number_or_a_part_is_exceeded_by_one_more() {
        let exceeded = |text: &str, failed, total| text.parse::<Tolerance>().unwrap().is_exceeded(failed, total);
        assert!(!exceeded("25", 25, None) && exceeded("25", 26, None));
        assert!(!exceeded("1%", 10, Some(1_000)) && exceeded("1%", 11, Some(1_000)));
        assert!(!exceeded("1%", 11, None), "of a total that is not known");
        assert!(!exceeded("0", 0, Some(0)) && exceeded("0", 1, Some(1)));
        assert!(!exceeded("100%", 7, Some(7)));
        assert!(!exceeded("0.57%", 57, Some(10_000)) && exceeded("0.57%", 58, Some(10_000)), "0.57% as a float is less");
        assert!(!exceeded("100%", u64::MAX, Some(u64::MAX)), "the largest there are");
    }

    #[test]
    fn what_is_neither_is_refused() {
        for bad in ["", "%", ".%", "-1", "+1%", "101%", "100.1%", "NaN%", "1e1%", "1.5", "0.0000000000000001%", "x"] {
            assert!(bad.parse::<Tolerance>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_part_is_said_in_the_fewest_digits() {
        for (asked, said) in [("1%", "1%"), ("1.0%", "1%"), ("007.50%", "7.5%"), (".5%", "0.5%"), ("100.%", "100%"), ("0%", "0%")]
        {
            assert_eq!(asked.parse::<Tolerance>().unwrap().to_string(), said);
        }
    }

    proptest! {
        #[test]
        fn a_part_is_exceeded_by_the_first_whole_company_above_it(millionths in 0_u64..=1_000_000, total in 0..=u64::from(u32::MAX)) {
            let (whole, decimals) = (millionths / 10_000, millionths % 10_000);
            let tolerance: Tolerance = format!("{whole}.{decimals:04}%").parse().unwrap();
            let most = millionths * total / 1_000_000;
            prop_assert!(!tolerance.is_exceeded(most, Some(total)) && tolerance.is_exceeded(most + 1, Some(total)));
            prop_assert_eq!(tolerance.to_string().parse(), Ok(tolerance));
        }

        #[test]
        fn no_text_is_too_much_for_it(text in "[0-9.]{0,40}%?") {
            if let Ok(tolerance) = text.parse::<Tolerance>() {
                tolerance.is_exceeded(u64::MAX, Some(u64::MAX));
                prop_assert_eq!(tolerance.to_string().parse(), Ok(tolerance));
            }
        }
    }
}
