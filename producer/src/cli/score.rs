//! The flags of `producer score`.

use std::path::PathBuf;

use rollcall_shared::message::{Format, Model};

use super::failures::FailureArgs;
use super::reading::ReadingArgs;

const SCORING: &str = "Scoring";
const RESULTS: &str = "Results";

/// Which file to score, by what, and where to write the results.
#[derive(Debug, Clone, clap::Args)]
pub struct ScoreArgs {
    /// CSV, JSON Lines or Parquet, each also gzip or zstd; - is standard input
    pub file: PathBuf,
    /// The scorer: bayes:PATH.bif, a network in BIF or XMLBIF, also in gzip; or "command:PROGRAM ARGUMENT ..."
    #[arg(long, env = "ROLLCALL_SCORER", value_name = "KIND:TARGET", help_heading = SCORING)]
    pub scorer: String,
    /// Consumers at most [default: as many as there are cores for their threads]
    #[arg(long, env = "ROLLCALL_MAX", value_parser = clap::value_parser!(u16).range(1..), help_heading = SCORING)]
    pub max: Option<u16>,
    /// The name by which work is routed; with AMQP_URL it must be given, and must be used for this scorer alone [default: score]
    #[arg(long, short, env = "ROLLCALL_MODEL", help_heading = SCORING)]
    pub model: Option<Model>,
    /// Write all results to this file: .csv, .tsv, .jsonl, .ndjson or .parquet by its name, each also .gz or .zst; - is standard
    /// output, as CSV
    #[arg(long, env = "ROLLCALL_TO", help_heading = RESULTS)]
    pub to: PathBuf,
    /// The format of the file that --to names [default: by its name; CSV for standard output]
    #[arg(long, value_enum, help_heading = RESULTS)]
    pub results_format: Option<Format>,
    /// How to read the file.
    #[command(flatten)]
    pub reading: ReadingArgs,
    /// What failures lead to, and when the job ends at the latest.
    #[command(flatten)]
    pub failures: FailureArgs,
    /// Flags of each consumer, such as --threads 2
    #[arg(last = true, value_name = "CONSUMER'S FLAGS")]
    pub consumer_flags: Vec<String>,
}
