//! The producer's commands and flags.

use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use rollcall_shared::broker::BrokerArgs;
use rollcall_shared::message::{Job, Model};
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
    /// Fetch a finished job's results from the ledger, one row a company, in the order in which they came
    Results(ResultsArgs),
    /// Write synthetic companies as CSV, to try things out with
    Generate(GenerateArgs),
}

/// What to enqueue, and how.
#[derive(Debug, Clone, clap::Args)]
pub struct EnqueueArgs {
    /// CSV, JSON Lines or Parquet, each also gzip or zstd; - is standard input
    pub file: PathBuf,
    /// The model to score with; it names the work queue
    #[arg(long, short, env = "ROLLCALL_MODEL")]
    pub model: Model,
    /// The job's name [default: a unique one; later ones sort after earlier ones]
    #[arg(long, env = "ROLLCALL_JOB")]
    pub job: Option<Job>,
    /// Follow the job to its end; the exit code tells how it ended
    #[arg(long, env = "ROLLCALL_WAIT", value_parser = FalseyValueParser::new())]
    pub wait: bool,
    /// Read and check the whole file, report every bad row, and enqueue nothing
    #[arg(long, env = "ROLLCALL_DRY_RUN", value_parser = FalseyValueParser::new(), conflicts_with = "wait")]
    pub dry_run: bool,
    /// What the file holds [default: by its name; CSV for standard input]
    #[arg(long, env = "ROLLCALL_FORMAT", value_enum)]
    pub format: Option<Format>,
    /// The column with the company's own id [default: company_id, where there is one; else the row's index]
    #[arg(long, env = "ROLLCALL_ID_COLUMN")]
    pub id_column: Option<String>,
    /// Take a file in which two rows have the same id
    #[arg(long, env = "ROLLCALL_ALLOW_DUPLICATE_IDS", value_parser = FalseyValueParser::new())]
    pub allow_duplicate_ids: bool,
    /// The longest record let in, in bytes
    #[arg(long, env = "ROLLCALL_MAX_RECORD_BYTES", default_value_t = 1 << 20, value_parser = clap::value_parser!(u32).range(1..=MAX_RECORD_BYTES))]
    pub max_record_bytes: u32,
    /// high: ahead of every job of the same model with normal priority
    #[arg(long, env = "ROLLCALL_PRIORITY", value_enum, default_value = "normal")]
    pub priority: Priority,
}

/// RabbitMQ 4.x takes messages up to 16 MiB unless told otherwise.
const MAX_RECORD_BYTES: i64 = 15 << 20;

/// Which of a model's two queues a job's companies wait in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Priority {
    /// In turn.
    Normal,
    /// Ahead of the normal ones.
    High,
}

/// Which results to fetch, and where to.
#[derive(Debug, Clone, clap::Args)]
pub struct ResultsArgs {
    /// The job
    pub job: Job,
    /// Write all of them to this file: .jsonl, .csv or .parquet by its name [default: show a few]
    #[arg(long, env = "ROLLCALL_TO")]
    pub to: Option<PathBuf>,
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
    /// Write them to this file [default: standard output]
    #[arg(long, env = "ROLLCALL_TO")]
    pub to: Option<PathBuf>,
}
