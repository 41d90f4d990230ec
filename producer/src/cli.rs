//! The producer's commands and flags.

mod column_name;
mod deadline;
mod enqueue;
mod failures;
mod reading;
mod redrive;
mod results_to;
mod score;
mod serve;

use clap::builder::FalseyValueParser;
use rollcall_shared::broker::BrokerArgs;
use rollcall_shared::message::{Format, Job};
use rollcall_shared::telemetry::LogArgs;

pub use deadline::Deadline;
pub use enqueue::{EnqueueArgs, PriorityChoice};
pub use failures::FailureArgs;
pub(crate) use reading::MAX_RECORD_BYTES;
pub use reading::ReadingArgs;
pub use redrive::RedriveArgs;
pub use results_to::ResultsTo;
pub use score::ScoreArgs;
pub use serve::ServeArgs;

use crate::location::Location;

/// Run a model over every company of a file, and know exactly when it is done
#[derive(Debug, Clone, clap::Parser)]
#[command(
    name = "producer",
    version,
    after_help = "Examples:
  producer enqueue companies.csv --model risk --wait
  producer status
  producer help enqueue"
)]
pub struct ProducerArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// The broker.
    #[command(flatten, next_help_heading = "Broker")]
    pub broker: BrokerArgs,
    /// What standard output carries: text for people, or one JSON document and nothing else
    #[arg(long, env = "ROLLCALL_OUTPUT", value_enum, default_value = "text", global = true, help_heading = "Output and logs")]
    pub output: Output,
    /// Logs.
    #[command(flatten, next_help_heading = "Output and logs")]
    pub logs: LogArgs,
}

/// What standard output carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// Text for people.
    Text,
    /// One JSON document.
    Json,
}

/// A command, with its arguments.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Command {
    /// Enqueue every company of a file as one job
    #[command(after_help = "Examples:
  producer enqueue companies.csv --model risk --wait
  producer enqueue s3://bucket/companies.parquet --model risk --wait
  zcat companies.jsonl.gz | producer enqueue - --format jsonl --model risk --job nightly-0131")]
    Enqueue(EnqueueArgs),
    /// Score a file on this machine and write the results, with a broker, an aggregator and consumers that end with this command
    #[command(after_help = "Examples:
  producer score companies.csv --scorer bayes:network.bif --to results.parquet
  producer score companies.csv --scorer \"command:python3 score.py\" --to results.csv -- --batch 256

Without AMQP_URL it starts a RabbitMQ of its own, which must be installed. What follows -- are flags of each consumer.")]
    Score(ScoreArgs),
    /// Show the status of a job, or of every job
    #[command(after_help = "Examples:
  producer status
  producer status nightly-0131 --output json | jq .state")]
    Status {
        /// The job [default: every job]
        job: Option<Job>,
    },
    /// Follow a job to its end; the exit code says how it ended
    #[command(after_help = "Example:
  producer watch nightly-0131")]
    Watch {
        /// The job
        job: Job,
    },
    /// Fetch a job's results from the ledger, one row per company, in the order in which they came
    #[command(after_help = "Examples:
  producer results nightly-0131 --to results.parquet
  producer results nightly-0131 --to s3://bucket/nightly/results.parquet
  producer results nightly-0131 --to - --format jsonl | jq .outcome")]
    Results(ResultsArgs),
    /// Show why companies of a job failed: by cause, with examples
    #[command(after_help = "Example:
  producer failures nightly-0131")]
    Failures {
        /// The job
        job: Job,
    },
    /// Enqueue some companies of an ended job again: the failed ones, or selected ones
    #[command(after_help = "Examples:
  producer redrive nightly-0131 --cause timeout --wait
  producer redrive nightly-0131 --missing --file companies.csv")]
    Redrive(RedriveArgs),
    /// End a job: companies that wait are not scored
    #[command(after_help = "Example:
  producer cancel nightly-0131")]
    Cancel {
        /// The job
        job: Job,
    },
    /// Set a job's companies aside until it is resumed; other jobs of its model go on
    #[command(after_help = "Example:
  producer pause nightly-0131")]
    Pause {
        /// The job
        job: Job,
    },
    /// Resume a paused job
    #[command(after_help = "Example:
  producer resume nightly-0131")]
    Resume {
        /// The job
        job: Job,
    },
    /// Run the gateway: a page and an API for uploads, jobs that start by themselves, results that follow, webhooks
    #[command(after_help = "Examples:
  producer serve
  producer serve --listen 0.0.0.0:8443 --config gateway.toml
  producer serve --config gateway.toml --check")]
    Serve(ServeArgs),
    /// Write synthetic companies as CSV, to try things out with
    #[command(after_help = "Example:
  producer generate --companies 1000 --to companies.csv")]
    Generate(GenerateArgs),
}

impl Command {
    /// Whether it uses a broker that runs already.
    pub(crate) fn uses_broker(&self) -> bool {
        !matches!(
            self,
            Command::Enqueue(EnqueueArgs { dry_run: true, .. })
                | Command::Generate(_)
                | Command::Score(_)
                | Command::Serve(ServeArgs { check: true, .. })
        )
    }
}

const RESULTS: &str = "Results";

/// Which results to fetch, and where to write them.
#[derive(Debug, Clone, clap::Args)]
pub struct ResultsArgs {
    /// The job
    pub job: Job,
    /// Write all results to this file, or to an object (s3://, gs://, az://): .csv, .tsv, .jsonl, .ndjson or .parquet by its name, each
    /// also .gz or .zst, with a manifest beside it; - is standard output, as CSV [default: show a few]
    #[arg(long, env = "ROLLCALL_TO", help_heading = RESULTS)]
    pub to: Option<Location>,
    /// The format of the file that --to names [default: by its name; CSV for standard output]
    #[arg(long, value_enum, requires = "to", help_heading = RESULTS)]
    pub format: Option<Format>,
    /// Fetch the results so far of a job that has not ended
    #[arg(long, value_parser = FalseyValueParser::new(), help_heading = RESULTS)]
    pub partial: bool,
    /// How many results to show if they go to no file
    #[arg(long, env = "ROLLCALL_SHOW", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..), conflicts_with = "to", help_heading = RESULTS)]
    pub show: u32,
}

/// Which companies to generate, and where to write them.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Companies")]
pub struct GenerateArgs {
    /// How many companies
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub companies: u32,
    /// Write them to this file or object: .csv, also .gz or .zst; - is standard output [default: standard output]
    #[arg(long)]
    pub to: Option<Location>,
    /// The same seed gives the same companies, on every machine
    #[arg(long, default_value_t = Self::SEED)]
    pub seed: u64,
}

impl GenerateArgs {
    pub(crate) const SEED: u64 = 1;
}

impl ProducerArgs {
    /// Whether a signal may end the process at any point: the command leaves nothing behind that it would have to clean up.
    pub fn may_be_killed(&self) -> bool {
        match &self.command {
            Command::Enqueue(enqueue) => enqueue.dry_run,
            Command::Status { .. } | Command::Cancel { .. } | Command::Pause { .. } | Command::Resume { .. } => true,
            Command::Watch { .. }
            | Command::Score(_)
            | Command::Results(_)
            | Command::Failures { .. }
            | Command::Redrive(_)
            | Command::Serve(_)
            | Command::Generate(_) => false,
        }
    }
}
