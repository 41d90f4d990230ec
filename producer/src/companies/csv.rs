//! CSV: a header line, then one company a record.
//!
//! The `csv` crate splits the records. It is lenient about quotes, so [`QuoteCheck`] reads the text before it, and is strict.

mod delimiter;
mod quoting;

use std::io::{self, BufRead};
use std::sync::Arc;

use csv::ByteRecord;
use rollcall_shared::decimal;
use rollcall_shared::message::Reading as ReadOptions;

use super::bad_input::{Fault, Reason};
use super::columns::{self, Column};
use super::row::{Header, Row, Rows, utf8};
use crate::source::{BYTE_ORDER_MARK, Progress};
use delimiter::Delimited;
use quoting::QuoteCheck;

/// Finds the delimiter of `text`, of which the file's name implies `by_name`, and reads its header.
pub(super) fn open(
    text: Box<dyn BufRead + Send>,
    options: &ReadOptions,
    by_name: Option<u8>,
    progress: &Arc<Progress>,
) -> Result<(Header, Rows), Fault> {
    let delimited = delimiter::find(text, options, by_name)?;
    let delimiter = delimited.delimiter;
    let mut records = RecordReader::new(delimited, options.max_record_bytes as usize);
    loop {
        if !records.read()? {
            return Err(Reason::NoHeader.into());
        }
        if !records.is_blank() {
            break;
        }
    }
    let line = records.line();
    let names_in_file = records.record.clone();
    let names = names(&names_in_file).map_err(|fault| fault.on_line(line))?;
    if let [name] = &names[..]
        && let Some(other) = delimiter::inside(name, delimiter)
    {
        return Err(Fault::from(Reason::NotCut { delimiter, found: other }).on_line(line));
    }
    let columns = columns::select(&names, options).map_err(|fault| fault.on_line(line))?;
    let header = Header::of(&columns, Some(delimiter));
    const QUOTES_AND_COMMA: usize = 3;
    let fixed_bytes = 2 + columns.iter().map(|column| column.key.len() + QUOTES_AND_COMMA).sum::<usize>();
    let progress = Arc::clone(progress);
    let rows = CsvRows { records, names_in_file, named: names.len(), columns, fixed_bytes, delimiter, number: 0, progress };
    Ok((header, Box::new(rows.fuse())))
}

/// The names in a header, without blanks around them. Delimiters behind the last name, as spreadsheets leave them, begin no columns.
fn names(header: &ByteRecord) -> Result<Vec<String>, Fault> {
    let mut names = Vec::with_capacity(header.len());
    for name in header {
        names.push(utf8(name)?.trim().to_owned());
    }
    while names.len() > 1 && names.last().is_some_and(String::is_empty) {
        names.pop();
    }
    Ok(names)
}

struct CsvRows {
    records: RecordReader,
    names_in_file: ByteRecord,
    /// How many columns have a name; fields behind them must be empty.
    named: usize,
    columns: Vec<Column>,
    /// The bytes of a JSON record beside its values, so that most records are allocated once.
    fixed_bytes: usize,
    delimiter: u8,
    /// The rows so far, blank ones included.
    number: u32,
    progress: Arc<Progress>,
}

impl Iterator for CsvRows {
    type Item = Result<Row, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let read = self.records.read();
            self.number = self.number.saturating_add(1);
            match read {
                Ok(true) if self.records.is_blank() => self.progress.add_blank_row(),
                Ok(true) => return Some(self.row().map_err(|fault| fault.in_row(self.number).on_line(self.records.line()))),
                Ok(false) => return None,
                Err(fault) => return Some(Err(fault.in_row(self.number))),
            }
        }
    }
}

impl CsvRows {
    fn row(&self) -> Result<Row, Fault> {
        let fields = &self.records.record;
        self.check(fields)?;
        let mut record = Vec::with_capacity(self.fixed_bytes + fields.as_slice().len());
        let mut id = None;
        for (column, before) in self.columns.iter().zip(std::iter::once(b'{').chain(std::iter::repeat(b','))) {
            let text = utf8(&fields[column.position]).map_err(|fault| fault.in_field(&column.name))?;
            record.push(before);
            record.extend_from_slice(&column.key);
            serde_json::to_writer(&mut record, text).map_err(io::Error::from)?;
            if column.holds_ids {
                let whole = whole_number(text).inspect(|_| self.progress.add_whole_id());
                id = Some(whole.unwrap_or_else(|| text.to_owned()));
            }
        }
        record.push(b'}');
        Ok(Row { number: Some(self.number), line: Some(self.records.line()), id, record })
    }

    /// Refuses a record with another number of fields than the header, and one with which another, appended file begins.
    fn check(&self, fields: &ByteRecord) -> Result<(), Fault> {
        let (expected, found) = (self.names_in_file.len(), fields.len());
        if found != expected {
            return Err(Reason::FieldCount { expected, found, delimiter: self.delimiter }.into());
        }
        if fields[0].starts_with(BYTE_ORDER_MARK) {
            return Err(Reason::MarkInside.into());
        }
        if fields[0] == self.names_in_file[0] && fields == &self.names_in_file {
            return Err(Reason::HeaderInside.into());
        }
        match (self.named..expected).find(|&position| !fields[position].is_empty()) {
            Some(position) => Err(Reason::UnnamedValue { position: position + 1 }.into()),
            None => Ok(()),
        }
    }
}

/// The whole number that pandas wrote as `70.0`, because its column lacks a value in another row. Other text, such as `70.50` or
/// `7e1`, is an id as it is written.
fn whole_number(text: &str) -> Option<String> {
    let whole = text.strip_suffix(".0")?;
    let has_digits_only = whole.bytes().all(|byte| byte == b'-' || byte.is_ascii_digit());
    if has_digits_only { decimal::canonical_integer(whole) } else { None }
}

/// Reads records one by one into one buffer.
struct RecordReader {
    reader: csv::Reader<QuoteCheck<Box<dyn BufRead + Send>>>,
    record: ByteRecord,
}

impl RecordReader {
    fn new(delimited: Delimited, max_record_bytes: usize) -> Self {
        let delimiter = delimited.delimiter;
        let checked = QuoteCheck::new(delimited, max_record_bytes);
        let reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).delimiter(delimiter).from_reader(checked);
        Self { reader, record: ByteRecord::new() }
    }

    /// Reads the next record; false at the end.
    fn read(&mut self) -> Result<bool, Fault> {
        self.reader.read_byte_record(&mut self.record).map_err(fault)
    }

    /// Whether the record read last has no value at all.
    fn is_blank(&self) -> bool {
        self.record.iter().all(<[u8]>::is_empty)
    }

    /// The 1-based line on which the record read last starts.
    fn line(&self) -> u64 {
        self.reader.get_ref().record_line()
    }
}

/// Unwraps the error that a reader below reported.
fn fault(error: csv::Error) -> Fault {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error.into(),
        other => io::Error::other(format!("{other:?}")).into(),
    }
}
