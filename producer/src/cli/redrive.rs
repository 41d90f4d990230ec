//! The flags of `producer redrive`.

use clap::builder::FalseyValueParser;
use rollcall_shared::message::{Delimiter, Format, Indices, Job};

use super::column_name::column_name;
use crate::location::Location;

impl RedriveArgs {
    /// All failed companies of a job, with their records in the failed results.
    pub(crate) fn of(job: Job) -> RedriveArgs {
        RedriveArgs {
            job,
            cause: Vec::new(),
            missing: false,
            index: None,
            file: None,
            format: None,
            id_column: None,
            columns: Vec::new(),
            delimiter: None,
            wait: false,
        }
    }
}

const COMPANIES: &str = "Companies";
const RECORDS: &str = "Records";

/// Which companies to enqueue again, and where their records are.
#[derive(Debug, Clone, clap::Args)]
pub struct RedriveArgs {
    /// The job
    pub job: Job,
    /// Companies that failed for this cause; may be given several times, and adds to --index and --missing [default: all that failed]
    #[arg(long, value_name = "CAUSE", help_heading = COMPANIES)]
    pub cause: Vec<String>,
    /// Companies without an outcome
    #[arg(long, value_parser = FalseyValueParser::new(), help_heading = COMPANIES)]
    pub missing: bool,
    /// Companies at these indices, whatever their outcome, such as 3 or 3,17-20
    #[arg(long, value_name = "INDICES", help_heading = COMPANIES)]
    pub index: Option<Indices>,
    /// Take the records from this file: a path or a URL [default: from the failed results]
    #[arg(long, help_heading = RECORDS)]
    pub file: Option<Location>,
    /// The file's format [default: as the job was enqueued, else by its name]
    #[arg(long, env = "ROLLCALL_FORMAT", value_enum, help_heading = RECORDS)]
    pub format: Option<Format>,
    /// The file's column with the company's own id [default: as the job was enqueued; else company_id if there is one, else the row's
    /// index]
    #[arg(long, env = "ROLLCALL_ID_COLUMN", help_heading = RECORDS)]
    pub id_column: Option<String>,
    /// The columns that the model needs; the one with the ids is always read. May be given several times [default: as the job was
    /// enqueued, else all]
    #[arg(long, env = "ROLLCALL_COLUMNS", value_name = "NAME,...", value_delimiter = ',', value_parser = column_name, help_heading = RECORDS)]
    pub columns: Vec<String>,
    /// The character between the fields of CSV, such as ; or |, or tab [default: as the job was enqueued, else detected]
    #[arg(long, env = "ROLLCALL_DELIMITER", help_heading = RECORDS)]
    pub delimiter: Option<Delimiter>,
    /// Follow the job to its end; the exit code says how it ended
    #[arg(long, env = "ROLLCALL_WAIT", value_parser = FalseyValueParser::new(), help_heading = "Job")]
    pub wait: bool,
}
