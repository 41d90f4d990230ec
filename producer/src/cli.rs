//! The producer's commands and flags.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use chrono::DateTime;
use clap::builder::FalseyValueParser;
use rollcall_shared::broker::BrokerArgs;
use rollcall_shared::message::{
    Delimiter, Indices, Job, Model, Priority, Reading, RetryPolicy, Settings, Span, Timestamp, Tolerance,
};
use rollcall_shared::telemetry::LogArgs;

use crate::companies::Format;

/// Run a model over every company of a file, and know exactly when it is done.
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "producer", version)]
pub struct ProducerArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// The broker.
    #[command(flatten)]
    pub broker: BrokerArgs,
    /// Logs.
    #[command(flatten)]
    pub logs: LogArgs,
    /// What stdout carries: text for people, or one JSON document and nothing else
    #[arg(long, env = "ROLLCALL_OUTPUT", value_enum, default_value = "text", global = true)]
    pub output: Output,
}

/// What stdout carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// Text for people.
    Text,
    /// One JSON document.
    Json,
}

/// What the producer can be asked to do.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Command {
    /// Enqueue every company of a file as one job
    Enqueue(EnqueueArgs),
    /// Show how a job stands, or every job
    Status {
        /// The job; all of them if left out
        job: Option<Job>,
    },
    /// Follow a job to its end
    Watch {
        /// The job
        job: Job,
    },
    /// Show why companies of a job failed: by cause, with examples
    Failures {
        /// The job
        job: Job,
    },
    /// Fetch a finished job's results from the ledger, one row a company, in the order in which they came
    Results(ResultsArgs),
    /// Enqueue companies of a job that has ended again: the failed ones, or those that are named
    Redrive(RedriveArgs),
    /// End a job: what waits is not scored
    Cancel {
        /// The job
        job: Job,
    },
    /// Set a job's companies aside until it is resumed; other jobs of its model go on
    Pause {
        /// The job
        job: Job,
    },
    /// Go on with a paused job
    Resume {
        /// The job
        job: Job,
    },
    /// Write synthetic companies as CSV, to try things out with
    Generate(GenerateArgs),
}

/// Which of a model's two queues a job is to wait in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum PriorityChoice {
    /// By the size of its file.
    Auto,
    /// In turn.
    Normal,
    /// Ahead of the normal ones.
    High,
}

impl PriorityChoice {
    /// The priority of a job whose file is small, or is not.
    pub fn of(self, is_small: bool) -> Priority {
        match self {
            PriorityChoice::Auto if is_small => Priority::High,
            PriorityChoice::Auto | PriorityChoice::Normal => Priority::Normal,
            PriorityChoice::High => Priority::High,
        }
    }
}

/// What to enqueue, and how.
#[derive(Debug, Clone, clap::Args)]
pub struct EnqueueArgs {
    /// CSV, JSON Lines or Parquet, each also gzip or zstd; - is standard input
    pub file: PathBuf,
    /// The model to score with; it names the work queue
    #[arg(long, short, env = "ROLLCALL_MODEL", required_unless_present = "resume")]
    pub model: Option<Model>,
    /// The job's name [default: a unique one; later ones sort after earlier ones]
    #[arg(long, env = "ROLLCALL_JOB")]
    pub job: Option<Job>,
    /// Go on with a job whose producer was killed, with the same file; what was asked for then still holds
    #[arg(long, env = "ROLLCALL_RESUME", value_name = "JOB", conflicts_with = "job")]
    pub resume: Option<Job>,
    /// Follow the job to its end; the exit code tells how it ended
    #[arg(long, env = "ROLLCALL_WAIT", value_parser = FalseyValueParser::new())]
    pub wait: bool,
    /// Read and check the whole file, report every bad row, and enqueue nothing
    #[arg(long, env = "ROLLCALL_DRY_RUN", value_parser = FalseyValueParser::new())]
    pub dry_run: bool,
    /// What the file holds [default: by its name; CSV for standard input]
    #[arg(long, env = "ROLLCALL_FORMAT", value_enum)]
    pub format: Option<Format>,
    /// What stands between the fields of CSV: one character such as ; or |, or tab [default: as the file shows; tab for .tsv]
    #[arg(long, env = "ROLLCALL_DELIMITER")]
    pub delimiter: Option<Delimiter>,
    /// The columns that the model needs; the one with the ids is always read. May be given several times [default: all]
    #[arg(long, env = "ROLLCALL_COLUMNS", value_name = "NAME,...", value_delimiter = ',', value_parser = trimmed)]
    pub columns: Vec<String>,
    /// The column with the company's own id [default: company_id, where there is one; else the row's index]
    #[arg(long, env = "ROLLCALL_ID_COLUMN")]
    pub id_column: Option<String>,
    /// Take a file in which two rows have the same id
    #[arg(long, env = "ROLLCALL_ALLOW_DUPLICATE_IDS", value_parser = FalseyValueParser::new())]
    pub allow_duplicate_ids: bool,
    /// The longest record let in, in bytes [default: 1048576]
    #[arg(long, env = "ROLLCALL_MAX_RECORD_BYTES", value_parser = clap::value_parser!(u32).range(1..=MAX_RECORD_BYTES))]
    pub max_record_bytes: Option<u32>,
    /// high: ahead of every job of the same model with normal priority; auto: high for a file of fewer than 1,000 companies and 8 MiB,
    /// so that it does not wait behind large ones
    #[arg(long, env = "ROLLCALL_PRIORITY", value_enum, default_value = "auto")]
    pub priority: PriorityChoice,
    /// Attempts at a company whose failure may pass [default: as the consumer says, which says 3 unless told otherwise; 3,
    /// whatever it says, where --retry-delays is given]
    #[arg(long, env = "ROLLCALL_MAX_ATTEMPTS", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_attempts: Option<u32>,
    /// Delays between attempts, such as 1s,10s,1m; the last serves for all further ones [default: as the consumer says;
    /// 1s,10s,1m,10m, whatever it says, where --max-attempts is given]
    #[arg(long, env = "ROLLCALL_RETRY_DELAYS")]
    pub retry_delays: Option<String>,
    /// Failures with which the job still succeeds: a number of companies, or a part of the total such as 1%
    #[arg(long, env = "ROLLCALL_TOLERATE_FAILURES", default_value = "0")]
    pub tolerate_failures: Tolerance,
    /// End the job as soon as it has more failures than it tolerates; what waits then is not scored
    #[arg(long, env = "ROLLCALL_FAIL_FAST", value_parser = FalseyValueParser::new())]
    pub fail_fast: bool,
    /// End the job, as expired, if it is not done in this time, such as 2h, or by this time, with its offset from UTC, such as
    /// 2027-01-31T06:00:00+01:00
    #[arg(long, env = "ROLLCALL_DEADLINE", value_parser = deadline)]
    pub deadline: Option<Deadline>,
}

