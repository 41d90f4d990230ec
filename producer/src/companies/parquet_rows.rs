//! Parquet: columns with types and one company a row, written out as JSON.

use std::fs::File;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_json::writer::{EncoderOptions, NullableEncoder, make_encoder};
use arrow_schema::{ArrowError, DataType, FieldRef, TimeUnit};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::errors::ParquetError;
use serde_json::Value;

use super::ReadOptions;
use super::bad_input::{Fault, Reason};
use super::columns::{self, Column};
use super::int96::{self, Seconds};
use super::json_object;
use super::parquet_values::{Values, check_annotation, check_type};
use super::progress::Progress;
use super::source::refuse_shrunk;
use super::table::{Header, Row, Rows};
use super::unrepresentable::Unrepresentable;

/// Enough rows to make little of the work for each batch, few enough to hold in memory.
const BATCH_ROWS: usize = 1024;

/// Fewer rows where they have more bytes than this together, by what the file says of its columns.
const BATCH_BYTES: i64 = 4 << 20;

/// Reads the schema of `file`.
pub(super) fn open(file: File, options: &ReadOptions, progress: &Arc<Progress>) -> Result<(Header, Rows), Fault> {
    guarded(|| {
        let metadata = load(&file)?;
        let names: Vec<_> = metadata.schema().fields().iter().map(|field| field.name().trim().to_owned()).collect();
        let columns = columns::select(&names, options)?;
        for column in &columns {
            check(&metadata, column.position).map_err(|reason| Fault::from(reason).in_field(&column.name))?;
        }
        let rows = metadata.metadata().file_metadata().num_rows();
        progress.set_total_rows(u64::try_from(rows).unwrap_or_default());
        let positions: Vec<usize> = columns.iter().map(|column| column.position).collect();
        let batch_rows = batch_rows(&metadata, &positions);
        let seconds = Seconds::open(&file, &metadata, &positions, batch_rows)?;
        let metadata = if seconds.is_some() { int96::read_in(&metadata, TimeUnit::Nanosecond)? } else { metadata };
        let (same, size) = (file.try_clone()?, file.metadata()?.len());
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata);
        let projection = ProjectionMask::roots(builder.parquet_schema(), positions);
        let batches = builder.with_projection(projection).with_batch_size(batch_rows).build()?;
        let header = Header::of(&columns, None);
        let reads_all = options.columns.is_empty();
        let progress = Arc::clone(progress);
        let (number, taken) = (0, Vec::new().into_iter());
        let rows = ParquetRows { batches, file: same, size, seconds, columns, reads_all, number, progress, taken };
        Ok((header, Box::new(rows.fuse()) as Rows))
    })
}

/// How many rows to read at once, so that those of no group have many more bytes than a batch may.
fn batch_rows(metadata: &ArrowReaderMetadata, positions: &[usize]) -> usize {
    let schema = metadata.metadata().file_metadata().schema_descr();
    let is_read = |leaf: &usize| positions.contains(&schema.get_column_root_idx(*leaf));
    let groups = metadata.metadata().row_groups().iter().map(|group| {
        let bytes: i64 = (0..schema.num_columns()).filter(is_read).map(|leaf| group.column(leaf).uncompressed_size()).sum();
        BATCH_BYTES.saturating_mul(group.num_rows()) / bytes.max(1)
    });
    groups.min().and_then(|rows| usize::try_from(rows).ok()).unwrap_or(BATCH_ROWS).clamp(1, BATCH_ROWS)
}

/// The schema and what else stands at the end of `file`.
fn load(file: &File) -> Result<ArrowReaderMetadata, Fault> {
    ArrowReaderMetadata::load(file, ArrowReaderOptions::default()).map_err(|error| {
        // The file is whole where it can be read without the types of Arrow that are noted beside those of Parquet.
        let parquet_only = ArrowReaderOptions::default().with_skip_arrow_metadata(true);
        match ArrowReaderMetadata::load(file, parquet_only) {
            Ok(_) => Reason::UnknownType(error.to_string()).into(),
            Err(_) => error.into(),
        }
    })
}

