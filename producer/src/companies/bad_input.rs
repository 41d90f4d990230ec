//! What is wrong with a file: where, what was expected, what was found, and what to do about it.

use std::io;

use rollcall_shared::terminal::escape_controls;

use crate::source::SourceError;

/// A file, or one row of it, that cannot be read as companies. Displays as one line, whatever the file holds.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.on_one_line())]
pub struct BadInput {
    file: String,
    fault: Box<Fault>,
}

impl BadInput {
    pub(super) fn in_file(file: &str, fault: Fault) -> Self {
        Self { file: file.to_owned(), fault: Box::new(fault) }
    }

    /// A file that cannot be opened.
    pub(crate) fn of_source(file: &str, error: SourceError) -> Self {
        Self::in_file(file, error.into())
    }

    pub(super) fn in_row(file: &str, row: u32, fault: Fault) -> Self {
        Self { file: file.to_owned(), fault: Box::new(fault.in_row(row)) }
    }

    /// Whether the file itself is fine, and the machine that reads it, or a writer that changes it meanwhile, is the cause.
    pub fn is_of_the_environment(&self) -> bool {
        matches!(&self.fault.reason, Reason::Source(error) if error.is_of_the_environment())
    }

    /// Whether another attempt at the same file may succeed, without anybody doing something.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(&self.fault.reason, Reason::Source(error) if error.may_pass())
    }

    /// Whether nothing more can be read of the file; otherwise, only this row is bad.
    pub fn ends_file(&self) -> bool {
        self.fault.row.is_none() || self.fault.reason.ends_file()
    }

    fn on_one_line(&self) -> String {
        let place = [
            Some(self.file.clone()),
            self.fault.row_and_line(),
            self.fault.field.as_ref().map(|field| format!("field \"{}\"", shortened(field))),
        ];
        let place: Vec<_> = place.into_iter().flatten().collect();
        escape_controls(&format!("{}: {}", place.join(", "), self.fault.reason)).into_owned()
    }
}

/// Why a file or a row is refused, and where inside the file.
///
/// It also travels inside an [`io::Error`], so that an [`io::Read`] below a parser can report it.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub(super) struct Fault {
    reason: Reason,
    row: Option<u32>,
    line: Option<u64>,
    field: Option<String>,
}

impl Fault {
    /// The 1-based row of the file, if its reader knows it.
    pub fn row(&self) -> Option<u32> {
        self.row
    }

    pub fn in_row(self, row: u32) -> Self {
        Self { row: Some(row), ..self }
    }

    pub fn on_line(self, line: impl Into<Option<u64>>) -> Self {
        Self { line: line.into(), ..self }
    }

    pub fn in_field(self, field: &str) -> Self {
        Self { field: Some(field.to_owned()), ..self }
    }

    fn row_and_line(&self) -> Option<String> {
        match (self.row, self.line) {
            (Some(row), Some(line)) => Some(format!("row {row} (line {line})")),
            (Some(row), None) => Some(format!("row {row}")),
            (None, Some(line)) => Some(format!("line {line}")),
            (None, None) => None,
        }
    }
}

impl From<Reason> for Fault {
    fn from(reason: Reason) -> Self {
        Self { reason, row: None, line: None, field: None }
    }
}

impl From<SourceError> for Fault {
    fn from(error: SourceError) -> Self {
        Reason::Source(error).into()
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        error.downcast().unwrap_or_else(|error| SourceError::from(error).into())
    }
}

impl From<Fault> for io::Error {
    fn from(fault: Fault) -> Self {
        Self::other(fault)
    }
}

