//! Writes results to a file, row by row.

use std::borrow::Cow;
use std::io::{self, Write};

use rollcall_shared::message::{Format, ResultBody, ResultHeaders};
use rollcall_shared::terminal::{escape_controls, escape_json};

use super::columns::{COLUMNS, csv_fields};
use super::parquet::ParquetWriter;
use crate::destination::{Layout, Packed, Sink, Written};
use crate::read_ahead::Receiver;

/// Results as they come from the ledger: headers and body.
pub(super) type Results = Vec<(ResultHeaders, Vec<u8>)>;

/// Writes a file of results.
pub(super) struct Writer {
    format: FormatWriter,
    /// Control characters are escaped on a terminal.
    on_a_terminal: bool,
}

enum FormatWriter {
    Jsonl(Box<Packed>),
    Csv(Box<csv::Writer<Packed>>),
    Parquet(Box<ParquetWriter>),
}

impl Writer {
    fn new(sink: Sink, layout: Layout) -> io::Result<Writer> {
        let on_a_terminal = sink.is_terminal();
        let packed = Packed::new(sink, layout.compression)?;
        let format = match layout.format {
            Format::Jsonl => FormatWriter::Jsonl(Box::new(packed)),
            Format::Csv => {
                let mut writer = csv::WriterBuilder::new().delimiter(layout.delimiter).from_writer(packed);
                writer.write_record(COLUMNS).map_err(io_error)?;
                FormatWriter::Csv(Box::new(writer))
            }
            Format::Parquet => FormatWriter::Parquet(Box::new(ParquetWriter::new(packed)?)),
        };
        Ok(Writer { format, on_a_terminal })
    }

    /// Writes all `results` until their sender is dropped.
    pub(super) fn write_all(sink: Sink, layout: Layout, mut results: Receiver<Results>) -> io::Result<Writer> {
        let mut writer = Writer::new(sink, layout)?;
        while let Some(results) = results.blocking_recv() {
            for (counted, body) in &results {
                writer.write(&ResultBody::read(counted, body))?;
            }
        }
        Ok(writer)
    }

    fn write(&mut self, result: &ResultBody) -> io::Result<()> {
        match &mut self.format {
            FormatWriter::Jsonl(lines) => write_line(lines, result, self.on_a_terminal),
            FormatWriter::Csv(writer) if self.on_a_terminal => {
                writer.write_record(csv_fields(result).map(|field| escape_controls(&field).into_owned())).map_err(io_error)
            }
            FormatWriter::Csv(writer) => writer.write_record(csv_fields(result)).map_err(io_error),
            FormatWriter::Parquet(rows) => rows.add(result),
        }
    }

    /// Completes the file.
    pub(super) fn finish(self) -> io::Result<Written> {
        match self.format {
            FormatWriter::Jsonl(lines) => lines.finish(),
            FormatWriter::Csv(mut writer) => {
                writer.flush()?;
                writer.into_inner().map_err(|error| io::Error::other(error.to_string()))?.finish()
            }
            FormatWriter::Parquet(rows) => rows.finish()?.finish(),
        }
    }
}

/// Writes a result on one line. Consumers may write line breaks between the tokens of JSON, but never inside a string, so that a
/// space can replace each.
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

/// Unwraps the I/O error: `io::Error::from(csv::Error)` would hide its kind.
fn io_error(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}
