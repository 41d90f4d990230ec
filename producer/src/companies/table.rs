//! What every format comes down to: named columns, and rows as JSON objects.

use std::iter::Peekable;
use std::path::Path;

use super::bad_input::{Fault, Reason};
use super::source::{self, Source};
use super::{Format, ReadOptions, csv_rows, json_rows, parquet_rows};

/// The rows of a file, good and bad.
pub(super) type Rows = Box<dyn Iterator<Item = Result<Row, Fault>> + Send>;

/// A file opened, its header read and checked.
pub(super) struct Table {
    /// The names of the columns in file order, where the file names them.
    pub columns: Vec<String>,
    /// The field that holds the ids, if any does.
    pub id_field: Option<String>,
    pub rows: Peekable<Rows>,
}

/// One row, not numbered yet.
#[derive(Debug)]
pub(super) struct Row {
    /// The 1-based line of the file it starts on, where the format has lines.
    pub line: Option<u64>,
    /// What stands in its id field, if anything does.
    pub id: Option<String>,
    /// The row as one JSON object.
    pub record: Vec<u8>,
}

impl Table {
    /// Opens the file at `path` in the format it is found to have.
    pub fn open(path: &Path, options: &ReadOptions) -> Result<Self, Fault> {
        // A path that leads nowhere is said to, whatever its ending.
        let source = Source::open(path)?;
        let format = source::format(path, options.format)?;
        let mut table = match format {
            Format::Csv => csv_rows::open(source.text()?, options)?,
            Format::Jsonl => json_rows::open(source.text()?, options),
            Format::Parquet => parquet_rows::open(source.seekable()?, options)?,
        };
        match table.rows.peek() {
            Some(_) => Ok(table),
            None => Err(Reason::NoCompanies.into()),
        }
    }

    pub fn new<R>(columns: Vec<String>, id_field: Option<String>, rows: R) -> Self
    where
        R: Iterator<Item = Result<Row, Fault>> + Send + 'static,
    {
        let rows: Rows = Box::new(rows.fuse());
        Self { columns, id_field, rows: rows.peekable() }
    }
}