/// When a job is to be done by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deadline {
    /// So long after its opening has been read.
    Within(Span),
    /// At this time.
    At(Timestamp),
}

/// Of the year 9999: RFC 3339 has no later ones.
const LAST_SECOND: Duration = Duration::from_secs(253_402_300_799);

/// A time without an offset would be another one on a machine in another zone, so there is none.
fn deadline(text: &str) -> Result<Deadline, String> {
    let last = SystemTime::UNIX_EPOCH + LAST_SECOND;
    let deadline = match humantime::parse_duration(text) {
        Ok(length) => Span::of(length).filter(|_| at_the_end_of(length).is_some_and(|end| end <= last)).map(Deadline::Within),
        Err(_) => {
            let time = DateTime::parse_from_rfc3339(text).ok().map(SystemTime::from);
            time.filter(|time| *time > SystemTime::now() && *time <= last).map(|time| Deadline::At(Timestamp::of(time)))
        }
    };
    deadline.ok_or_else(|| {
        format!("expected a time to come, such as 2h, or with its offset from UTC 2027-01-31T06:00:00+01:00, found {text:?}")
    })
}

/// When a span that begins now is over; of one that no clock can tell the end of, nothing.
fn at_the_end_of(length: Duration) -> Option<SystemTime> {
    SystemTime::now().checked_add(length)
}

impl EnqueueArgs {
    /// What holds for the job, whose file's bytes hash to `content_hash`, and which is small or is not.
    ///
    /// # Errors
    /// Where it cannot, in words.
    pub fn settings(&self, content_hash: Option<String>, is_small: bool) -> Result<Settings, String> {
        let retry = match (self.max_attempts, &self.retry_delays) {
            (None, None) => None,
            (attempts, delays) => {
                let attempts = attempts.unwrap_or(RetryPolicy::MAX_ATTEMPTS);
                let delays = delays.as_deref().unwrap_or(RetryPolicy::DELAYS);
                Some(RetryPolicy::new(attempts, delays).map_err(|bad| format!("--retry-delays: {bad}"))?)
            }
        };
        let (deadline_at, deadline_seconds) = match self.deadline {
            Some(Deadline::Within(span)) => (at_the_end_of(span.length()).map(Timestamp::of), Some(span)),
            Some(Deadline::At(time)) => (Some(time), None),
            None => (None, None),
        };
        Ok(Settings {
            priority: self.priority.of(is_small),
            retry,
            tolerate_failures: self.tolerate_failures,
            fail_fast: self.fail_fast,
            deadline_at,
            deadline_seconds,
            content_hash,
            reading: self.reading(),
        })
    }

    /// How the file is to be read.
    pub fn reading(&self) -> Reading {
        Reading {
            format: self.format,
            delimiter: self.delimiter,
            columns: self.columns.clone(),
            id_column: self.id_column.clone(),
            allow_duplicate_ids: self.allow_duplicate_ids,
            max_record_bytes: self.max_record_bytes.unwrap_or(Reading::default().max_record_bytes),
        }
    }
}

