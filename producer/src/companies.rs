//! Companies, read from a file and checked at the door.
//!
//! A file is CSV, JSON Lines or Parquet, plain or compressed, and is streamed: memory does not
//! grow with its rows. Every row comes out as a company, one JSON object with an index and an id,
//! or is reported as [`BadInput`]. What the fields mean is not looked at: that is the scorer's.

mod bad_input;
mod columns;
mod csv_rows;
mod delimiter;
mod int96;
mod json_object;
mod json_rows;
mod parquet_rows;
mod parquet_times;
mod parquet_values;
mod progress;
mod quoting;
mod repeats;
mod source;
mod table;
mod temporary;
#[cfg(test)]
mod tests;
mod unpack;
mod unrepresentable;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

pub use bad_input::BadInput;
pub(crate) use bad_input::is_of_the_system;
use bad_input::{Fault, Reason, list};
pub use progress::Progress;
use repeats::{Repeat, SeenIds};
pub use rollcall_shared::message::Format;
use rollcall_shared::message::{Delimiter, Reading};
use serde::Serialize;
use table::{Row, Table};
use unpack::Compression;

/// The most companies one job can have: an index has 32 bits, and so have row numbers from 1.
const MAX_COMPANIES: u32 = u32::MAX - 1;

/// Ids travel in a message header, where other clients may read no more than a short string.
const MAX_ID_BYTES: usize = 255;

/// One company of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Company {
    /// The 0-based row it stands in, not counting a header, blank lines, and rows without any value.
    pub index: u32,
    /// The name its owner knows it by, 1 to 255 bytes; the index as text where the row has none.
    pub company_id: String,
    /// Its fields as one JSON object in UTF-8, without a line break at the end.
    pub record: Vec<u8>,
}

/// How to read a file of companies.
#[derive(Clone, Debug)]
pub struct ReadOptions {
    /// The format; `None` goes by the name of the file, and takes standard input for CSV.
    pub format: Option<Format>,
    /// What stands between the fields of CSV, one byte of ASCII; `None` finds it out.
    pub delimiter: Option<u8>,
    /// The columns to read, beside the one with the ids; all of them where none are named. Each must be there; in JSON Lines, in the
    /// first row.
    pub columns: Vec<String>,
    /// The column that holds the ids, which the file must then have. `None` takes `company_id`
    /// where there is one. JSON Lines have no header, so their first row answers for the file.
    pub id_column: Option<String>,
    /// Whether two rows may have the same id.
    pub allow_duplicate_ids: bool,
    /// The longest record let in, in bytes, both as it stands in a text file and as JSON.
    pub max_record_bytes: usize,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Reading::default().into()
    }
}

impl From<Reading> for ReadOptions {
    fn from(reading: Reading) -> Self {
        let Reading { format, delimiter, columns, id_column, allow_duplicate_ids, max_record_bytes } = reading;
        let max_record_bytes = usize::try_from(max_record_bytes).unwrap_or(usize::MAX);
        let delimiter = delimiter.map(Delimiter::byte);
        Self { format, delimiter, columns, id_column, allow_duplicate_ids, max_record_bytes }
    }
}

/// What a file is taken for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Detected {
    /// Its format.
    pub format: Format,
    /// How it is packed, if it is.
    pub compression: Option<&'static str>,
    /// What stands between the fields of CSV, in words.
    pub delimiter: Option<String>,
    /// The columns that are read, where the file names them.
    pub columns: Vec<String>,
    /// The column with the ids; nothing where the row's index serves.
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

/// The format of the file at `path`, where that is asked for or its name tells it.
pub(crate) fn format_of(path: &Path, asked: Option<Format>) -> Option<Format> {
    source::format(path, asked).ok()
}

/// The companies of one file, in the order of its rows.
///
/// A bad row is an `Err`, and reading goes on unless [`BadInput::ends_file`] says that it can't.
/// An id that repeats one from far above is only found at the end: that row comes out as a company
/// first and is reported after the last row.
pub struct Companies {
    file: String,
    table: Table,
    rows_read: u32,
    seen_ids: Option<SeenIds>,
    max_record_bytes: usize,
    ended: bool,
}

impl Companies {
    /// Opens the file at `path`, `-` being standard input, and reads as far as its first row.
    ///
    /// Gzip and zstd are recognised by their first bytes, whatever the name. Parquet that is
    /// compressed or comes from a pipe is first copied to an unnamed temporary file.
    ///
    /// # Errors
    /// The file can't be read, its format is unknown, its header is bad, the id column asked for
    /// is missing, or there are no companies in it.
    pub fn open(path: &Path, options: &ReadOptions) -> Result<Self, BadInput> {
        let file = source::name(path);
        let table = Table::open(path, options).map_err(|fault| BadInput::in_file(&file, fault))?;
        let check_ids = table.header.id_field.is_some() && !options.allow_duplicate_ids;
        Ok(Self {
            file,
            table,
            rows_read: 0,
            seen_ids: check_ids.then(SeenIds::default),
            max_record_bytes: options.max_record_bytes,
            ended: false,
        })
    }

    /// The names of the columns that are read, in file order; empty for JSON Lines, where every row names its own.
    pub fn columns(&self) -> &[String] {
        &self.table.header.columns
    }

    /// What the file is taken for.
    pub fn detected(&self) -> Detected {
        let Table { format, compression, header, .. } = &self.table;
        Detected {
            format: *format,
            compression: compression.map(Compression::name),
            delimiter: header.delimiter.map(delimiter::name),
            columns: header.columns.clone(),
            id_column: header.id_field.clone(),
        }
    }

    /// How far it has been read.
    pub fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.table.progress)
    }

    fn admit(&mut self, row: Result<Row, Fault>) -> Result<Company, BadInput> {
        let index = self.rows_read;
        let in_file = match &row {
            Ok(row) => row.number,
            Err(fault) => fault.row(),
        };
        let number = in_file.unwrap_or_default().max(index + 1);
        let company = if index == MAX_COMPANIES {
            Err(Reason::TooManyRows.into())
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
            Some(seen) => seen.note(&id, number).map_err(temporary::fault)?,
            None => None,
        };
        match earlier {
            None => Ok(id),
            Some(first_row) if has_id => Err(self.id_fault(Reason::RepeatedId { first_row })),
            Some(first_row) => Err(self.id_fault(Reason::IndexTaken { index, first_row })),
        }
    }

    /// An id that stands in two rows too far apart to be met by [`SeenIds::note`].
    fn next_repeat(&mut self) -> Option<BadInput> {
        let repeat = self.seen_ids.as_mut()?.next_far_repeat().transpose()?;
        Some(match repeat {
            Ok(Repeat { row, first_row }) => {
                let fault = self.id_fault(Reason::RepeatedId { first_row });
                BadInput::in_row(&self.file, row, fault)
            }
            Err(error) => BadInput::in_file(&self.file, temporary::fault(error)),
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
            Some(row) => Some(self.admit(row)),
            None => self.next_repeat().map(Err),
        };
        self.ended = match &next {
            Some(Ok(_)) => false,
            Some(Err(bad_input)) => bad_input.ends_file(),
            None => true,
        };
        next
    }
}