/// What was expected and found, and what to do.
#[derive(Debug, thiserror::Error)]
pub(super) enum Reason {
    // The file.
    #[error(transparent)]
    Source(SourceError),
    #[error(
        "expected a name ending in .csv, .tsv, .jsonl, .ndjson or .parquet, then .gz or .zst if need be, \
         found another; say what it holds with --format"
    )]
    UnknownFormat,
    #[error("expected at least one company, found none; check what wrote the file")]
    NoCompanies,
    #[error("expected at most {limit} companies, found more; split the file")]
    TooManyRows { limit: u32 },

    // The columns.
    #[error("expected a header line, found an empty file; check what wrote it")]
    NoHeader,
    #[error("expected a name for every column, found none for column {position}; name it")]
    UnnamedColumn { position: usize },
    #[error(
        "expected a name for every column, found none for column 1, as pandas writes its index; write the file with \
         index=False, or name the column"
    )]
    UnnamedIndex,
    #[error("expected every column name once, found it for columns {first} and {second}; rename one")]
    RepeatedColumn { first: usize, second: usize },
    #[error("expected a column of this name, found {}; name one of them with {flag}", list(.columns))]
    NoColumn { columns: Vec<String>, flag: &'static str },
    #[error(
        "expected one delimiter, found that {} and {} cut the rows equally well; say which it is with --delimiter",
        delimiter_name(*one),
        delimiter_name(*other)
    )]
    TwoDelimiters { one: u8, other: u8 },
    #[error(
        "expected {} between the names of the columns, found one name with {} in it; say with --delimiter what stands \
         between fields, or rename the column",
        delimiter_name(*delimiter),
        delimiter_name(*found)
    )]
    NotCut { delimiter: u8, found: u8 },
    #[error(
        "expected a column that JSON can hold, found {0}; name the columns that the model needs with --columns, or \
         store this one as text"
    )]
    UnsupportedType(String),
    #[error("expected types that JSON can hold, found one that is not known ({0}); store that column as decimals or text")]
    UnknownType(String),

    // A row.
    #[error(
        "expected {expected} fields, found {found}; quote a field that has {} or a line break in it",
        delimiter_name(*delimiter)
    )]
    FieldCount { expected: usize, found: usize, delimiter: u8 },
    #[error("expected nothing in column {position}, which has no name in the header, found a value; name the column")]
    UnnamedValue { position: usize },
    #[error("expected a company, found the header again, as where files are joined; remove this line")]
    HeaderInside,
    #[error("expected a byte order mark at the beginning of the file only, found one, as where files are joined; remove it")]
    MarkInside,
    #[error("expected UTF-8, found byte 0x{byte:02x} at position {position}; save the file as UTF-8")]
    NotUtf8 { byte: u8, position: usize },
    #[error("expected at most {limit} bytes, found {bytes}; shorten the row or raise --max-record-bytes")]
    TooLong { bytes: usize, limit: usize },
    #[error(
        "expected the row to end within {limit} bytes, found that it goes on; look for a quote that \
         is never closed, or raise --max-record-bytes"
    )]
    Endless { limit: usize },
    #[error(
        "expected no quote inside an unquoted field, found one; put quotes around the field and \
         double those in it"
    )]
    QuoteInside,
    #[error(
        "expected {} or the end of the line after a closing quote, found more text; double \
         every quote inside a quoted field",
        delimiter_name(*delimiter)
    )]
    TextAfterQuote { delimiter: u8 },
    #[error("expected an end to the quotes opened on this line, found the end of the file; close them")]
    UnclosedQuote,
    #[error("expected one JSON object, found {0}; write every company as one object on one line")]
    NotAnObject(&'static str),
    #[error("expected one JSON object, found a fault at column {column}: {found}; mend the line")]
    NotJson { column: usize, found: String },
    #[error("expected every field of a company once, found it again; remove one of the two")]
    RepeatedField,
    #[error(
        "expected one JSON object, found a carriage return inside the line, as an old Mac ends lines; end every line with a line \
         feed"
    )]
    ReturnInside,
    #[error("expected one JSON object, found {found} at column {column}, which JSON does not have; write null for it")]
    NotFinite { column: usize, found: &'static str },
    #[error(
        "expected a value that JSON can hold, found {found}; write null or text for it, or name the columns that the model \
         needs with --columns"
    )]
    Unrepresentable { found: String },
    #[error(
        "expected text in UTF-8, found a byte 0x{byte:02x} at position {position} of a binary value; store the column as \
         text, or name the columns that the model needs with --columns"
    )]
    NotText { byte: u8, position: usize },
    #[error(
        "expected Parquet that needs no key, found it encrypted; write it without encryption, or name columns that are not \
         encrypted with --columns"
    )]
    Encrypted,
    #[error("expected whole Parquet data, found it damaged, cut short or another format ({0}); get the file again")]
    NotParquet(String),

    // An id.
    #[error("expected an id as text or whole number, found {0}; write it as text")]
    NotAnId(&'static str),
    #[error(
        "expected an id with all its digits, found it stored as a float, its last digits lost; store the ids as integers or text"
    )]
    LostDigits,
    #[error("expected an id of at most {limit} bytes, found {bytes}; shorten it or take another column")]
    IdTooLong { bytes: usize, limit: usize },
    #[error("expected every id once, found that of row {first_row} again; mend one or pass --allow-duplicate-ids")]
    RepeatedId { first_row: u32 },
    #[error(
        "expected an id, found none, and the row's index, {index}, which would serve, is the id of row {first_row}; give it an id, or \
         pass --allow-duplicate-ids"
    )]
    IndexTaken { index: u32, first_row: u32 },
}

impl Reason {
    fn ends_file(&self) -> bool {
        !matches!(
            self,
            Self::FieldCount { .. }
                | Self::UnnamedValue { .. }
                | Self::HeaderInside
                | Self::MarkInside
                | Self::ReturnInside
                | Self::NotFinite { .. }
                | Self::Unrepresentable { .. }
                | Self::NotUtf8 { .. }
                | Self::TooLong { .. }
                | Self::NotAnObject(_)
                | Self::NotJson { .. }
                | Self::RepeatedField
                | Self::NotAnId(_)
                | Self::LostDigits
                | Self::IdTooLong { .. }
                | Self::RepeatedId { .. }
                | Self::IndexTaken { .. }
        )
    }
}

/// What a delimiter is called in messages.
pub(super) fn delimiter_name(delimiter: u8) -> String {
    match delimiter {
        b',' => "a comma".to_owned(),
        b';' => "a semicolon".to_owned(),
        b'\t' => "a tab".to_owned(),
        other => format!("'{}'", char::from(other)),
    }
}

/// The most columns that a message lists; more would bury the rest of it.
const LISTED_COLUMNS: usize = 10;

/// The names of columns in a message.
pub(super) fn list(columns: &[String]) -> String {
    let shown: Vec<_> = columns.iter().take(LISTED_COLUMNS).map(|name| shortened(name)).collect();
    let more = match columns.len().saturating_sub(LISTED_COLUMNS) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{}{more}", shown.join(", "))
}

/// The most characters of a name that a message shows.
const SHOWN_CHARACTERS: usize = 60;

fn shortened(name: &str) -> String {
    match name.char_indices().nth(SHOWN_CHARACTERS) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.to_owned(),
    }
}
