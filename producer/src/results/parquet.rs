//! Writes results as Parquet.

use std::io;
use std::sync::Arc;

use arrow_array::builder::{Float64Builder, StringBuilder, UInt32Builder};
use arrow_array::{ArrayRef, RecordBatch};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use serde_json::value::RawValue;

use super::columns::COLUMNS;
use crate::destination::Packed;
use rollcall_shared::message::ResultBody;

/// Rows are encoded once there are this many, or once their predictions have this many bytes.
const BATCH_ROWS: usize = 4_096;
const BATCH_BYTES: usize = 2 << 20;

/// A row group is written once it has this many encoded bytes, which are in memory until then.
const ROW_GROUP_BYTES: usize = 16 << 20;

/// Writes a Parquet file.
pub(super) struct ParquetWriter {
    writer: ArrowWriter<Packed>,
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

impl ParquetWriter {
    pub(super) fn new(file: Packed) -> io::Result<ParquetWriter> {
        let mut columns = Columns::default();
        let schema = columns.batch()?.schema();
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
            .build();
        let writer = ArrowWriter::try_new(file, schema, Some(properties))?;
        Ok(ParquetWriter { writer, columns, rows: 0, bytes: 0 })
    }

    pub(super) fn add(&mut self, result: &ResultBody) -> io::Result<()> {
        self.columns.add(result);
        self.rows += 1;
        self.bytes += result.prediction.map_or(0, |prediction| prediction.get().len());
        if self.rows >= BATCH_ROWS || self.bytes >= BATCH_BYTES { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> io::Result<()> {
        (self.rows, self.bytes) = (0, 0);
        let batch = self.columns.batch()?;
        Ok(self.writer.write(&batch)?)
    }

    /// Writes the remaining rows and the footer.
    pub(super) fn finish(mut self) -> io::Result<Packed> {
        self.write()?;
        Ok(self.writer.into_inner()?)
    }
}

impl Columns {
    fn add(&mut self, result: &ResultBody) {
        self.index.append_value(result.index);
        self.company_id.append_value(&result.company_id);
        self.model.append_value(&result.model);
        self.outcome.append_value(&result.outcome);
        self.attempt.append_value(result.attempt);
        self.scored_at.append_value(result.scored_at.map(|time| time.to_string()).unwrap_or_default());
        self.duration_ms.append_value(result.duration_ms);
        self.cause.append_option(result.error.as_ref().map(|error| &error.cause));
        self.message.append_option(result.error.as_ref().map(|error| &error.message));
        self.prediction.append_option(result.prediction.map(RawValue::get));
    }

    fn batch(&mut self) -> io::Result<RecordBatch> {
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
        RecordBatch::try_from_iter_with_nullable(named).map_err(io::Error::other)
    }
}
