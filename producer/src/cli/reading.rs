//! The flags that say how to read a file of companies.

use clap::builder::FalseyValueParser;
use rollcall_shared::message::{Delimiter, Format, Reading};

use super::column_name::column_name;

const FILE: &str = "File";

/// The longest record that may be allowed, in bytes: RabbitMQ 4.x takes messages up to 16 MiB unless configured otherwise.
pub(crate) const MAX_RECORD_BYTES: i64 = 15 << 20;

/// How to read a file of companies.
#[derive(Debug, Clone, clap::Args)]
pub struct ReadingArgs {
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
}

impl ReadingArgs {
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
