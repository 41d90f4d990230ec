//! Parquet: columns with types and one company a row, written as JSON.

mod supported;

mod int96;
mod json;
mod times;

mod encoder;

use std::io;
use std::ops::Range;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{ArrowError, DataType, Fields, TimeUnit};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::errors::ParquetError;
use rollcall_shared::message::Reading as ReadOptions;
use serde_json::Value;

use super::bad_input::{Fault, Reason};
use super::columns::{self, Column};
use super::json_object;
use super::row::{Header, Row, Rows};
use crate::source::{Progress, Seekable, SourceError};
use encoder::Encoder;
use int96::{Int96Column, SecondsReader};

/// Enough rows that the work for each batch is negligible, few enough to hold in memory.
const BATCH_ROWS: usize = 1024;

/// The most bytes of a batch, by what the file states about its columns: a batch of large rows has fewer of them.
const BATCH_BYTES: i64 = 4 << 20;

/// Reads the schema of `data` and checks the columns that will be read.
pub(super) fn open(data: Seekable, options: &ReadOptions, progress: &Arc<Progress>) -> Result<(Header, Rows), Fault> {
    let again = data.try_clone()?;
    let opened = guarded(|| open_whole(data, options, progress));
    // The library keeps only the text of an error from below.
    opened.map_err(|fault| again.trouble().map_or(fault, Fault::from))
}

fn open_whole(data: Seekable, options: &ReadOptions, progress: &Arc<Progress>) -> Result<(Header, Rows), Fault> {
    let metadata = load(&data)?;
    let names: Vec<_> = metadata.schema().fields().iter().map(|field| field.name().trim().to_owned()).collect();
    let columns = columns::select(&names, options)?;
    for column in &columns {
        supported::check(&metadata, column.position).map_err(|reason| Fault::from(reason).in_field(&column.name))?;
    }
    let rows = metadata.metadata().file_metadata().num_rows();
    progress.set_total_rows(u64::try_from(rows).unwrap_or_default());
    let positions: Vec<usize> = columns.iter().map(|column| column.position).collect();
    data.plan(&column_chunks(&metadata, &positions));
    let batch_rows = batch_rows(&metadata, &positions);
    let seconds = SecondsReader::open(&data, &metadata, &positions, batch_rows)?;
    let metadata = if seconds.is_some() { int96::read_in(&metadata, TimeUnit::Nanosecond)? } else { metadata };
    let copy = data.try_clone()?;
    let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(data, metadata);
    let projection = ProjectionMask::roots(builder.parquet_schema(), positions);
    let batches = builder.with_projection(projection).with_batch_size(batch_rows).build()?;
    let header = Header::of(&columns, None);
    let reads_all = options.columns.is_empty();
    let progress = Arc::clone(progress);
    let (number, batch) = (0, Vec::new().into_iter());
    let rows = ParquetRows { batches, data: copy, seconds, columns, reads_all, number, progress, batch };
    Ok((header, Box::new(rows.fuse()) as Rows))
}

/// Where the columns at these positions are in the file, by row groups.
fn column_chunks(metadata: &ArrowReaderMetadata, positions: &[usize]) -> Vec<Vec<Range<u64>>> {
    let schema = metadata.metadata().file_metadata().schema_descr();
    let is_read = |leaf: &usize| positions.contains(&schema.get_column_root_idx(*leaf));
    let leaves: Vec<usize> = (0..schema.num_columns()).filter(is_read).collect();
    let range = |(start, length): (u64, u64)| start..start.saturating_add(length);
    let groups = metadata.metadata().row_groups().iter();
    groups.map(|group| leaves.iter().map(|&leaf| range(group.column(leaf).byte_range())).collect()).collect()
}

/// How many rows to read at once, so that in no row group they have many more bytes than [`BATCH_BYTES`].
fn batch_rows(metadata: &ArrowReaderMetadata, positions: &[usize]) -> usize {
    let schema = metadata.metadata().file_metadata().schema_descr();
    let is_read = |leaf: &usize| positions.contains(&schema.get_column_root_idx(*leaf));
    let groups = metadata.metadata().row_groups().iter().map(|group| {
        let bytes: i64 = (0..schema.num_columns()).filter(is_read).map(|leaf| group.column(leaf).uncompressed_size()).sum();
        BATCH_BYTES.saturating_mul(group.num_rows()) / bytes.max(1)
    });
    groups.min().and_then(|rows| usize::try_from(rows).ok()).unwrap_or(BATCH_ROWS).clamp(1, BATCH_ROWS)
}

/// Loads the schema and the rest of the footer.
fn load(data: &Seekable) -> Result<ArrowReaderMetadata, Fault> {
    ArrowReaderMetadata::load(data, ArrowReaderOptions::default()).map_err(|error| {
        // If the file can be read without the Arrow schema that its writer stored in it, the file is whole.
        let parquet_only = ArrowReaderOptions::default().with_skip_arrow_metadata(true);
        match ArrowReaderMetadata::load(data, parquet_only) {
            Ok(_) => Reason::UnknownType(error.to_string()).into(),
            Err(_) => error.into(),
        }
    })
}

/// Makes an error of a panic: the library panics on some damaged files.
fn guarded<T>(read: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    let damaged = |_| Err(Reason::NotParquet("it contradicts itself".to_owned()).into());
    panic::catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(damaged)
}

struct ParquetRows {
    batches: ParquetRecordBatchReader,
    /// The same data.
    data: Seekable,
    seconds: Option<SecondsReader>,
    columns: Vec<Column>,
    /// Whether all columns are read: otherwise a row that seems blank may have values in the others.
    reads_all: bool,
    /// The rows before the current batch, blank ones included.
    number: u32,
    progress: Arc<Progress>,
    /// The rest of the current batch.
    batch: std::vec::IntoIter<Result<Row, Fault>>,
}

