//! The flags that say what failures lead to, and when a job ends at the latest.

use clap::builder::FalseyValueParser;
use rollcall_shared::message::{RetryPolicy, Tolerance};

use super::deadline::Deadline;
use crate::error::ProducerError;

const FAILURES: &str = "Failures and deadline";

/// What failures lead to, and when a job ends at the latest.
#[derive(Debug, Clone, clap::Args)]
pub struct FailureArgs {
    /// Failures with which the job still succeeds: a number of companies, or a part of the total such as 1%
    #[arg(long, env = "ROLLCALL_TOLERATE_FAILURES", default_value = "0", help_heading = FAILURES)]
    pub tolerate_failures: Tolerance,
    /// End the job as soon as it has more failures than it tolerates; companies that wait then are not scored
    #[arg(long, env = "ROLLCALL_FAIL_FAST", value_parser = FalseyValueParser::new(), help_heading = FAILURES)]
    pub fail_fast: bool,
    /// End the job, as expired, if it is not done in this time, such as 2h, or by this time, with its offset from UTC, such as
    /// 2027-01-31T06:00:00+01:00
    #[arg(long, env = "ROLLCALL_DEADLINE", help_heading = FAILURES)]
    pub deadline: Option<Deadline>,
    /// Attempts at a company whose failure may be temporary [default: the consumer's setting; 3 if --retry-delays is given]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..), help_heading = FAILURES)]
    pub max_attempts: Option<u32>,
    /// Delays between attempts, such as 1s,10s,1m; the last serves for all further ones [default: the consumer's setting;
    /// 1s,10s,1m,10m if --max-attempts is given]
    #[arg(long, help_heading = FAILURES)]
    pub retry_delays: Option<String>,
}

impl FailureArgs {
    /// How often and when to try again; `None` leaves it to the consumers.
    ///
    /// # Errors
    /// [`ProducerError::Usage`] if `--retry-delays` are none.
    pub(super) fn retry_policy(&self) -> Result<Option<RetryPolicy>, ProducerError> {
        if self.max_attempts.is_none() && self.retry_delays.is_none() {
            return Ok(None);
        }
        let attempts = self.max_attempts.unwrap_or(RetryPolicy::MAX_ATTEMPTS);
        let delays = self.retry_delays.as_deref().unwrap_or(RetryPolicy::DELAYS);
        let policy = RetryPolicy::new(attempts, delays);
        policy.map(Some).map_err(|bad| ProducerError::Usage(format!("--retry-delays: {bad}")))
    }
}
