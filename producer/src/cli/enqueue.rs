//! The flags of `producer enqueue`.

use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use rollcall_shared::message::{Delimiter, Format, Job, Model, Priority, Reading, RetryPolicy, Settings, Tolerance};

use super::column_name::column_name;
use super::deadline::Deadline;
use crate::error::ProducerError;

const JOB: &str = "Job";
const FILE: &str = "File";
const FAILURES: &str = "Failures and deadline";

/// The longest record that may be allowed, in bytes: RabbitMQ 4.x takes messages up to 16 MiB unless configured otherwise.
pub(crate) const MAX_RECORD_BYTES: i64 = 15 << 20;

/// Which file to enqueue, and how.
#[derive(Debug, Clone, clap::Args)]
pub struct EnqueueArgs {
    /// CSV, JSON Lines or Parquet, each also gzip or zstd; - is standard input
    pub file: PathBuf,
    /// The model to score with; it names the work queue
    #[arg(long, short, env = "ROLLCALL_MODEL", required_unless_present = "continue_job", help_heading = JOB)]
    pub model: Option<Model>,
    /// The job's name [default: a unique one; later ones sort after earlier ones]
    #[arg(long, help_heading = JOB)]
    pub job: Option<Job>,
    /// Follow the job to its end; the exit code says how it ended
    #[arg(long, env = "ROLLCALL_WAIT", value_parser = FalseyValueParser::new(), help_heading = JOB)]
    pub wait: bool,
    /// Read and check the whole file, report every bad row, and enqueue nothing
    #[arg(long, value_parser = FalseyValueParser::new(), help_heading = JOB)]
    pub dry_run: bool,
    /// Continue a job whose producer was killed, with the same file and the settings with which the job was opened
    #[arg(long = "continue", alias = "resume", value_name = "JOB", conflicts_with_all = ["job", "dry_run"], help_heading = JOB)]
    pub continue_job: Option<Job>,
    /// high: ahead of every job of the same model with normal priority; auto: high for a file of fewer than 1,000 companies and 8 MiB,
    /// so that it does not wait behind large ones
    #[arg(long, env = "ROLLCALL_PRIORITY", value_enum, default_value = "auto", help_heading = JOB)]
    pub priority: PriorityChoice,
    /// The file's format [default: by its name; CSV for standard input]
    #[arg(long, env = "ROLLCALL_FORMAT", value_enum, help_heading = FILE)]
    pub format: Option<Format>,
    /// The column with the company's own id [default: company_id if there is one, else the row's index]
    #[arg(long, env = "ROLLCALL_ID_COLUMN", help_heading = FILE)]
    pub id_column: Option<String>,
    /// The columns that the model needs; the one with the ids is always read. May be given several times [default: all]
    #[arg(long, env = "ROLLCALL_COLUMNS", value_name = "NAME,...", value_delimiter = ',', value_parser = column_name, help_heading = FILE)]
    pub columns: Vec<String>,
    /// The character between the fields of CSV, such as ; or |, or tab [default: detected; tab for .tsv]
    #[arg(long, env = "ROLLCALL_DELIMITER", help_heading = FILE)]
    pub delimiter: Option<Delimiter>,
    /// Accept a file in which two rows have the same id
    #[arg(long, env = "ROLLCALL_ALLOW_DUPLICATE_IDS", value_parser = FalseyValueParser::new(), help_heading = FILE)]
    pub allow_duplicate_ids: bool,
    /// The longest accepted record, in bytes [default: 1048576]
    #[arg(long, env = "ROLLCALL_MAX_RECORD_BYTES", value_parser = clap::value_parser!(u32).range(1..=MAX_RECORD_BYTES), help_heading = FILE)]
    pub max_record_bytes: Option<u32>,
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

/// Which of a model's two queues a job waits in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum PriorityChoice {
    /// By the size of the file.
    Auto,
    /// In turn.
    Normal,
    /// Ahead of normal jobs.
    High,
}

impl PriorityChoice {
    fn resolve(self, is_small: bool) -> Priority {
        match self {
            PriorityChoice::Auto if is_small => Priority::High,
            PriorityChoice::Auto | PriorityChoice::Normal => Priority::Normal,
            PriorityChoice::High => Priority::High,
        }
    }
}

impl EnqueueArgs {
    /// The settings of a job whose file has this hash, and is small or not.
    ///
    /// # Errors
    /// [`ProducerError::Usage`] if `--retry-delays` are none.
    pub fn settings(&self, content_hash: Option<String>, is_small: bool) -> Result<Settings, ProducerError> {
        let retry = match (self.max_attempts, &self.retry_delays) {
            (None, None) => None,
            (attempts, delays) => {
                let attempts = attempts.unwrap_or(RetryPolicy::MAX_ATTEMPTS);
                let delays = delays.as_deref().unwrap_or(RetryPolicy::DELAYS);
                let policy = RetryPolicy::new(attempts, delays);
                Some(policy.map_err(|bad| ProducerError::Usage(format!("--retry-delays: {bad}")))?)
            }
        };
        let (deadline_at, deadline_seconds) = self.deadline.map_or((None, None), Deadline::at_and_span);
        Ok(Settings {
            priority: self.priority.resolve(is_small),
            retry,
            tolerate_failures: self.tolerate_failures,
            fail_fast: self.fail_fast,
            deadline_at,
            deadline_seconds,
            content_hash,
            reading: self.reading(),
        })
    }

    /// How to read the file.
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