impl Iterator for ParquetRows {
    type Item = Result<Row, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(row) = self.batch.next() {
                return Some(row);
            }
            match guarded(|| self.read_batch()) {
                Ok(Some(rows)) => self.batch = rows.into_iter(),
                Ok(None) => return None,
                Err(fault) => {
                    let fault = fault.in_row(self.number.saturating_add(1));
                    return Some(Err(self.data.trouble().map_or(fault, Fault::from)));
                }
            }
        }
    }
}

impl ParquetRows {
    /// The next rows; `None` at the end of the file.
    fn read_batch(&mut self) -> Result<Option<Vec<Result<Row, Fault>>>, Fault> {
        let Some(batch) = self.batches.next().transpose()? else { return Ok(None) };
        let seconds = self.seconds.as_mut().map(|seconds| seconds.next_batch(batch.num_rows())).transpose()?;
        let schema = batch.schema();
        let encoders = encoders(schema.fields(), &batch, seconds.as_deref().unwrap_or_default())?;
        let id_type = self.columns.iter().position(|column| column.holds_ids).map(|place| batch.column(place).data_type());
        let exact_below = id_type.and_then(exact_below);
        let rows = (0..batch.num_rows()).zip(self.number.saturating_add(1)..).filter_map(|(row, number)| {
            let read = self.row(row, &encoders, exact_below).transpose()?;
            Some(read.map(|read| Row { number: Some(number), ..read }).map_err(|fault| fault.in_row(number)))
        });
        let rows = rows.collect();
        self.number = self.number.saturating_add(u32::try_from(batch.num_rows()).unwrap_or(u32::MAX));
        Ok(Some(rows))
    }

    /// One row of a batch; `None` if it has no value at all.
    fn row(&self, row: usize, encoders: &[Encoder<'_>], exact_below: Option<f64>) -> Result<Option<Row>, Fault> {
        let mut record = Vec::new();
        let (mut id, mut is_blank) = (None, true);
        for (position, (column, values)) in self.columns.iter().zip(encoders).enumerate() {
            record.push(if position == 0 { b'{' } else { b',' });
            record.extend_from_slice(&column.key);
            let start = record.len();
            values.write(row, &mut record).map_err(|reason| Fault::from(reason).in_field(&column.name))?;
            if values.is_null(row) {
                continue;
            }
            is_blank = false;
            if column.holds_ids {
                id = self.id_of(&record[start..], exact_below).map_err(|fault| fault.in_field(&column.name))?;
            }
        }
        record.push(b'}');
        if is_blank && self.reads_all {
            self.progress.add_blank_row();
            return Ok(None);
        }
        Ok(Some(Row { number: None, line: None, id, record }))
    }

    /// The id that the JSON value `literal` is; in a column of floats, whole numbers are exact only below `exact_below`.
    fn id_of(&self, literal: &[u8], exact_below: Option<f64>) -> Result<Option<String>, Fault> {
        let value: Value = serde_json::from_slice(literal).map_err(io::Error::from)?;
        let id = json_object::id_of(&value, || str::from_utf8(literal).ok())?;
        match (exact_below, value.as_f64()) {
            (Some(bound), Some(number)) if number.abs() >= bound => return Err(Reason::LostDigits.into()),
            (Some(_), _) if id.is_some() => self.progress.add_whole_id(),
            _ if value.is_number() && literal.contains(&b'.') => self.progress.add_whole_id(),
            _ => {}
        }
        Ok(id)
    }
}

/// The bound from which on two whole numbers may be stored as the same float of this type. DuckDB stores HUGEINT as floats, and pandas
/// integers if one is missing.
fn exact_below(data_type: &DataType) -> Option<f64> {
    match data_type {
        DataType::Float16 => Some(2_f64.powi(11)),
        DataType::Float32 => Some(2_f64.powi(24)),
        DataType::Float64 => Some(2_f64.powi(53)),
        DataType::Dictionary(_, values) => exact_below(values),
        _ => None,
    }
}

/// The encoders of the columns of `batch`; those of INT96 come also as `seconds`.
fn encoders<'a>(
    fields: &'a Fields,
    batch: &'a RecordBatch,
    seconds: &'a [(Int96Column, ArrayRef)],
) -> Result<Vec<Encoder<'a>>, Reason> {
    let columns = fields.iter().zip(batch.columns());
    let mut encoders: Vec<_> = columns.map(|(field, column)| json::encoder(field, column)).collect::<Result<_, _>>()?;
    for (column, seconds) in seconds {
        encoders[column.position] = int96::encoder(*column, batch.column(column.position), seconds);
    }
    Ok(encoders)
}

impl From<ParquetError> for Fault {
    fn from(error: ParquetError) -> Self {
        match error.to_string() {
            message if message.contains("encrypt") => Reason::Encrypted.into(),
            message => damaged(message),
        }
    }
}

/// Never about encryption: encrypted columns are refused before a value is read.
impl From<ArrowError> for Fault {
    fn from(error: ArrowError) -> Self {
        damaged(error.to_string())
    }
}

/// The fault that an error of the library shows. Of a system's error, the library keeps only the text, which has its number in it.
fn damaged(message: String) -> Fault {
    let number =
        message.rsplit_once("(os error ").and_then(|(_, rest)| rest.split_once(')')).and_then(|(number, _)| number.parse().ok());
    match number {
        Some(number) => SourceError::Unreadable(io::Error::from_raw_os_error(number)).into(),
        None => Reason::NotParquet(message).into(),
    }
}
