use std::sync::Arc;

use ::parquet::arrow::ArrowWriter;
use arrow_array::builder::{Int32Builder, MapBuilder, StringBuilder};
use arrow_array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray, StructArray, TimestampSecondArray,
};

use super::*;

pub fn two_companies() -> Vec<u8> {
    file([("company_id", text(["a", "b"])), ("name", text(["Acme", "Beta"]))])
}

fn text<const N: usize>(values: [&str; N]) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

fn file<const N: usize>(columns: [(&str, ArrayRef); N]) -> Vec<u8> {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    bytes
}

#[test]
fn rows_become_json_with_explicit_nulls_in_the_order_of_the_columns() {
    let bytes = file([
        ("name", text(["Acme \"&\"\nSons", "Beta"])),
        ("staff", Arc::new(Int64Array::from(vec![Some(12), None]))),
        ("share", Arc::new(Float64Array::from(vec![0.5, f64::NAN]))),
        ("listed", Arc::new(BooleanArray::from(vec![true, false]))),
        ("founded", Arc::new(TimestampSecondArray::from(vec![0, 86_400]))),
    ]);
    let reading = read("a.parquet", bytes);
    assert_eq!(
        reading.records(),
        [
            r#"{"name":"Acme \"&\"\nSons","staff":12,"share":0.5,"listed":true,"founded":"1970-01-01T00:00:00"}"#,
            r#"{"name":"Beta","staff":null,"share":null,"listed":false,"founded":"1970-01-02T00:00:00"}"#,
        ]
    );
    assert_eq!(reading.ids(), ["0", "1"]);
}

#[test]
fn many_batches_come_out_in_order() {
    let count = 5000;
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..count));
    let reading = read("a.parquet", file([("company_id", ids)]));
    assert_eq!(reading.companies.len(), 5000);
    assert!((0..).zip(reading.ids()).all(|(row, id): (u32, _)| id == row.to_string()));
}

#[test]
fn an_id_may_be_text_or_whole_number_or_missing() {
    assert_eq!(read("a.parquet", two_companies()).ids(), ["a", "b"]);
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(70), None]));
    assert_eq!(read_with("a.parquet", file([("n", numbers)]), &id_column("n")).ids(), ["70", "1"]);
}

#[test]
fn an_id_of_another_type_names_row_and_field() {
    let fractions: ArrayRef = Arc::new(Float64Array::from(vec![70.0]));
    assert_eq!(
        read("a.parquet", file([("company_id", fractions)])).errors,
        ["a.parquet, row 1, field \"company_id\": expected an id as text or whole number, found a fraction; write it as text"]
    );
}

#[test]
fn an_id_column_that_is_not_there_lists_those_that_are() {
    assert_eq!(
        refusal_with("a.parquet", two_companies(), &id_column("vat")),
        "a.parquet, field \"vat\": expected a column of this name, found company_id, name; name one of them with --id-column"
    );
}

#[test]
fn a_file_without_rows_is_refused() {
    assert_eq!(
        refusal("a.parquet", file([("name", text([]))])),
        "a.parquet: expected at least one company, found none; check what wrote the file"
    );
}

#[test]
fn a_file_cut_short_or_of_another_format_is_refused() {
    let whole = two_companies();
    for bytes in [&whole[..whole.len() - 3], b"name\nAcme\n", b""] {
        let error = refusal("a.parquet", bytes);
        assert!(
            error.starts_with("a.parquet: expected whole Parquet data, found it damaged, cut short or another format ("),
            "{error}"
        );
    }
}

#[test]
fn a_row_longer_than_allowed_names_its_size_and_reading_goes_on() {
    let bytes = file([("name", text(["Acme", &"x".repeat(100), "Beta"]))]);
    let reading = read_with("a.parquet", bytes, &at_most(50));
    assert_eq!(
        reading.errors,
        ["a.parquet, row 2: expected at most 50 bytes, found 111; shorten the row or raise --max-record-bytes"]
    );
    assert_eq!(reading.companies.len(), 2);
}

#[test]
fn a_column_that_json_can_not_hold_is_named() {
    let mut scores = MapBuilder::new(None, Int32Builder::new(), StringBuilder::new());
    scores.append(true).unwrap();
    let bytes = file([("name", text(["Acme"])), ("scores", Arc::new(scores.finish()))]);
    let error = refusal("a.parquet", bytes);
    assert!(
        error.starts_with("a.parquet, field \"scores\": expected a column that can be written as JSON, found Map("),
        "{error}"
    );
}

#[test]
fn columns_in_columns_become_objects_in_objects() {
    let inner = RecordBatch::try_from_iter([("city", text(["Oslo"]))]).unwrap();
    let address: ArrayRef = Arc::new(StructArray::from(inner));
    assert_eq!(read("a.parquet", file([("address", address)])).records(), [r#"{"address":{"city":"Oslo"}}"#]);
}
