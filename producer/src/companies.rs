//! Reads companies from a file, and checks every row.
//!
//! A file is CSV, JSON Lines or Parquet, plain or compressed, and is streamed: memory does not grow with its rows. Every row comes
//! out as a company, one JSON object with an index and an id, or is reported as [`BadInput`]. The values of its fields are the
//! scorer's to check.

mod table;

mod csv;
mod jsonl;
mod parquet;

mod columns;
mod json_object;
mod row;

mod duplicate_ids;

mod bad_input;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

pub use bad_input::BadInput;
use bad_input::{Fault, Reason, delimiter_name, list};
use duplicate_ids::{Duplicate, SeenIds};
pub use rollcall_shared::message::{Format, Reading as ReadOptions};
use row::Row;
use serde::Serialize;
use table::Table;

use crate::location::Location;
pub use crate::source::Progress;
pub(crate) use crate::source::is_of_the_system;
use crate::source::{Compression, Source, temporary};

/// The most companies that one job can have: an index has 32 bits, and so have row numbers from 1.
const MAX_COMPANIES: u32 = u32::MAX - 1;

/// Ids travel in a message header; some clients read only AMQP's short strings there.
const MAX_ID_BYTES: usize = 255;

/// One company of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Company {
    /// Its 0-based row, not counting a header, blank lines, and rows without any value.
    pub index: u32,
    /// Its owner's name for it, 1 to 255 bytes; the index as text if the row has none.
    pub company_id: String,
    /// Its fields as one JSON object in UTF-8, without a line break at the end.
    pub record: Vec<u8>,
}

/// What was detected about a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Detected {
    /// By its name, or as asked for.
    pub format: Format,
    /// `gzip` or `zstd`, if it is compressed.
    pub compression: Option<&'static str>,
    /// The delimiter of CSV, in words.
    pub delimiter: Option<String>,
    /// The columns that are read; empty for JSON Lines, where every row names its own.
    pub columns: Vec<String>,
    /// The column with the ids; `None` if the row's index is the id.
    pub id_column: Option<String>,
}

impl fmt::Display for Detected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.format {
            Format::Csv => "CSV",
            Format::Jsonl => "JSON Lines",
            Format::Parquet => "Parquet",
        })?;
        if let Some(compression) = self.compression {
            write!(f, " in {compression}")?;
        }
        if let Some(delimiter) = &self.delimiter {
            write!(f, " with {delimiter} between fields")?;
        }
        match &self.id_column {
            Some(name) if self.columns.is_empty() => write!(f, ", ids in field {name}"),
            Some(name) => write!(f, ", ids in column {name}"),
            None => f.write_str(", the row's index as id"),
        }?;
        match self.columns.len() {
            0 => Ok(()),
            1 => write!(f, ", 1 column: {}", self.columns[0]),
            count => write!(f, ", {count} columns: {}", list(&self.columns)),
        }
    }
}

/// The companies of one file, in the order of its rows.
///
/// A bad row is an `Err`, and the rows behind it follow unless [`BadInput::ends_file`]. An id that repeats one from far above is only
/// found at the end: that row comes out as a company first, and is reported after the last row.
pub struct Companies {
    file: String,
    table: Table,
    rows_read: u32,
    seen_ids: Option<SeenIds>,
    max_record_bytes: usize,
    ended: bool,
}

impl Companies {
    /// Opens a file, and reads as far as its first row.
    ///
    /// Gzip and zstd are recognised by their first bytes, whatever the name. Parquet that is compressed, or cannot be read from any place,
    /// is first copied to an unnamed temporary file. A URL needs a thread that may block, in the context of a tokio runtime with several threads.
    ///
    /// # Errors
    /// The file cannot be read, its format is unknown, its header is bad, a column asked for is missing, or it has no companies.
    pub fn open(file: impl Into<Location>, options: &ReadOptions) -> Result<Self, BadInput> {
        let file = file.into();
        let name = file.input_name();
        Self::of(Table::open(&file, options), name, options)
    }

