//! The consumer's flags.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::FalseyValueParser;
use humantime::format_duration;
use rollcall_shared::broker::BrokerArgs;
use rollcall_shared::duration::parse_positive;
use rollcall_shared::lifecycle::LifetimeArgs;
use rollcall_shared::message::{BadRetryPolicy, Model, RetryPolicy};
use rollcall_shared::telemetry::{LogArgs, MetricsArgs};
use rollcall_shared::topology::DELIVERY_LIMIT;

/// Beyond its own time-out, how long a scorer may take before its worker is replaced: killing a child process and starting another takes
/// less.
const STUCK_AFTER: Duration = Duration::from_secs(15);

const SCORING: &str = "Model and scorer";
const BAYES: &str = "Scorer bayes";
const HOLDING: &str = "Holding work";
const FAILURES: &str = "Failures";

/// Score the companies of a model, from its work queue to the results exchange; start as many as there are cores to use
#[derive(Debug, Clone, clap::Parser)]
#[command(
    name = "consumer",
    version,
    after_help = "Examples:
  consumer --model risk --scorer bayes:network.bif
  consumer --model risk --scorer \"command:python3 score.py\" --threads 4 --metrics-addr 0.0.0.0:9464"
)]
pub struct ConsumerArgs {
    /// The model whose companies to score; it names the work queue
    #[arg(long, env = "ROLLCALL_MODEL", help_heading = SCORING)]
    pub model: Model,
    /// The scorer: bayes:PATH.bif, a network in BIF or XMLBIF, also in gzip; or "command:PROGRAM ARGUMENT ..."
    #[arg(long, env = "ROLLCALL_SCORER", value_name = "KIND:TARGET", help_heading = SCORING)]
    pub scorer: ScorerSpec,
    /// Threads that score, each with a scorer of its own [default: one per core]
    #[arg(long, env = "ROLLCALL_THREADS", value_parser = clap::value_parser!(u16).range(1..), help_heading = SCORING)]
    pub threads: Option<u16>,
    /// How long a scorer may take to answer, such as 500ms or 2m, for a batch and then for each of its companies alone; the start of a
    /// new process counts
    #[arg(long, env = "ROLLCALL_SCORE_TIMEOUT", default_value = "60s", value_parser = parse_positive, help_heading = SCORING)]
    pub score_timeout: Duration,
    /// Particles sampled for each company; the standard error of a probability p is at least sqrt(p(1-p)/particles)
    #[arg(long, env = "ROLLCALL_PARTICLES", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..), help_heading = BAYES)]
    pub particles: u32,
    /// Predict the probability of every state, in place of the most probable state and its probability
    #[arg(long, env = "ROLLCALL_DISTRIBUTIONS", value_parser = FalseyValueParser::new(), help_heading = BAYES)]
    pub distributions: bool,
    /// Score companies without any field that is named like a variable, by the network alone [default: they fail with cause
    /// no_features, unless a company of their job was seen to have such a field]
    #[arg(long, env = "ROLLCALL_ALLOW_NO_EVIDENCE", value_parser = FalseyValueParser::new(), help_heading = BAYES)]
    pub allow_no_evidence: bool,
    /// How much work to hold for each thread, such as 500ms or 1m, at the measured speed, of each of the two work queues (normal
    /// and express); the rest is left to other consumers. At least one company, or four batches where larger ones are faster.
    /// Before the first company is scored, a company counts as 1 s
    #[arg(long, env = "ROLLCALL_HOLD", default_value = "2s", value_parser = parse_positive, help_heading = HOLDING)]
    pub hold: Duration,
    /// Companies of one queue to hold at most, whatever the speed
    #[arg(long, env = "ROLLCALL_PREFETCH", default_value_t = 512, value_parser = clap::value_parser!(u16).range(1..), help_heading = HOLDING)]
    pub prefetch: u16,
    /// Companies handed to a scorer at once, at most; fewer if they would take longer than a twentieth of --hold and be no faster
    #[arg(long, env = "ROLLCALL_BATCH", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..), help_heading = HOLDING)]
    pub batch: u16,
    /// On SIGTERM or Ctrl-C: how long to go on with what is being scored
    #[arg(long, env = "ROLLCALL_GRACE", default_value = "30s", value_parser = parse_positive, help_heading = HOLDING)]
    pub grace: Duration,
    /// The broker's consumer_timeout: the broker takes back what is held for longer
    #[arg(long, env = "ROLLCALL_CONSUMER_TIMEOUT", default_value = "30m", value_parser = parse_positive, help_heading = HOLDING)]
    pub consumer_timeout: Duration,
    /// Attempts at a company whose failure may be temporary, unless its job says otherwise
    #[arg(long, env = "ROLLCALL_MAX_ATTEMPTS", default_value_t = RetryPolicy::MAX_ATTEMPTS, value_parser = clap::value_parser!(u32).range(1..), help_heading = FAILURES)]
    pub max_attempts: u32,
    /// Delays between attempts, unless the job says otherwise; the last serves for all further ones
    #[arg(long, env = "ROLLCALL_RETRY_DELAYS", default_value = RetryPolicy::DELAYS, help_heading = FAILURES)]
    pub retry_delays: String,
    /// Deliveries of a company without an answer, each most likely the death of a consumer, before it is given up; one more if
    /// it has not yet been scored alone
    #[arg(long, env = "ROLLCALL_MAX_DELIVERIES", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=i64::from(DELIVERY_LIMIT)), help_heading = FAILURES)]
    pub max_deliveries: u16,
    /// What it ends with.
    #[command(flatten)]
    pub lifetime: LifetimeArgs,
    /// Its number in its fleet, for its log lines
    #[arg(long, hide = true, value_name = "N", help_heading = "Metrics and logs")]
    pub fleet_number: Option<u16>,
    /// The broker.
    #[command(flatten, next_help_heading = "Broker")]
    pub broker: BrokerArgs,
    /// Metrics and health.
    #[command(flatten, next_help_heading = "Metrics and logs")]
    pub metrics: MetricsArgs,
    /// Logs.
    #[command(flatten, next_help_heading = "Metrics and logs")]
    pub logs: LogArgs,
}

