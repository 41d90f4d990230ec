//! INT96: the timestamps of Impala, Hive and old versions of Spark, days and nanoseconds in twelve bytes.
//!
//! The library reads them as nanoseconds in 64 bits, which hold the years 1677 to 2262 and wrap around beyond, or as seconds, which
//! hold every day there is. So these columns are read twice, and the two values are combined.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::timezone::Tz;
use arrow_array::types::{TimestampNanosecondType, TimestampSecondType};
use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use chrono::DateTime;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::basic::Type;

use super::super::bad_input::{Fault, Reason};
use super::encoder::Encoder;
use super::times::write_timestamp;
use crate::source::Seekable;

const NANOSECONDS: i64 = 1_000_000_000;

/// Refuses a column with INT96 inside lists or structs, for which the two values cannot be combined.
pub(super) fn refuse_nested(metadata: &ArrowReaderMetadata, position: usize) -> Result<(), Reason> {
    let schema = metadata.metadata().file_metadata().schema_descr();
    let mut leaves = (0..schema.num_columns()).filter(|&leaf| schema.get_column_root_idx(leaf) == position);
    let is_nested =
        |leaf: usize| schema.column(leaf).physical_type() == Type::INT96 && !schema.get_column_root(leaf).is_primitive();
    match leaves.any(is_nested) {
        true => Err(Reason::UnsupportedType("INT96 timestamps inside a list or struct".to_owned())),
        false => Ok(()),
    }
}

/// The same metadata with the columns of INT96 to be read in this unit, whatever Arrow schema is stored in the file.
pub(super) fn read_in(metadata: &ArrowReaderMetadata, unit: TimeUnit) -> Result<ArrowReaderMetadata, Fault> {
    let data_type = DataType::Timestamp(unit, None);
    let field = |(position, field): (usize, &Arc<Field>)| {
        let field = field.as_ref().clone();
        if is_int96(metadata, position) { field.with_data_type(data_type.clone()) } else { field }
    };
    let fields: Vec<Field> = metadata.schema().fields().iter().enumerate().map(field).collect();
    let options = ArrowReaderOptions::default().with_schema(Arc::new(Schema::new(fields)));
    Ok(ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), options)?)
}

fn is_int96(metadata: &ArrowReaderMetadata, position: usize) -> bool {
    let column = metadata.metadata().file_metadata().schema_descr().root_schema().get_fields().get(position);
    column.is_some_and(|column| column.is_primitive() && column.get_physical_type() == Type::INT96)
}

/// Reads the columns of INT96 as seconds.
pub(super) struct SecondsReader {
    batches: ParquetRecordBatchReader,
    columns: Vec<Int96Column>,
}

/// A column of INT96.
#[derive(Clone, Copy)]
pub(super) struct Int96Column {
    /// Its 0-based position among the columns that are read.
    pub position: usize,
    /// The zone in the stored Arrow schema; the values are in UTC in any case.
    zone: Option<Tz>,
}

impl SecondsReader {
    /// Reads those of the columns at `positions` that are INT96; `None` if none is.
    pub fn open(
        data: &Seekable,
        metadata: &ArrowReaderMetadata,
        positions: &[usize],
        batch_rows: usize,
    ) -> Result<Option<Self>, Fault> {
        let zone = |position: usize| match metadata.schema().field(position).data_type() {
            DataType::Timestamp(_, Some(zone)) => zone.parse().ok(),
            _ => None,
        };
        let int96 = positions.iter().enumerate().filter(|(_, in_file)| is_int96(metadata, **in_file));
        let columns: Vec<_> = int96.map(|(position, &in_file)| Int96Column { position, zone: zone(in_file) }).collect();
        if columns.is_empty() {
            return Ok(None);
        }
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(data.try_clone()?, read_in(metadata, TimeUnit::Second)?);
        let projection = ProjectionMask::roots(builder.parquet_schema(), columns.iter().map(|column| positions[column.position]));
        Ok(Some(Self { batches: builder.with_projection(projection).with_batch_size(batch_rows).build()?, columns }))
    }

    /// The next batch, which has as many `rows` as that of nanoseconds.
    pub fn next_batch(&mut self, rows: usize) -> Result<Vec<(Int96Column, ArrayRef)>, Fault> {
        let batch = self.batches.next().transpose()?.filter(|batch| batch.num_rows() == rows);
        let batch = batch.ok_or_else(|| Reason::NotParquet("its columns differ in length".to_owned()))?;
        Ok(self.columns.iter().copied().zip(batch.columns().iter().cloned()).collect())
    }
}

/// The encoder of the times that were read as `nanoseconds` and as `seconds`.
pub(super) fn encoder<'a>(column: Int96Column, nanoseconds: &'a ArrayRef, seconds: &'a ArrayRef) -> Encoder<'a> {
    let nulls = seconds.nulls().cloned();
    let nanoseconds = nanoseconds.as_primitive::<TimestampNanosecondType>();
    let seconds = seconds.as_primitive::<TimestampSecondType>();
    let write = move |row: usize, out: &mut Vec<u8>| {
        let (seconds, nanoseconds) = (seconds.value(row), nanoseconds.value(row));
        // Both sides have wrapped around by the same multiple of 2^64.
        let rest = nanoseconds.wrapping_sub(seconds.wrapping_mul(NANOSECONDS));
        let time = u32::try_from(rest).ok().and_then(|rest| DateTime::from_timestamp(seconds, rest));
        let time = time.ok_or_else(|| Reason::Unrepresentable { found: format!("a time out of range ({seconds} s)") })?;
        write_timestamp(time, column.zone, out)
    };
    Encoder::new(nulls, Box::new(write))
}
