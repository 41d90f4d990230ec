//! INT96: the timestamps of Impala, Hive and old versions of Spark, days and nanoseconds in twelve bytes.
//!
//! The library reads them as nanoseconds in 64 bits, which hold the years 1677 to 2262 and wrap beyond. It can also read
//! them as seconds, which hold every day there is. So they are read twice, and put together.

use std::fs::File;
use std::io::Write as _;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, TimestampNanosecondArray, TimestampSecondArray};
use arrow_json::writer::{Encoder, NullableEncoder};
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use chrono::DateTime;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::basic::Type;

use super::bad_input::{Fault, Reason};
use super::untellable::Untellable;

const NANOSECONDS: i64 = 1_000_000_000;

/// Refuses a column that holds INT96 inside lists or structs, where the two readings can't be put together.
pub(super) fn check(metadata: &ArrowReaderMetadata, position: usize) -> Result<(), Reason> {
    let schema = metadata.metadata().file_metadata().schema_descr();
    let leaves = (0..schema.num_columns()).filter(|&leaf| schema.get_column_root_idx(leaf) == position);
    let is_nested =
        |leaf: usize| schema.column(leaf).physical_type() == Type::INT96 && !schema.get_column_root(leaf).is_primitive();
    match leaves.into_iter().any(is_nested) {
        true => Err(Reason::UnsupportedType("INT96 timestamps inside a list or struct".to_owned())),
        false => Ok(()),
    }
}

/// The columns of INT96, read as seconds.
pub(super) struct Seconds {
    batches: ParquetRecordBatchReader,
    /// Their places among the columns that are read.
    places: Vec<usize>,
}

impl Seconds {
    /// Reads those of the columns at `positions`; nothing where there are none.
    pub fn open(
        file: &File,
        metadata: &ArrowReaderMetadata,
        positions: &[usize],
        batch_rows: usize,
    ) -> Result<Option<Self>, Fault> {
        let parquet_schema = metadata.metadata().file_metadata().schema_descr();
        let is_int96 = |position: usize| {
            let column = parquet_schema.root_schema().get_fields().get(position);
            column.is_some_and(|column| column.is_primitive() && column.get_physical_type() == Type::INT96)
        };
        let places: Vec<usize> = (0..positions.len()).filter(|&place| is_int96(positions[place])).collect();
        if places.is_empty() {
            return Ok(None);
        }
        let seconds = |(position, field): (usize, &Arc<Field>)| {
            let data_type = DataType::Timestamp(TimeUnit::Second, None);
            if is_int96(position) { field.as_ref().clone().with_data_type(data_type) } else { field.as_ref().clone() }
        };
        let fields: Vec<Field> = metadata.schema().fields().iter().enumerate().map(seconds).collect();
        let options = ArrowReaderOptions::default().with_schema(Arc::new(Schema::new(fields)));
        let builder = ParquetRecordBatchReaderBuilder::try_new_with_options(file.try_clone()?, options)?;
        let projection = ProjectionMask::roots(builder.parquet_schema(), places.iter().map(|&place| positions[place]));
        Ok(Some(Self { batches: builder.with_projection(projection).with_batch_size(batch_rows).build()?, places }))
    }

    /// The next batch, of as many `rows` as that of nanoseconds: each column with its place.
    pub fn next_batch(&mut self, rows: usize) -> Result<Vec<(usize, ArrayRef)>, Fault> {
        let batch = self.batches.next().transpose()?.filter(|batch| batch.num_rows() == rows);
        let batch = batch.ok_or_else(|| Reason::NotParquet("its columns differ in length".to_owned()))?;
        Ok(self.places.iter().copied().zip(batch.columns().iter().cloned()).collect())
    }
}

/// Writes the times without a zone that two readings of a column tell, as RFC 3339 writes date and time.
pub(super) fn encoder<'a>(nanoseconds: &'a ArrayRef, seconds: &'a ArrayRef, untellable: &Arc<Untellable>) -> NullableEncoder<'a> {
    let encoder =
        Int96 { nanoseconds: nanoseconds.as_primitive(), seconds: seconds.as_primitive(), untellable: Arc::clone(untellable) };
    NullableEncoder::new(Box::new(encoder), seconds.nulls().cloned())
}

struct Int96<'a> {
    nanoseconds: &'a TimestampNanosecondArray,
    seconds: &'a TimestampSecondArray,
    untellable: Arc<Untellable>,
}

impl Encoder for Int96<'_> {
    fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        let (seconds, nanoseconds) = (self.seconds.value(row), self.nanoseconds.value(row));
        // What has wrapped away is a multiple of 2^64, on both sides.
        let rest = nanoseconds.wrapping_sub(seconds.wrapping_mul(NANOSECONDS));
        let time = u32::try_from(rest).ok().and_then(|rest| DateTime::from_timestamp(seconds, rest));
        match time {
            Some(time) => write!(out, "\"{:?}\"", time.naive_utc()).unwrap_or_default(),
            None => self.untellable.found(Reason::Untellable { found: format!("a time out of range ({seconds} s)") }),
        }
    }
}
