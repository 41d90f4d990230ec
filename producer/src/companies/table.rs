//! What every format comes down to: named columns, and rows as JSON objects.

use std::iter::Peekable;
use std::path::Path;
use std::sync::Arc;

use super::bad_input::{Fault, Reason};
use super::columns::Column;
use super::progress::Progress;
use super::source::{self, Source};
use super::unpack::Compression;
use super::{Format, ReadOptions, csv_rows, json_rows, parquet_rows};

/// The rows of a file, good and bad.
pub(super) type Rows = Box<dyn Iterator<Item = Result<Row, Fault>> + Send>;

/// A file opened, its header read and checked.
pub(super) struct Table {
    pub format: Format,
    pub compression: Option<Compression>,
    pub header: Header,
    pub progress: Arc<Progress>,
    pub rows: Peekable<Rows>,
}

/// What holds for all rows of a file.
#[derive(Debug, Default)]
pub(super) struct Header {
    /// What stands between the fields of CSV.
    pub delimiter: Option<u8>,
    /// The names of the columns that are read, in file order, where the file names them.
    pub columns: Vec<String>,
    /// The field that holds the ids, if any does.
    pub id_field: Option<String>,
}

/// One row, not numbered yet.
#[derive(Debug)]
pub(super) struct Row {
    /// The 1-based row of the file that it is, where rows without any value may stand before it and are skipped.
    pub number: Option<u32>,
    /// The 1-based line of the file it starts on, where the format has lines.
    pub line: Option<u64>,
    /// What stands in its id field, if anything does.
    pub id: Option<String>,
    /// The row as one JSON object.
    pub record: Vec<u8>,
}

impl Header {
    pub fn of(columns: &[Column], delimiter: Option<u8>) -> Self {
        let id_field = columns.iter().find(|column| column.holds_ids).map(|column| column.name.clone());
        Self { delimiter, columns: columns.iter().map(|column| column.name.clone()).collect(), id_field }
    }
}

impl Table {
    /// Opens the file at `path` in the format it is found to have.
    pub fn open(path: &Path, options: &ReadOptions) -> Result<Self, Fault> {
        // A path that leads nowhere is said to, whatever its ending.
        let source = Source::open(path)?;
        let format = source::format(path, options.format)?;
        let (compression, progress) = (source.compression, Arc::clone(&source.progress));
        let (header, rows) = match format {
            Format::Csv => csv_rows::open(source.text()?, options, source::delimiter(path), &progress)?,
            Format::Jsonl => json_rows::open(source.text()?, options),
            Format::Parquet => parquet_rows::open(source.seekable()?, options, &progress)?,
        };
        let mut table = Self { format, compression, header, progress, rows: rows.peekable() };
        match table.rows.peek() {
            Some(_) => Ok(table),
            None => Err(Reason::NoCompanies.into()),
        }
    }
}
