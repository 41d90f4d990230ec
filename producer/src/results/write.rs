//! Writes results to a file, row by row.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, IsTerminal, Write};

use rollcall_shared::message::{Format, ResultBody, ResultHeaders};
use rollcall_shared::terminal::{escape_controls, escape_json};
use serde_json::value::RawValue;

use super::parquet_rows::ParquetRows;
use crate::destination::{Layout, Packed};
use crate::read_ahead::Receiver;

/// The columns of CSV and Parquet, in order. `prediction` is JSON text, so that every model's results fit.
pub(super) const COLUMNS: [&str; 10] =
    ["index", "company_id", "model", "outcome", "attempt", "scored_at", "duration_ms", "cause", "message", "prediction"];

/// Results as the ledger has them.
pub(super) type Results = Vec<(ResultHeaders, Vec<u8>)>;

/// A file of results in the making.
pub(super) struct Writer {
    rows: Rows,
    /// Whether people see the rows as they are written.
    on_a_terminal: bool,
}

enum Rows {
    Jsonl(Box<Packed>),
    Csv(Box<csv::Writer<Packed>>),
    Parquet(Box<ParquetRows>),
}

impl Writer {
    /// A file without rows yet.
    ///
    /// # Errors
    /// Where it cannot be written.
    fn new(file: File, layout: Layout) -> io::Result<Writer> {
        let on_a_terminal = file.is_terminal();
        let packed = Packed::new(file, layout.compression)?;
        let rows = match layout.format {
            Format::Jsonl => Rows::Jsonl(Box::new(packed)),
            Format::Csv => {
                let mut writer = csv::WriterBuilder::new().delimiter(layout.delimiter).from_writer(packed);
                writer.write_record(COLUMNS).map_err(of_the_file)?;
                Rows::Csv(Box::new(writer))
            }
            Format::Parquet => Rows::Parquet(Box::new(ParquetRows::new(packed)?)),
        };
        Ok(Writer { rows, on_a_terminal })
    }

    /// Writes all `results` that come, until nobody sends any more.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub(super) fn write_all(file: File, layout: Layout, mut results: Receiver<Results>) -> io::Result<Writer> {
        let mut writer = Writer::new(file, layout)?;
        while let Some(results) = results.blocking_recv() {
            for (counted, body) in &results {
                writer.write(&ResultBody::read(counted, body))?;
            }
        }
        Ok(writer)
    }

    fn write(&mut self, result: &ResultBody) -> io::Result<()> {
        match &mut self.rows {
            Rows::Jsonl(lines) => write_line(lines, result, self.on_a_terminal),
            Rows::Csv(writer) if self.on_a_terminal => {
                writer.write_record(cells(result).map(|cell| escape_controls(&cell).into_owned())).map_err(of_the_file)
            }
            Rows::Csv(writer) => writer.write_record(cells(result)).map_err(of_the_file),
            Rows::Parquet(rows) => rows.add(result),
        }
    }

    /// Writes what is left; without it, the file is not whole.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub(super) fn finish(self) -> io::Result<()> {
        match self.rows {
            Rows::Jsonl(lines) => lines.finish(),
            Rows::Csv(mut writer) => {
                writer.flush()?;
                writer.into_inner().map_err(|error| io::Error::other(error.to_string()))?.finish()
            }
            Rows::Parquet(rows) => rows.finish()?.finish(),
        }
    }
}

/// Between the tokens of JSON a line break is as good as a space; inside a string there is none.
fn write_line(lines: &mut impl Write, result: &ResultBody, on_a_terminal: bool) -> io::Result<()> {
    let document = result.document()?;
    let document = if on_a_terminal { escape_json(document.get()) } else { Cow::Borrowed(document.get()) };
    for part in document.split_inclusive(['\n', '\r']) {
        let line = part.strip_suffix(['\n', '\r']);
        lines.write_all(line.unwrap_or(part).as_bytes())?;
        if line.is_some() {
            lines.write_all(b" ")?;
        }
    }
    lines.write_all(b"\n")
}

/// The file's own error, which is nowhere to be found in an error made of a `csv::Error`.
fn of_the_file(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}

fn cells(result: &ResultBody) -> [String; COLUMNS.len()] {
    let (cause, message) = result.error.as_ref().map_or(("", ""), |error| (&error.cause, &error.message));
    [
        result.index.to_string(),
        result.company_id.clone(),
        result.model.clone(),
        result.outcome.clone(),
        result.attempt.to_string(),
        result.scored_at.map(|time| time.to_string()).unwrap_or_default(),
        result.duration_ms.to_string(),
        cause.to_owned(),
        message.to_owned(),
        result.prediction.map_or("", RawValue::get).to_owned(),
    ]
}