/// Refuses a column that JSON cannot hold.
fn check(metadata: &ArrowReaderMetadata, position: usize) -> Result<(), Reason> {
    refuse_encrypted(metadata, position)?;
    check_type(&metadata.schema().fields()[position])?;
    let schema = metadata.metadata().file_metadata().schema_descr();
    check_annotation(&schema.root_schema().get_fields()[position])?;
    int96::check(metadata, position)
}

/// A footer that anybody can read may tell of columns that only those with a key can.
fn refuse_encrypted(metadata: &ArrowReaderMetadata, position: usize) -> Result<(), Reason> {
    let schema = metadata.metadata().file_metadata().schema_descr();
    let leaves = (0..schema.num_columns()).filter(|&leaf| schema.get_column_root_idx(leaf) == position);
    let mut chunks = leaves.flat_map(|leaf| metadata.metadata().row_groups().iter().map(move |group| group.column(leaf)));
    if chunks.any(|chunk| chunk.crypto_metadata().is_some()) { Err(Reason::Encrypted) } else { Ok(()) }
}

/// The library asserts what some damaged files belie; that may cost the file, but not the process.
fn guarded<T>(read: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    let damaged = |_| Err(Reason::NotParquet("it contradicts itself".to_owned()).into());
    panic::catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(damaged)
}

struct ParquetRows {
    batches: ParquetRecordBatchReader,
    /// The file and the size that it had when it was opened.
    file: File,
    size: u64,
    seconds: Option<Seconds>,
    columns: Vec<Column>,
    /// Whether a row without any value can be told from one whose values are in columns that are not read.
    reads_all: bool,
    /// The rows before the batch in hand, those without any value among them.
    number: u32,
    progress: Arc<Progress>,
    /// The rows of the batch in hand.
    taken: std::vec::IntoIter<Result<Row, Fault>>,
}

impl Iterator for ParquetRows {
    type Item = Result<Row, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(row) = self.taken.next() {
                return Some(row);
            }
            match guarded(|| self.take_batch()) {
                Ok(Some(rows)) => self.taken = rows.into_iter(),
                Ok(None) => return None,
                Err(fault) => {
                    let fault = fault.in_row(self.number.saturating_add(1));
                    return Some(Err(refuse_shrunk(&self.file, self.size).err().unwrap_or(fault)));
                }
            }
        }
    }
}

impl ParquetRows {
    fn take_batch(&mut self) -> Result<Option<Vec<Result<Row, Fault>>>, Fault> {
        let Some(batch) = self.batches.next().transpose()? else { return Ok(None) };
        let seconds = self.seconds.as_mut().map(|seconds| seconds.next_batch(batch.num_rows())).transpose()?;
        let unrepresentable = Arc::new(Unrepresentable::default());
        let options = EncoderOptions::default()
            .with_explicit_nulls(true)
            .with_encoder_factory(Arc::new(Values { unrepresentable: Arc::clone(&unrepresentable) }));
        let schema = batch.schema();
        let mut encoders = encoders(schema.fields(), &batch, &options)?;
        for (column, seconds) in seconds.iter().flatten() {
            encoders[column.place] = int96::encoder(*column, batch.column(column.place), seconds, &unrepresentable);
        }
        let id_type = self.columns.iter().position(|column| column.holds_ids).map(|place| batch.column(place).data_type());
        let whole_numbers = id_type.and_then(whole_numbers);
        let rows = (0..batch.num_rows()).zip(self.number.saturating_add(1)..).filter_map(|(row, number)| {
            let read = self.row(row, &mut encoders, &unrepresentable, whole_numbers).transpose()?;
            Some(read.map(|read| Row { number: Some(number), ..read }).map_err(|fault| fault.in_row(number)))
        });
        let rows = rows.collect();
        self.number = self.number.saturating_add(u32::try_from(batch.num_rows()).unwrap_or(u32::MAX));
        Ok(Some(rows))
    }

