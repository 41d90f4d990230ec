//! The flags of `producer enqueue`.

use clap::builder::FalseyValueParser;
use rollcall_shared::message::{Job, Model, Priority, Settings};

use super::deadline::Deadline;
use super::failures::FailureArgs;
use super::reading::ReadingArgs;
use super::results_to::ResultsTo;
use crate::error::ProducerError;
use crate::location::Location;

const JOB: &str = "Job";

/// Which file to enqueue, and how.
#[derive(Debug, Clone, clap::Args)]
pub struct EnqueueArgs {
    /// CSV, JSON Lines or Parquet, each also gzip or zstd: a path, a URL (s3://, gs://, az://, https://), or - for standard input
    pub file: Location,
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
    /// Let a gateway (`producer serve`) write the results to this path or URL once the job has ended; {job}, {model} and {name} in it stand
    /// for the job's, the model's and the file's name
    #[arg(long, env = "ROLLCALL_RESULTS_TO", help_heading = JOB)]
    pub results_to: Option<ResultsTo>,
    /// How to read the file.
    #[command(flatten)]
    pub reading: ReadingArgs,
    /// What failures lead to, and when the job ends at the latest.
    #[command(flatten)]
    pub failures: FailureArgs,
}

/// Which of a model's two queues a job waits in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PriorityChoice {
    /// By the size of the file.
    #[default]
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
    /// [`ProducerError::Usage`] if `--retry-delays` are none, or the deadline has passed.
    pub fn settings(&self, content_hash: Option<String>, is_small: bool) -> Result<Settings, ProducerError> {
        let FailureArgs { tolerate_failures, fail_fast, deadline, .. } = self.failures;
        let deadline = deadline.map(Deadline::at_and_span).transpose();
        let (deadline_at, deadline_seconds) =
            deadline.map_err(|bad| ProducerError::Usage(format!("--deadline: {bad}")))?.unwrap_or_default();
        Ok(Settings {
            priority: self.priority.resolve(is_small),
            retry: self.failures.retry_policy()?,
            tolerate_failures,
            fail_fast,
            deadline_at,
            deadline_seconds,
            content_hash,
            reading: self.reading.reading(),
            results_to: None,
            received_by: None,
        })
    }
}