impl ConsumerArgs {
    /// The number of scoring threads: the flag, or the number of cores.
    pub fn threads(&self) -> usize {
        self.threads.map_or_else(|| std::thread::available_parallelism().map_or(1, usize::from), usize::from)
    }

    /// The retry policy for jobs that have none of their own.
    ///
    /// # Errors
    /// Bad `--retry-delays` or `--max-attempts`.
    pub fn retry_policy(&self) -> Result<RetryPolicy, BadRetryPolicy> {
        RetryPolicy::new(self.max_attempts, &self.retry_delays)
    }

    /// How long a call of the scorer may take before its worker is replaced.
    pub(crate) fn call_timeout(&self) -> Duration {
        self.score_timeout.saturating_add(STUCK_AFTER)
    }

    /// Checks that no company is held for as long as the broker's consumer timeout: it waits for at most half of that, and is then scored
    /// in its batch and once more alone.
    ///
    /// # Errors
    /// A company may be held for longer.
    pub fn check_holding_time(&self) -> Result<(), HeldTooLong> {
        let (wait, limit, call) = (self.consumer_timeout / 2, self.consumer_timeout, self.call_timeout());
        let longest = wait.saturating_add(call.saturating_mul(2));
        if longest < limit { Ok(()) } else { Err(HeldTooLong { wait, call, longest, limit }) }
    }
}