    /// One row; nothing where it has no value at all.
    fn row(
        &self,
        row: usize,
        encoders: &mut [NullableEncoder<'_>],
        unrepresentable: &Unrepresentable,
        whole_numbers: Option<f64>,
    ) -> Result<Option<Row>, Fault> {
        let mut record = Vec::new();
        let (mut id, mut is_blank) = (None, true);
        for (position, (column, encoder)) in self.columns.iter().zip(encoders).enumerate() {
            record.push(if position == 0 { b'{' } else { b',' });
            record.extend_from_slice(&column.key);
            if encoder.is_null(row) {
                record.extend_from_slice(b"null");
                continue;
            }
            is_blank = false;
            let start = record.len();
            encoder.encode(row, &mut record);
            if let Some(reason) = unrepresentable.take() {
                return Err(Fault::from(reason).in_field(&column.name));
            }
            if column.holds_ids {
                id = self.id_of(&record[start..], whole_numbers).map_err(|fault| fault.in_field(&column.name))?;
            }
        }
        record.push(b'}');
        if is_blank && self.reads_all {
            self.progress.add_blank_row();
            return Ok(None);
        }
        Ok(Some(Row { number: None, line: None, id, record }))
    }

    /// The id that a literal is; in a column of floats, `whole_numbers` are exact below a bound.
    fn id_of(&self, literal: &[u8], whole_numbers: Option<f64>) -> Result<Option<String>, Fault> {
        let value: Value = serde_json::from_slice(literal).map_err(io::Error::from)?;
        let id = json_object::id_of(&value, || str::from_utf8(literal).ok())?;
        match (whole_numbers, value.as_f64()) {
            (Some(bound), Some(number)) if number.abs() >= bound => return Err(Reason::LostDigits.into()),
            (Some(_), _) if id.is_some() => self.progress.add_whole_id(),
            _ if value.is_number() && literal.contains(&b'.') => self.progress.add_whole_id(),
            _ => {}
        }
        Ok(id)
    }
}

/// The bound from which on two whole numbers may be one float of this type, and which is which is lost. DuckDB stores HUGEINT so, and
/// pandas integers where one is missing.
fn whole_numbers(data_type: &DataType) -> Option<f64> {
    match data_type {
        DataType::Float16 => Some(2_f64.powi(11)),
        DataType::Float32 => Some(2_f64.powi(24)),
        DataType::Float64 => Some(2_f64.powi(53)),
        DataType::Dictionary(_, values) => whole_numbers(values),
        _ => None,
    }
}

fn encoders<'a>(
    fields: &'a [FieldRef],
    batch: &'a RecordBatch,
    options: &'a EncoderOptions,
) -> Result<Vec<NullableEncoder<'a>>, ArrowError> {
    fields.iter().zip(batch.columns()).map(|(field, column)| make_encoder(field, column, options)).collect()
}

impl From<ParquetError> for Fault {
    fn from(error: ParquetError) -> Self {
        match error.to_string() {
            words if words.contains("encrypt") => Reason::Encrypted.into(),
            words => damaged(words).into(),
        }
    }
}

/// What is encrypted is refused before a value is read.
impl From<ArrowError> for Fault {
    fn from(error: ArrowError) -> Self {
        damaged(error.to_string()).into()
    }
}

/// The library keeps nothing but the words of an error of the system's, which have its number in them.
fn damaged(words: String) -> Reason {
    let number =
        words.rsplit_once("(os error ").and_then(|(_, rest)| rest.split_once(')')).and_then(|(number, _)| number.parse().ok());
    match number {
        Some(number) => Reason::Unreadable(io::Error::from_raw_os_error(number)),
        None => Reason::NotParquet(words),
    }
}
