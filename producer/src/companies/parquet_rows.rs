//! Parquet: columns with types and one company a row, written out as JSON.

use std::fs::File;
use std::panic::{self, AssertUnwindSafe};

use arrow_array::new_empty_array;
use arrow_json::writer::{EncoderOptions, LineDelimited, WriterBuilder, make_encoder};
use arrow_schema::{ArrowError, Schema};
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::errors::ParquetError;

use super::ReadOptions;
use super::bad_input::{Fault, Reason};
use super::table::{Row, Table};
use super::{columns, json_object};

/// Enough rows to make little of the work for each batch, few enough to hold in memory.
const BATCH_ROWS: usize = 1024;

/// Reads the schema of `file`.
pub(super) fn open(file: File, options: &ReadOptions) -> Result<Table, Fault> {
    guarded(|| {
        let builder = ParquetRecordBatchReaderBuilder::try_new(file)?;
        let names = header(builder.schema())?;
        let id_column = columns::find_id(&names, options.id_column.as_deref())?;
        let id_field = id_column.map(|column| names[column].clone());
        let rows = ParquetRows {
            batches: builder.with_batch_size(BATCH_ROWS).build()?,
            objects: Vec::new(),
            taken_bytes: 0,
            id_field: id_field.clone(),
        };
        Ok(Table::new(names, id_field, rows))
    })
}

/// The library asserts what some damaged files belie; that may cost the file, but not the process.
fn guarded<T>(read: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    let damaged = |_| Err(Reason::NotParquet("it contradicts itself".to_owned()).into());
    panic::catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(damaged)
}

fn header(schema: &Schema) -> Result<Vec<String>, Fault> {
    let names: Vec<_> = schema.fields().iter().map(|field| field.name().clone()).collect();
    columns::check_names(&names)?;
    for field in schema.fields() {
        let nothing = new_empty_array(field.data_type());
        if make_encoder(field, &nothing, &EncoderOptions::default()).is_err() {
            let reason = Reason::UnsupportedType(field.data_type().to_string());
            return Err(Fault::from(reason).in_field(field.name()));
        }
    }
    Ok(names)
}

struct ParquetRows {
    batches: ParquetRecordBatchReader,
    /// The batch in hand, as one JSON object a line.
    objects: Vec<u8>,
    taken_bytes: usize,
    id_field: Option<String>,
}

impl Iterator for ParquetRows {
    type Item = Result<Row, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.taken_bytes == self.objects.len() {
            match guarded(|| self.take_batch()) {
                Ok(true) => {}
                Ok(false) => return None,
                Err(fault) => return Some(Err(fault)),
            }
        }
        Some(self.take_row())
    }
}

impl ParquetRows {
    fn take_batch(&mut self) -> Result<bool, Fault> {
        let Some(batch) = self.batches.next().transpose()? else { return Ok(false) };
        self.objects.clear();
        self.taken_bytes = 0;
        let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(&mut self.objects);
        writer.write(&batch)?;
        Ok(true)
    }

    fn take_row(&mut self) -> Result<Row, Fault> {
        let rest = &self.objects[self.taken_bytes..];
        let end = rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len());
        let record = rest[..end].to_owned();
        self.taken_bytes = (self.taken_bytes + end + 1).min(self.objects.len());
        let id = match &self.id_field {
            Some(name) => json_object::id(&json_object::parse(&record)?, name)?,
            None => None,
        };
        Ok(Row { line: None, id, record })
    }
}

impl From<ParquetError> for Fault {
    fn from(error: ParquetError) -> Self {
        Reason::NotParquet(error.to_string()).into()
    }
}

impl From<ArrowError> for Fault {
    fn from(error: ArrowError) -> Self {
        Reason::NotParquet(error.to_string()).into()
    }
}
