//! CSV: a header line, then one company a record.
//!
//! The `csv` crate splits the records; it is lenient about quotes, so [`QuoteCheck`] stands before
//! it and is not.

use std::io::{self, BufRead};

use csv::ByteRecord;

use super::ReadOptions;
use super::bad_input::{Fault, Reason};
use super::columns;
use super::json_object::utf8;
use super::quoting::QuoteCheck;
use super::table::{Row, Table};

/// Reads the header of `text`.
pub(super) fn open(text: Box<dyn BufRead + Send>, options: &ReadOptions) -> Result<Table, Fault> {
    let mut records = Records::new(text, options.max_record_bytes);
    if !records.read()? {
        return Err(Reason::NoHeader.into());
    }
    let names = header(&records.record).map_err(|fault| fault.on_line(records.line()))?;
    let id_column = columns::find_id(&names, options.id_column.as_deref()).map_err(|fault| fault.on_line(records.line()))?;
    let id_field = id_column.map(|column| names[column].clone());
    let rows = CsvRows { records, columns: names.iter().map(|name| Column::new(name)).collect(), id_column };
    Ok(Table::new(names, id_field, rows))
}

fn header(record: &ByteRecord) -> Result<Vec<String>, Fault> {
    let mut names = Vec::with_capacity(record.len());
    for name in record {
        names.push(utf8(name)?.to_owned());
    }
    columns::check_names(&names)?;
    Ok(names)
}

struct CsvRows {
    records: Records,
    columns: Vec<Column>,
    id_column: Option<usize>,
}

struct Column {
    name: String,
    /// The name as a JSON key, with the colon.
    key: Vec<u8>,
}

impl Column {
    fn new(name: &str) -> Self {
        Self { name: name.to_owned(), key: format!("{}:", serde_json::Value::from(name)).into() }
    }
}

impl Iterator for CsvRows {
    type Item = Result<Row, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.records.read() {
            Ok(true) => Some(self.row().map_err(|fault| fault.on_line(self.records.line()))),
            Ok(false) => None,
            Err(fault) => Some(Err(fault)),
        }
    }
}

impl CsvRows {
    fn row(&self) -> Result<Row, Fault> {
        let fields = &self.records.record;
        let (expected, found) = (self.columns.len(), fields.len());
        if found != expected {
            return Err(Reason::FieldCount { expected, found }.into());
        }
        let mut record = Vec::with_capacity(self.capacity_for(fields));
        let mut id = None;
        for (position, (field, column)) in fields.iter().zip(&self.columns).enumerate() {
            let text = utf8(field).map_err(|fault| fault.in_field(&column.name))?;
            record.push(if position == 0 { b'{' } else { b',' });
            record.extend_from_slice(&column.key);
            serde_json::to_writer(&mut record, text).map_err(io::Error::from)?;
            if self.id_column == Some(position) {
                id = Some(text.to_owned());
            }
        }
        record.push(b'}');
        Ok(Row { line: Some(self.records.line()), id, record })
    }

    /// Room for a record in which nothing needs escaping, so that most are allocated once.
    fn capacity_for(&self, fields: &ByteRecord) -> usize {
        const QUOTES_AND_COMMA: usize = 3;
        let keys: usize = self.columns.iter().map(|column| column.key.len()).sum();
        fields.as_slice().len() + keys + self.columns.len() * QUOTES_AND_COMMA + 2
    }
}

/// Records one by one in one buffer, with the line of the last one.
struct Records {
    reader: csv::Reader<QuoteCheck<Box<dyn BufRead + Send>>>,
    record: ByteRecord,
}

impl Records {
    fn new(text: Box<dyn BufRead + Send>, max_record_bytes: usize) -> Self {
        let reader =
            csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(QuoteCheck::new(text, max_record_bytes));
        Self { reader, record: ByteRecord::new() }
    }

    /// Reads the next record, if there is one.
    fn read(&mut self) -> Result<bool, Fault> {
        self.reader.read_byte_record(&mut self.record).map_err(fault)
    }

    fn line(&self) -> u64 {
        self.reader.get_ref().record_line()
    }
}

/// The fault that a reader below reported, which the library wraps.
fn fault(error: csv::Error) -> Fault {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error.into(),
        other => io::Error::other(format!("{other:?}")).into(),
    }
}