    /// Takes a file from a reader, such as the body of an upload. Its `name` tells its format if `options` do not; of a reader that ends
    /// before `size`, the rows are not all; one that has more than `max_unpacked` bytes once it is decompressed is refused.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn from_reader(
        name: &str,
        reader: Box<dyn Read + Send>,
        size: Option<u64>,
        max_unpacked: u64,
        options: &ReadOptions,
    ) -> Result<Self, BadInput> {
        let file = Location::Path(PathBuf::from(name));
        let source = Source::from_reader(reader, size).map(|source| source.with_limit(max_unpacked));
        let table = source.map_err(Fault::from).and_then(|source| Table::read(source, &file, options));
        Self::of(table, name.to_owned(), options)
    }

    fn of(table: Result<Table, Fault>, file: String, options: &ReadOptions) -> Result<Self, BadInput> {
        let table = table.map_err(|fault| BadInput::in_file(&file, fault))?;
        let check_ids = table.header.id_field.is_some() && !options.allow_duplicate_ids;
        Ok(Self {
            file,
            table,
            rows_read: 0,
            seen_ids: check_ids.then(SeenIds::default),
            max_record_bytes: options.max_record_bytes as usize,
            ended: false,
        })
    }

    /// The names of the columns that are read, in file order; empty for JSON Lines.
    pub fn columns(&self) -> &[String] {
        &self.table.header.columns
    }

    /// What was detected about the file when it was opened.
    pub fn detected(&self) -> Detected {
        let Table { format, compression, header, .. } = &self.table;
        Detected {
            format: *format,
            compression: compression.map(Compression::name),
            delimiter: header.delimiter.map(delimiter_name),
            columns: header.columns.clone(),
            id_column: header.id_field.clone(),
        }
    }

    /// How far the file has been read; may be shared with another thread.
    pub fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.table.progress)
    }

    fn number_and_check(&mut self, row: Result<Row, Fault>) -> Result<Company, BadInput> {
        let index = self.rows_read;
        let in_file = match &row {
            Ok(row) => row.number,
            Err(fault) => fault.row(),
        };
        let number = in_file.unwrap_or_default().max(index + 1);
        let company = if index == MAX_COMPANIES {
            Err(Reason::TooManyRows { limit: MAX_COMPANIES }.into())
        } else {
            self.rows_read = index + 1;
            self.table.progress.add_row();
            row.and_then(|row| self.check(index, number, row))
        };
        company.map_err(|fault| BadInput::in_row(&self.file, number, fault))
    }

    fn check(&mut self, index: u32, number: u32, row: Row) -> Result<Company, Fault> {
        let line = row.line;
        let company_id = self.company_id(index, number, row.id).map_err(|fault| fault.on_line(line))?;
        let bytes = row.record.len();
        let limit = self.max_record_bytes;
        if bytes > limit {
            return Err(Fault::from(Reason::TooLong { bytes, limit }).on_line(line));
        }
        Ok(Company { index, company_id, record: row.record })
    }

    fn company_id(&mut self, index: u32, number: u32, id: Option<String>) -> Result<String, Fault> {
        let given = id.filter(|id| !id.is_empty());
        let has_id = given.is_some();
        let id = given.unwrap_or_else(|| {
            self.table.progress.note_index_as_id();
            index.to_string()
        });
        if id.len() > MAX_ID_BYTES {
            return Err(self.id_fault(Reason::IdTooLong { bytes: id.len(), limit: MAX_ID_BYTES }));
        }
        let earlier = match &mut self.seen_ids {
            Some(seen) => seen.note(&id, number).map_err(temporary::unusable)?,
            None => None,
        };
        match earlier {
            None => Ok(id),
            Some(first_row) if has_id => Err(self.id_fault(Reason::RepeatedId { first_row })),
            Some(first_row) => Err(self.id_fault(Reason::IndexTaken { index, first_row })),
        }
    }

    /// The next id in two rows that are too far apart for [`SeenIds::note`] to find.
    fn next_duplicate(&mut self) -> Option<BadInput> {
        let duplicate = self.seen_ids.as_mut()?.next_far_duplicate().transpose()?;
        Some(match duplicate {
            Ok(Duplicate { row, first_row }) => {
                let fault = self.id_fault(Reason::RepeatedId { first_row });
                BadInput::in_row(&self.file, row, fault)
            }
            Err(error) => BadInput::in_file(&self.file, temporary::unusable(error).into()),
        })
    }

    fn id_fault(&self, reason: Reason) -> Fault {
        let fault = Fault::from(reason);
        match &self.table.header.id_field {
            Some(field) => fault.in_field(field),
            None => fault,
        }
    }
}

impl Iterator for Companies {
    type Item = Result<Company, BadInput>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = match self.table.rows.next() {
            Some(row) => Some(self.number_and_check(row)),
            None => self.next_duplicate().map(Err),
        };
        self.ended = match &next {
            Some(Ok(_)) => false,
            Some(Err(bad_input)) => bad_input.ends_file(),
            None => true,
        };
        next
    }
}
