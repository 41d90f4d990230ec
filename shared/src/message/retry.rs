//! The retry policy: how often a company is tried, and after which delays. Work messages carry it.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How often a company is tried, and after which delays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RetryPolicy {
    max_attempts: u32,
    delays: Vec<Duration>,
}

/// A policy that cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRetryPolicy {
    /// It allows no attempt.
    #[error("expected at least 1 attempt, found 0")]
    NoAttempts,
    /// Each delay is a queue of its own for each model.
    #[error("expected at most {} delays, found {found}", RetryPolicy::MOST_DELAYS)]
    TooManyDelays {
        /// How many there are.
        found: usize,
    },
    /// A delay does not parse, is below a millisecond or above a day.
    #[error("expected delays from 1ms to 1day such as 1s,10s,1m, found {found}")]
    BadDelay {
        /// The delay, and what is wrong with it.
        found: String,
    },
    /// The text does not consist of attempts and delays.
    #[error("expected a retry policy such as 3;1s,10s, found {found:?}")]
    BadForm {
        /// The text.
        found: String,
    },
}

impl RetryPolicy {
    /// The default number of attempts at a company.
    pub const MAX_ATTEMPTS: u32 = 3;

    /// The default delays after the first, the second, … attempt.
    pub const DELAYS: &str = "1s,10s,1m,10m";

    /// Each delay is a queue of its own for each model.
    const MOST_DELAYS: usize = 8;

    /// A company that is to wait longer than this is better redriven.
    const LONGEST_DELAY: Duration = Duration::from_secs(24 * 60 * 60);

    /// At most `max_attempts` attempts, with `delays` such as `1s,10s,1m` between them; the last delay is repeated.
    ///
    /// # Errors
    /// [`BadRetryPolicy`].
    pub fn new(max_attempts: u32, delays: &str) -> Result<RetryPolicy, BadRetryPolicy> {
        if max_attempts == 0 {
            return Err(BadRetryPolicy::NoAttempts);
        }
        let delays = delays.split(',').map(|delay| parse_delay(delay.trim())).collect::<Result<Vec<_>, _>>()?;
        if delays.len() > RetryPolicy::MOST_DELAYS {
            return Err(BadRetryPolicy::TooManyDelays { found: delays.len() });
        }
        Ok(RetryPolicy { max_attempts, delays })
    }

    /// How long to wait after `attempt`, from 1, has failed; `None` if it was the last.
    pub fn delay_after(&self, attempt: u32) -> Option<Duration> {
        if attempt >= self.max_attempts {
            return None;
        }
        let tier = usize::try_from(attempt.saturating_sub(1)).unwrap_or(usize::MAX);
        self.delays.get(tier).or(self.delays.last()).copied()
    }

    /// The delays that can occur; each names a queue.
    pub fn delays(&self) -> impl Iterator<Item = Duration> + '_ {
        let tries_again = usize::try_from(self.max_attempts.saturating_sub(1)).unwrap_or(usize::MAX);
        self.delays.iter().copied().take(tries_again)
    }
}

fn parse_delay(text: &str) -> Result<Duration, BadRetryPolicy> {
    let delay =
        humantime::parse_duration(text).map_err(|error| BadRetryPolicy::BadDelay { found: format!("{text:?}: {error}") })?;
    let whole = Duration::from_millis(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX));
    if whole.is_zero() || whole > RetryPolicy::LONGEST_DELAY {
        return Err(BadRetryPolicy::BadDelay { found: format!("{text:?}") });
    }
    Ok(whole)
}

impl Default for RetryPolicy {
    fn default() -> Self {
        let delays = [1, 10, 60, 600].map(Duration::from_secs).to_vec();
        RetryPolicy { max_attempts: RetryPolicy::MAX_ATTEMPTS, delays }
    }
}

/// `<attempts>;<delay>,<delay>,…`
impl fmt::Display for RetryPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let delays: Vec<String> = self.delays.iter().map(|&delay| delay_word(delay)).collect();
        write!(f, "{};{}", self.max_attempts, delays.join(","))
    }
}

/// A delay as one word, such as `1m` or `1h30m`: it is part of the name of a queue.
pub fn delay_word(delay: Duration) -> String {
    humantime::format_duration(delay).to_string().replace(' ', "")
}

impl FromStr for RetryPolicy {
    type Err = BadRetryPolicy;
    fn from_str(text: &str) -> Result<Self, BadRetryPolicy> {
        let bad = || BadRetryPolicy::BadForm { found: text.to_owned() };
        let (attempts, delays) = text.split_once(';').ok_or_else(bad)?;
        RetryPolicy::new(attempts.parse().map_err(|_| bad())?, delays)
    }
}

impl TryFrom<String> for RetryPolicy {
    type Error = BadRetryPolicy;
    fn try_from(text: String) -> Result<Self, BadRetryPolicy> {
        text.parse()
    }
}

impl From<RetryPolicy> for String {
    fn from(policy: RetryPolicy) -> String {
        policy.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_default_is_three_attempts_with_a_second_and_ten_between() {
        let policy = RetryPolicy::default();
        assert_eq!(RetryPolicy::new(RetryPolicy::MAX_ATTEMPTS, RetryPolicy::DELAYS), Ok(policy.clone()));
        let delays = [1, 2, 3, 4].map(|attempt| policy.delay_after(attempt));
        assert_eq!(delays, [Some(Duration::from_secs(1)), Some(Duration::from_secs(10)), None, None]);
    }

    #[test]
    fn a_policy_that_cannot_be_followed_is_refused_with_what_is_wrong() {
        for (attempts, delays, words) in
            [(0, "1s", "attempt"), (3, "", "delays"), (3, "0s", "0s"), (3, "2days", "2days"), (3, "1s,x", "\"x\"")]
        {
            let bad = RetryPolicy::new(attempts, delays).unwrap_err().to_string();
            assert!(bad.contains(words), "{bad}");
        }
        assert!(RetryPolicy::new(3, &["1s"; 9].join(",")).is_err());
    }

    proptest! {
        #[test]
        fn a_company_is_tried_as_often_as_the_policy_says_and_no_more(
            (most, delays) in (1_u32..50, proptest::collection::vec(1_u64..86_400_000, 1..8))
        ) {
            let delays: Vec<Duration> = delays.into_iter().map(Duration::from_millis).collect();
            let policy = RetryPolicy { max_attempts: most, delays: delays.clone() };
            let waits: Vec<Duration> = (1..100).map_while(|attempt| policy.delay_after(attempt)).collect();
            prop_assert_eq!(waits.len() + 1, most as usize);
            prop_assert!(waits.iter().zip(&delays).all(|(wait, delay)| wait == delay));
            prop_assert_eq!(policy.to_string().parse(), Ok(policy));
        }

        #[test]
        fn no_text_is_taken_for_a_policy_that_never_ends(text in ".{0,30}") {
            if let Ok(policy) = text.parse::<RetryPolicy>() {
                prop_assert_eq!(policy.delay_after(u32::MAX), None);
            }
        }
    }
}
