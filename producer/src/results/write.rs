//! Writes results to a file. It appears under its name when it is whole, and not before.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::builder::{Float64Builder, StringBuilder, UInt32Builder};
use arrow_array::{ArrayRef, RecordBatch};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use serde_json::value::RawValue;
use tempfile::NamedTempFile;

use super::replay::ResultBody;
use crate::run::Failure;

/// The columns of CSV and Parquet, in order. `prediction` is JSON text, so that every model's results fit.
const COLUMNS: [&str; 10] =
    ["index", "company_id", "model", "outcome", "attempt", "scored_at", "duration_ms", "cause", "message", "prediction"];

/// Rows of a Parquet file gathered before they are encoded, unless their predictions have so many bytes before.
const ROWS_TOGETHER: usize = 4_096;
const BYTES_TOGETHER: usize = 8 << 20;

/// Encoded bytes kept in memory before they are written as a row group.
const ROW_GROUP_BYTES: usize = 32 << 20;

/// A file of results in the making.
pub(super) struct Writer {
    path: PathBuf,
    rows: Rows,
}

enum Rows {
    Jsonl(BufWriter<NamedTempFile>),
    Csv(Box<csv::Writer<NamedTempFile>>),
    Parquet(Box<ParquetRows>),
}

impl Writer {
    /// A file in the format that its name tells.
    pub(super) fn create(path: &Path) -> Result<Writer, Failure> {
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        let unfinished = || {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            NamedTempFile::new_in(folder).map_err(|error| cannot_write(path, error))
        };
        let rows = match extension {
            "jsonl" => Rows::Jsonl(BufWriter::new(unfinished()?)),
            "csv" => {
                let mut writer = csv::Writer::from_writer(unfinished()?);
                writer.write_record(COLUMNS).map_err(|error| cannot_write(path, error.into()))?;
                Rows::Csv(Box::new(writer))
            }
            "parquet" => Rows::Parquet(Box::new(ParquetRows::create(unfinished()?).map_err(|error| cannot_write(path, error))?)),
            _ => {
                let found = path.display();
                return Err(Failure::Usage(format!("expected --to FILE.jsonl, FILE.csv or FILE.parquet, found {found}")));
            }
        };
        Ok(Writer { path: path.to_owned(), rows })
    }

    /// Adds a row.
    pub(super) fn write(&mut self, result: &ResultBody) -> Result<(), Failure> {
        let written = match &mut self.rows {
            Rows::Jsonl(lines) => write_line(lines, result),
            Rows::Csv(writer) => writer.write_record(cells(result)).map_err(std::io::Error::from),
            Rows::Parquet(rows) => rows.add(result),
        };
        written.map_err(|error| cannot_write(&self.path, error))
    }

    /// Puts the file in its place; returns its path.
    pub(super) fn finish(self) -> Result<PathBuf, Failure> {
        let Writer { path, rows } = self;
        let file = match rows {
            Rows::Jsonl(lines) => lines.into_inner().map_err(std::io::IntoInnerError::into_error),
            Rows::Csv(writer) => writer.into_inner().map_err(|error| std::io::Error::other(error.to_string())),
            Rows::Parquet(rows) => rows.finish(),
        };
        let placed = file.and_then(|file| readable(&file).and_then(|()| file.persist(&path).map_err(|error| error.error)));
        placed.map_err(|error| cannot_write(&path, error))?;
        Ok(path)
    }
}

/// Between the tokens of JSON a line break is as good as a space; inside a string there is none.
fn write_line(lines: &mut impl Write, result: &ResultBody) -> std::io::Result<()> {
    let document = result.document()?;
    for part in document.get().split_inclusive(['\n', '\r']) {
        let line = part.strip_suffix(['\n', '\r']);
        lines.write_all(line.unwrap_or(part).as_bytes())?;
        if line.is_some() {
            lines.write_all(b" ")?;
        }
    }
    lines.write_all(b"\n")
}

