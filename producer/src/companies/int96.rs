//! INT96: the timestamps of Impala, Hive and old versions of Spark, days and nanoseconds in twelve bytes.
//!
//! The library reads them as nanoseconds in 64 bits, which hold the years 1677 to 2262 and wrap beyond. It can also read
//! them as seconds, which hold every day there is. So they are read twice, and put together.

use std::fs::File;
use std::io::Write as _;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::timezone::Tz;
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
use super::parquet_times;
use super::unrepresentable::Unrepresentable;

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

/// The same file with its columns of INT96 read in this unit, whatever the schema of Arrow that was stored with it says.
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

/// The columns of INT96, read as seconds.
pub(super) struct Seconds {
    batches: ParquetRecordBatchReader,
    columns: Vec<Place>,
}

/// Where such a column is.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// Among the columns that are read.
    pub place: usize,
    /// What the schema of Arrow says of its zone: the instants are those of UTC in any case.
    zone: Option<Tz>,
}

impl Seconds {
    /// Reads those of the columns at `positions`; nothing where there are none.
    pub fn open(
        file: &File,
        metadata: &ArrowReaderMetadata,
        positions: &[usize],
        batch_rows: usize,
    ) -> Result<Option<Self>, Fault> {
        let zone = |position: usize| match metadata.schema().field(position).data_type() {
            DataType::Timestamp(_, Some(zone)) => zone.parse().ok(),
            _ => None,
        };
        let int96 = positions.iter().enumerate().filter(|(_, position)| is_int96(metadata, **position));
        let columns: Vec<Place> = int96.map(|(place, &position)| Place { place, zone: zone(position) }).collect();
        if columns.is_empty() {
            return Ok(None);
        }
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file.try_clone()?, read_in(metadata, TimeUnit::Second)?);
        let projection = ProjectionMask::roots(builder.parquet_schema(), columns.iter().map(|column| positions[column.place]));
        Ok(Some(Self { batches: builder.with_projection(projection).with_batch_size(batch_rows).build()?, columns }))
    }

    /// The next batch, of as many `rows` as that of nanoseconds: each column with its place.
    pub fn next_batch(&mut self, rows: usize) -> Result<Vec<(Place, ArrayRef)>, Fault> {
        let batch = self.batches.next().transpose()?.filter(|batch| batch.num_rows() == rows);
        let batch = batch.ok_or_else(|| Reason::NotParquet("its columns differ in length".to_owned()))?;
        Ok(self.columns.iter().copied().zip(batch.columns().iter().cloned()).collect())
    }
}

/// Writes the times that two readings of a column tell, as RFC 3339 writes date and time.
pub(super) fn encoder<'a>(
    column: Place,
    nanoseconds: &'a ArrayRef,
    seconds: &'a ArrayRef,
    unrepresentable: &Arc<Unrepresentable>,
) -> NullableEncoder<'a> {
    let encoder = Int96 {
        nanoseconds: nanoseconds.as_primitive(),
        seconds: seconds.as_primitive(),
        zone: column.zone,
        unrepresentable: Arc::clone(unrepresentable),
    };
    NullableEncoder::new(Box::new(encoder), seconds.nulls().cloned())
}

struct Int96<'a> {
    nanoseconds: &'a TimestampNanosecondArray,
    seconds: &'a TimestampSecondArray,
    zone: Option<Tz>,
    unrepresentable: Arc<Unrepresentable>,
}

impl Encoder for Int96<'_> {
    fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        let (seconds, nanoseconds) = (self.seconds.value(row), self.nanoseconds.value(row));
        // What has wrapped away is a multiple of 2^64, on both sides.
        let rest = nanoseconds.wrapping_sub(seconds.wrapping_mul(NANOSECONDS));
        let time = u32::try_from(rest).ok().and_then(|rest| DateTime::from_timestamp(seconds, rest));
        let text = match (time, self.zone) {
            (Some(time), Some(zone)) => parquet_times::in_zone(time, zone),
            (Some(time), None) => format!("{:?}", time.naive_utc()),
            (None, _) => {
                self.unrepresentable.found(Reason::Unrepresentable { found: format!("a time out of range ({seconds} s)") });
                return;
            }
        };
        write!(out, "\"{text}\"").unwrap_or_default();
    }
}
