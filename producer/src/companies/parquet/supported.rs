//! Refuses columns that cannot become JSON, before any value is read.

use std::collections::HashSet;

use arrow_array::new_empty_array;
use arrow_schema::{DataType, Field};
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use parquet::basic::{ConvertedType, LogicalType};
use parquet::schema::types::Type;

use super::super::bad_input::Reason;
use super::{int96, json};

/// Refuses the column at `position` if JSON cannot hold its values.
pub(super) fn check(metadata: &ArrowReaderMetadata, position: usize) -> Result<(), Reason> {
    refuse_encrypted(metadata, position)?;
    check_type(&metadata.schema().fields()[position])?;
    let schema = metadata.metadata().file_metadata().schema_descr();
    check_annotation(&schema.root_schema().get_fields()[position])?;
    int96::refuse_nested(metadata, position)
}

/// Refuses an encrypted column; the footer of the file, and other columns, may be readable without a key.
fn refuse_encrypted(metadata: &ArrowReaderMetadata, position: usize) -> Result<(), Reason> {
    let schema = metadata.metadata().file_metadata().schema_descr();
    let leaves = (0..schema.num_columns()).filter(|&leaf| schema.get_column_root_idx(leaf) == position);
    let mut chunks = leaves.flat_map(|leaf| metadata.metadata().row_groups().iter().map(move |group| group.column(leaf)));
    if chunks.any(|chunk| chunk.crypto_metadata().is_some()) { Err(Reason::Encrypted) } else { Ok(()) }
}

fn check_type(field: &Field) -> Result<(), Reason> {
    if let Some(name) = repeated_field(field.data_type()) {
        return Err(Reason::UnsupportedType(format!("a struct with two fields of the name {name:?}")));
    }
    let no_values = new_empty_array(field.data_type());
    match json::encoder(field, &no_values) {
        Ok(_) => Ok(()),
        Err(_) => Err(Reason::UnsupportedType(field.data_type().to_string())),
    }
}

/// The name that two fields of a struct have, at any depth: one JSON object cannot hold both.
fn repeated_field(data_type: &DataType) -> Option<&str> {
    match data_type {
        DataType::Struct(fields) => {
            let mut seen = HashSet::new();
            let repeated = fields.iter().find(|field| !seen.insert(field.name())).map(|field| field.name().as_str());
            repeated.or_else(|| fields.iter().find_map(|field| repeated_field(field.data_type())))
        }
        // The entries of a map are structs of a key and a value; their names do not matter.
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(entry) => entry.iter().find_map(|field| repeated_field(field.data_type())),
            _ => None,
        },
        DataType::List(inner)
        | DataType::LargeList(inner)
        | DataType::FixedSizeList(inner, _)
        | DataType::ListView(inner)
        | DataType::LargeListView(inner) => repeated_field(inner.data_type()),
        _ => None,
    }
}

/// Refuses binary values in an encoding of their own, at any depth: their bytes may happen to be UTF-8, and would pass for text.
fn check_annotation(column: &Type) -> Result<(), Reason> {
    let annotations = column.get_basic_info();
    let refused = match annotations.logical_type_ref() {
        Some(LogicalType::Variant(_)) => "VARIANT",
        Some(LogicalType::Geometry(_)) => "GEOMETRY",
        Some(LogicalType::Geography(_)) => "GEOGRAPHY",
        _ if annotations.converted_type() == ConvertedType::BSON => "BSON",
        _ if column.is_group() => return column.get_fields().iter().try_for_each(|field| check_annotation(field)),
        _ => return Ok(()),
    };
    Err(Reason::UnsupportedType(refused.to_owned()))
}
