//! The flags of `producer score`.

use rollcall_shared::message::{Format, Model};

use super::failures::FailureArgs;
use super::reading::ReadingArgs;
use crate::location::Location;

const SCORING: &str = "Scoring";
const RESULTS: &str = "Results";

/// Which file to score, by what, and where to write the results.
#[derive(Debug, Clone, clap::Args)]
pub struct ScoreArgs {
    /// CSV, JSON Lines or Parquet, each also gzip or zstd: a path, a URL (s3://, gs://, az://, https://), or - for standard input
    pub file: Location,
    /// The scorer: bayes:PATH.bif, a network in BIF or XMLBIF, also in gzip; or "command:PROGRAM ARGUMENT ..."
    #[arg(long, env = "ROLLCALL_SCORER", value_name = "KIND:TARGET", help_heading = SCORING)]
    pub scorer: String,
    /// Consumers at most [default: as many as there are cores for their threads]
    #[arg(long, env = "ROLLCALL_MAX", value_parser = clap::value_parser!(u16).range(1..), help_heading = SCORING)]
    pub max: Option<u16>,
    /// The name by which work is routed; with AMQP_URL it must be given, and must be used for this scorer alone [default: score]
    #[arg(long, short, env = "ROLLCALL_MODEL", help_heading = SCORING)]
    pub model: Option<Model>,
    /// Write all results to this file, or to an object (s3://, gs://, az://): .csv, .tsv, .jsonl, .ndjson or .parquet by its name, each
    /// also .gz or .zst, with a manifest beside it; - is standard output, as CSV
    #[arg(long, env = "ROLLCALL_TO", help_heading = RESULTS)]
    pub to: Location,
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