/// A temporary file is its owner's alone; a result is as readable as any other new file.
fn readable(file: &NamedTempFile) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))
}

fn cannot_write(path: &Path, error: std::io::Error) -> Failure {
    Failure::Write { file: path.display().to_string(), error }
}

fn cells(result: &ResultBody) -> [String; COLUMNS.len()] {
    let (cause, message) = result.error.as_ref().map_or(("", ""), |error| (&error.cause, &error.message));
    [
        result.index.to_string(),
        result.company_id.clone(),
        result.model.clone(),
        result.outcome.clone(),
        result.attempt.to_string(),
        result.scored_at.clone(),
        result.duration_ms.to_string(),
        cause.to_owned(),
        message.to_owned(),
        result.prediction.map_or("", RawValue::get).to_owned(),
    ]
}

struct ParquetRows {
    writer: Option<ArrowWriter<File>>,
    file: NamedTempFile,
    columns: Columns,
    rows: usize,
    bytes: usize,
}

#[derive(Default)]
struct Columns {
    index: UInt32Builder,
    company_id: StringBuilder,
    model: StringBuilder,
    outcome: StringBuilder,
    attempt: UInt32Builder,
    scored_at: StringBuilder,
    duration_ms: Float64Builder,
    cause: StringBuilder,
    message: StringBuilder,
    prediction: StringBuilder,
}

impl ParquetRows {
    fn create(file: NamedTempFile) -> std::io::Result<ParquetRows> {
        let mut columns = Columns::default();
        let schema = columns.batch()?.schema();
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
            .build();
        let writer = ArrowWriter::try_new(file.reopen()?, schema, Some(properties))?;
        Ok(ParquetRows { writer: Some(writer), file, columns, rows: 0, bytes: 0 })
    }

    fn add(&mut self, result: &ResultBody) -> std::io::Result<()> {
        self.columns.add(result);
        self.rows += 1;
        self.bytes += result.prediction.map_or(0, |prediction| prediction.get().len());
        if self.rows >= ROWS_TOGETHER || self.bytes >= BYTES_TOGETHER { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> std::io::Result<()> {
        (self.rows, self.bytes) = (0, 0);
        let batch = self.columns.batch()?;
        self.writer.as_mut().map_or(Ok(()), |writer| writer.write(&batch)).map_err(std::io::Error::from)
    }

    fn finish(mut self) -> std::io::Result<NamedTempFile> {
        self.write()?;
        if let Some(writer) = self.writer.take() {
            writer.close()?;
        }
        Ok(self.file)
    }
}

impl Columns {
    fn add(&mut self, result: &ResultBody) {
        self.index.append_value(result.index);
        self.company_id.append_value(&result.company_id);
        self.model.append_value(&result.model);
        self.outcome.append_value(&result.outcome);
        self.attempt.append_value(result.attempt);
        self.scored_at.append_value(&result.scored_at);
        self.duration_ms.append_value(result.duration_ms);
        self.cause.append_option(result.error.as_ref().map(|error| &error.cause));
        self.message.append_option(result.error.as_ref().map(|error| &error.message));
        self.prediction.append_option(result.prediction.map(RawValue::get));
    }

    fn batch(&mut self) -> std::io::Result<RecordBatch> {
        let arrays: [ArrayRef; COLUMNS.len()] = [
            Arc::new(self.index.finish()),
            Arc::new(self.company_id.finish()),
            Arc::new(self.model.finish()),
            Arc::new(self.outcome.finish()),
            Arc::new(self.attempt.finish()),
            Arc::new(self.scored_at.finish()),
            Arc::new(self.duration_ms.finish()),
            Arc::new(self.cause.finish()),
            Arc::new(self.message.finish()),
            Arc::new(self.prediction.finish()),
        ];
        let nullable = true;
        let named = COLUMNS.into_iter().zip(arrays).map(|(name, array)| (name, array, nullable));
        RecordBatch::try_from_iter_with_nullable(named).map_err(std::io::Error::other)
    }
}