/// The name of a column: blanks around it are no part of it, here as in a header.
fn trimmed(name: &str) -> Result<String, String> {
    match name.trim() {
        "" => Err("expected the name of a column, found nothing".to_owned()),
        name => Ok(name.to_owned()),
    }
}

/// Which companies to enqueue again, and with which records.
#[derive(Debug, Clone, clap::Args)]
pub struct RedriveArgs {
    /// The job
    pub job: Job,
    /// Those that failed for this cause; may be given several times, and adds to what else is named [default: all that failed]
    #[arg(long, env = "ROLLCALL_CAUSE", value_name = "CAUSE")]
    pub cause: Vec<String>,
    /// These, whatever they came to: indices such as 3 or 3,17-20
    #[arg(long, env = "ROLLCALL_INDEX", value_name = "INDICES")]
    pub index: Option<Indices>,
    /// Those without an outcome
    #[arg(long, env = "ROLLCALL_MISSING", value_parser = FalseyValueParser::new())]
    pub missing: bool,
    /// Take the records from this file [default: from the failed results, as they were]
    #[arg(long, env = "ROLLCALL_FILE")]
    pub file: Option<PathBuf>,
    /// What the file holds [default: as the job was told, else by its name]
    #[arg(long, env = "ROLLCALL_FORMAT", value_enum)]
    pub format: Option<Format>,
    /// What stands between the fields of CSV: one character such as ; or |, or tab [default: as the job was told, else as the file shows]
    #[arg(long, env = "ROLLCALL_DELIMITER")]
    pub delimiter: Option<Delimiter>,
    /// The columns that the model needs; the one with the ids is always read. May be given several times [default: as the job was told, else all]
    #[arg(long, env = "ROLLCALL_COLUMNS", value_name = "NAME,...", value_delimiter = ',', value_parser = trimmed)]
    pub columns: Vec<String>,
    /// The file's column with the company's own id [default: as the job was told; else company_id, where there is one; else the
    /// row's index]
    #[arg(long, env = "ROLLCALL_ID_COLUMN")]
    pub id_column: Option<String>,
    /// Follow the job to its end; the exit code tells how it ended
    #[arg(long, env = "ROLLCALL_WAIT", value_parser = FalseyValueParser::new())]
    pub wait: bool,
}

/// RabbitMQ 4.x takes messages up to 16 MiB unless told otherwise.
pub(crate) const MAX_RECORD_BYTES: i64 = 15 << 20;

/// Which results to fetch, and where to.
#[derive(Debug, Clone, clap::Args)]
pub struct ResultsArgs {
    /// The job
    pub job: Job,
    /// Write all of them to this file: .csv, .tsv, .jsonl, .ndjson or .parquet by its name, each also .gz or .zst; - is standard
    /// output, as CSV [default: show a few]
    #[arg(long, env = "ROLLCALL_TO")]
    pub to: Option<PathBuf>,
    /// The format of the file that --to names [default: by its name; CSV for standard output]
    #[arg(long, value_enum, requires = "to")]
    pub format: Option<Format>,
    /// How many to show where they go to no file
    #[arg(long, env = "ROLLCALL_SHOW", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..), conflicts_with = "to")]
    pub show: u32,
    /// Fetch what is there of a job that has not ended
    #[arg(long, env = "ROLLCALL_PARTIAL", value_parser = FalseyValueParser::new())]
    pub partial: bool,
}

/// Which companies to make up.
#[derive(Debug, Clone, clap::Args)]
pub struct GenerateArgs {
    /// How many
    #[arg(long, env = "ROLLCALL_COMPANIES", value_parser = clap::value_parser!(u32).range(1..))]
    pub companies: u32,
    /// The same seed gives the same companies, everywhere
    #[arg(long, env = "ROLLCALL_SEED", default_value_t = 1)]
    pub seed: u64,
    /// Write them to this file: .csv, also .gz or .zst; - is standard output [default: standard output]
    #[arg(long, env = "ROLLCALL_TO")]
    pub to: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_a_duration_or_a_time_with_its_offset() {
        for same in ["2999-01-31T06:00:00Z", "2999-01-31t07:30:00.000+01:30", "2999-01-30T22:00:00-08:00"] {
            assert_eq!(deadline(same), Ok(Deadline::At("2999-01-31T06:00:00Z".parse().unwrap())), "{same}");
        }
        assert_eq!(deadline("2h 30m"), Ok(Deadline::Within(Span::of(Duration::from_secs(9_000)).unwrap())));
        for bad in [
            "2999-01-31T06:00:00",
            "2999-01-31 06:00:00",
            "2999-01-31",
            "2999-01-31T06:00Z",
            "2999-02-30T06:00:00Z",
            "2999-01-31T06:00:00 Europe/Berlin",
            "2001-01-31T06:00:00+01:00",
            "9999-12-31T23:59:59-12:00",
            "+12000-01-01T00:00:00Z",
            "9000years",
            "0s",
            "tomorrow",
            "",
        ] {
            let refused = deadline(bad).unwrap_err();
            assert!(refused.contains(&format!("{bad:?}")) && refused.contains("+01:00"), "{refused}");
        }
    }
}