/// The broker's consumer timeout may end while a company is being scored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected a company to be held for less than the broker's consumer timeout, found {} to wait at most + 2 x {} to score (in its batch, then alone, each with {} to see that it hangs) = {} of {}: lower --score-timeout below {}, or raise consumer_timeout on the broker and set --consumer-timeout to it",
    format_duration(*.wait),
    format_duration(*.call),
    format_duration(STUCK_AFTER),
    format_duration(*.longest),
    format_duration(*.limit),
    format_duration((*.limit / 4).saturating_sub(STUCK_AFTER))
)]
pub struct HeldTooLong {
    /// The longest wait for a worker.
    wait: Duration,
    /// The longest call of a scorer.
    call: Duration,
    longest: Duration,
    limit: Duration,
}

/// A kind of scorer, and what it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScorerSpec {
    /// A Bayesian network in a file.
    Bayes(PathBuf),
    /// A program and its arguments.
    Command(Vec<String>),
}

impl ScorerSpec {
    /// How to try this kind of scorer by hand: part of the error of a consumer whose scorer never works.
    pub(crate) fn how_to_try(&self) -> &'static str {
        match self {
            ScorerSpec::Bayes(_) => "a network that loads should score any record: report this, with the network and a record",
            ScorerSpec::Command(_) => r#"run it with the line {"id":"1","instances":[{…}]} on its input, and fix it"#,
        }
    }
}

impl fmt::Display for ScorerSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ScorerSpec::Bayes(path) => write!(f, "{}", path.display()),
            ScorerSpec::Command(words) => f.write_str(&words.join(" ")),
        }
    }
}

/// A text that names no scorer.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadScorerSpec {
    /// `command:` without a program.
    #[error("expected a program after 'command:', found nothing")]
    NoProgram,
    /// `command:` with quotes that do not match.
    #[error("expected a command line after 'command:', found {line:?}: {error}")]
    BadCommandLine {
        /// What follows `command:`.
        line: String,
        /// What is wrong with it.
        error: String,
    },
    /// Another kind, or none.
    #[error("expected bayes:PATH.bif or \"command:PROGRAM ARGUMENT ...\", found {0:?}")]
    UnknownKind(String),
}

impl FromStr for ScorerSpec {
    type Err = BadScorerSpec;

    fn from_str(spec: &str) -> Result<Self, BadScorerSpec> {
        match spec.split_once(':') {
            Some(("bayes", path)) if !path.is_empty() => Ok(ScorerSpec::Bayes(path.into())),
            Some(("command", line)) => match shell_words::split(line) {
                Ok(words) if !words.is_empty() => Ok(ScorerSpec::Command(words)),
                Ok(_) => Err(BadScorerSpec::NoProgram),
                Err(error) => Err(BadScorerSpec::BadCommandLine { line: line.to_owned(), error: error.to_string() }),
            },
            _ => Err(BadScorerSpec::UnknownKind(spec.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[test]
    fn a_scorer_is_named_by_its_kind_and_target() {
        assert_eq!("bayes:a/b.bif".parse(), Ok(ScorerSpec::Bayes("a/b.bif".into())));
        let words = ["python3", "my score.py", "-v"].map(str::to_owned).to_vec();
        assert_eq!("command:python3 'my score.py' -v".parse(), Ok(ScorerSpec::Command(words)));
        for bad in ["", "bayes", "bayes:", "command:", "command:'", "magic:x"] {
            assert!(bad.parse::<ScorerSpec>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_scorer_that_may_hold_a_company_for_too_long_is_refused_with_the_arithmetic() {
        let args = |more: &[&str]| {
            let least = ["consumer", "--model", "m", "--scorer", "command:cat"];
            ConsumerArgs::try_parse_from(least.iter().chain(more)).unwrap()
        };
        assert_eq!(args(&[]).check_holding_time(), Ok(()));
        let refused = args(&["--score-timeout", "10m"]).check_holding_time().unwrap_err().to_string();
        assert!(refused.contains("15m to wait at most + 2 x 10m 15s") && refused.contains("= 35m 30s of 30m"), "{refused}");
        assert_eq!(args(&["--score-timeout", "10m", "--consumer-timeout", "2h"]).check_holding_time(), Ok(()));
        assert!(args(&["--score-timeout", "500000000000years"]).check_holding_time().is_err());
    }
}
