//! What every format comes down to: rows as JSON objects, below one header.

use super::bad_input::{Fault, Reason};
use super::columns::Column;

/// The rows of a file, good and bad.
pub(super) type Rows = Box<dyn Iterator<Item = Result<Row, Fault>> + Send>;

/// What holds for all rows of a file.
#[derive(Debug, Default)]
pub(super) struct Header {
    /// The byte between the fields of CSV.
    pub delimiter: Option<u8>,
    /// The names of the columns that are read, in file order; empty for JSON Lines.
    pub columns: Vec<String>,
    /// The field that holds the ids, if any does.
    pub id_field: Option<String>,
}

impl Header {
    pub fn of(columns: &[Column], delimiter: Option<u8>) -> Self {
        let id_field = columns.iter().find(|column| column.holds_ids).map(|column| column.name.clone());
        Self { delimiter, columns: columns.iter().map(|column| column.name.clone()).collect(), id_field }
    }
}

/// One row, before it has an index.
#[derive(Debug)]
pub(super) struct Row {
    /// The 1-based row of the file, blank rows included; `None` for JSON Lines, whose blank lines are no rows.
    pub number: Option<u32>,
    /// The 1-based line of the file on which it starts, for text formats.
    pub line: Option<u64>,
    /// The content of its id field.
    pub id: Option<String>,
    /// The row as one JSON object.
    pub record: Vec<u8>,
}

/// Checks that the text of a row is UTF-8.
pub(super) fn utf8(text: &[u8]) -> Result<&str, Fault> {
    str::from_utf8(text).map_err(|error| {
        let at = error.valid_up_to();
        Reason::NotUtf8 { byte: text[at], position: at + 1 }.into()
    })
}
