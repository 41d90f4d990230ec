use std::sync::Arc;

use ::parquet::arrow::ArrowWriter;
use ::parquet::encryption::encrypt::FileEncryptionProperties;
use ::parquet::file::properties::WriterProperties;
use arrow_array::builder::{FixedSizeBinaryBuilder, Int32Builder, MapBuilder, MapFieldNames, StringBuilder};
use arrow_array::types::{ArrowPrimitiveType, Float16Type};
use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Date64Array, Decimal128Array, FixedSizeBinaryArray, Float16Array,
    Float32Array, Float64Array, Int64Array, IntervalDayTimeArray, LargeBinaryArray, ListArray, RecordBatch, StringArray,
    StructArray, TimestampMicrosecondArray, TimestampSecondArray, UInt64Array,
};
use arrow_buffer::{IntervalDayTime, OffsetBuffer};
use arrow_schema::extension::Uuid;
use arrow_schema::{DataType, Field, Schema};

use super::*;

pub fn two_companies() -> Vec<u8> {
    file([("company_id", text(["a", "b"])), ("name", text(["Acme", "Beta"]))])
}

pub fn text<const N: usize>(values: [&str; N]) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

pub fn file<const N: usize>(columns: [(&str, ArrayRef); N]) -> Vec<u8> {
    written(&RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap())
}

pub fn written(batch: &RecordBatch) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
    writer.write(batch).unwrap();
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
    assert_eq!(read_with("a.parquet", file([("n", numbers), ("name", text(["x", "y"]))]), &id_column("n")).ids(), ["70", "1"]);
}

#[test]
fn an_id_of_another_type_names_row_and_field() {
    let fractions: ArrayRef = Arc::new(Float64Array::from(vec![70.5]));
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
    assert!(error.starts_with("a.parquet, field \"scores\": expected a column that JSON can hold, found Map("), "{error}");
}

#[test]
fn columns_in_columns_become_objects_in_objects() {
    let inner = RecordBatch::try_from_iter([("city", text(["Oslo"]))]).unwrap();
    let address: ArrayRef = Arc::new(StructArray::from(inner));
    assert_eq!(read("a.parquet", file([("address", address)])).records(), [r#"{"address":{"city":"Oslo"}}"#]);
}

/// A file with the column `value`, and one of names, so that no row is blank.
fn beside_names<const N: usize>(column: ArrayRef, names: [&str; N]) -> Vec<u8> {
    file([("value", column), ("name", text(names))])
}

/// Dates and times that cannot be written, at the ends of their types' ranges: DuckDB and Postgres write infinity so.
#[test]
fn a_date_or_time_that_cannot_be_told_is_a_bad_row_at_any_depth() {
    let columns: [ArrayRef; 5] = [
        Arc::new(Date32Array::from(vec![i32::MAX, 0])),
        Arc::new(Date64Array::from(vec![i64::MAX, 0])),
        Arc::new(TimestampSecondArray::from(vec![i64::MAX, 0])),
        Arc::new(TimestampMicrosecondArray::from(vec![i64::MIN, 0])),
        Arc::new(TimestampMicrosecondArray::from(vec![i64::MAX, 0]).with_timezone("UTC")),
    ];
    for column in columns {
        assert_first_is_bad(&column, "a date or time out of range, as an infinity is written");
    }
}

/// Asserts that the first of two values makes a bad row, by itself and in a list, and that the second does not.
pub fn assert_first_is_bad(values: &ArrayRef, found: &str) {
    let field = Arc::new(Field::new_list_field(values.data_type().clone(), true));
    let list: ArrayRef = Arc::new(ListArray::new(field, OffsetBuffer::from_lengths([1, 1]), Arc::clone(values), None));
    for column in [Arc::clone(values), list] {
        let column_type = column.data_type().to_string();
        let reading = read("a.parquet", beside_names(column, ["x", "y"]));
        let [error] = reading.errors.try_into().unwrap();
        let expected =
            format!("a.parquet, row 1, field \"value\": expected a value that JSON can hold, found {found}; write null");
        assert!(error.starts_with(&expected), "{column_type}: {error}");
        assert_eq!(reading.companies.iter().map(|company| company.index).collect::<Vec<_>>(), [1], "{column_type}");
    }
}

#[test]
fn an_infinite_number_is_a_bad_row_and_nan_is_missing() {
    let columns: [ArrayRef; 2] = [
        Arc::new(Float64Array::from(vec![1.5, f64::NAN, f64::INFINITY])),
        Arc::new(Float32Array::from(vec![1.5, f32::NAN, f32::NEG_INFINITY])),
    ];
    for column in columns {
        let reading = read("a.parquet", beside_names(column, ["x", "y", "z"]));
        assert_eq!(reading.records(), [r#"{"value":1.5,"name":"x"}"#, r#"{"value":null,"name":"y"}"#]);
        let [error] = reading.errors.try_into().unwrap();
        assert!(error.contains("row 3, field \"value\"") && error.contains("found an infinite number"), "{error}");
    }
}

#[test]
fn text_that_is_not_marked_as_text_is_text_and_other_bytes_refuse_the_column() {
    let columns: [ArrayRef; 3] = [
        Arc::new(BinaryArray::from(vec![&b"caf\xc3\xa9"[..], b"\"x\""])),
        Arc::new(LargeBinaryArray::from(vec![&b"caf\xc3\xa9"[..], b"\"x\""])),
        Arc::new(FixedSizeBinaryArray::try_from_iter([b"caf\xc3\xa9", b"\"x\"  "].into_iter()).unwrap()),
    ];
    for column in columns {
        let reading = read("a.parquet", beside_names(column, ["1", "2"]));
        assert_eq!(reading.records()[0], r#"{"value":"café","name":"1"}"#);
        assert!(reading.records()[1].starts_with(r#"{"value":"\"x\""#), "{reading:?}");
    }
    let ids: ArrayRef = Arc::new(BinaryArray::from(vec![&b"c1"[..], b"\xff\xfe"]));
    let reading = read("a.parquet", file([("company_id", ids)]));
    assert_eq!((reading.ids(), reading.ended), (vec!["c1"], true));
    assert_eq!(
        reading.errors,
        [
            "a.parquet, row 2, field \"company_id\": expected text in UTF-8, found a byte 0xff at position 1 of a binary value; store the \
          column as text, or name the columns that the model needs with --columns"
        ]
    );
}

#[test]
fn uuids_are_told_as_people_write_them_at_any_depth() {
    let bytes = [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0xff, 0xff, 0, 0, 0, 0, 0, 1];
    let uuids: ArrayRef = Arc::new(FixedSizeBinaryArray::try_from_iter([bytes].into_iter()).unwrap());
    let field = || Field::new("u", DataType::FixedSizeBinary(16), true).with_extension_type(Uuid);
    let list = ListArray::new(Arc::new(field()), OffsetBuffer::from_lengths([1]), Arc::clone(&uuids), None);
    let schema = Schema::new(vec![field(), Field::new("l", list.data_type().clone(), true)]);
    let batch = RecordBatch::try_new(Arc::new(schema), vec![uuids, Arc::new(list)]).unwrap();
    let uuid = "01234567-89ab-cdef-ffff-000000000001";
    assert_eq!(read("a.parquet", written(&batch)).records(), [format!(r#"{{"u":"{uuid}","l":["{uuid}"]}}"#)]);

    let names = MapFieldNames { value: "id".to_owned(), ..MapFieldNames::default() };
    let mut map = MapBuilder::new(Some(names), StringBuilder::new(), FixedSizeBinaryBuilder::new(16))
        .with_values_field(Field::new("id", DataType::FixedSizeBinary(16), true).with_extension_type(Uuid));
    map.keys().append_value("a");
    map.values().append_value(bytes).unwrap();
    map.append(true).unwrap();
    assert_eq!(read("a.parquet", file([("m", Arc::new(map.finish()))])).records(), [format!(r#"{{"m":{{"a":"{uuid}"}}}}"#)]);
}

#[test]
fn an_interval_is_refused_since_its_months_would_be_lost() {
    let interval: ArrayRef = Arc::new(IntervalDayTimeArray::from(vec![IntervalDayTime::new(1, 0)]));
    let refused = refusal("a.parquet", file([("i", interval)]));
    assert!(refused.contains("field \"i\": expected a column that JSON can hold, found Interval(DayTime)"), "{refused}");
}

#[test]
fn a_column_that_can_not_be_told_does_not_matter_where_others_are_asked_for() {
    let mut scores = MapBuilder::new(None, Int32Builder::new(), StringBuilder::new());
    scores.append(true).unwrap();
    let bytes = file([("name", text(["Acme"])), ("scores", Arc::new(scores.finish())), ("company_id", text(["x"]))]);
    let options = ReadOptions { columns: vec!["name".to_owned()], ..ReadOptions::default() };
    let reading = read_with("a.parquet", bytes, &options);
    assert_eq!((reading.records(), reading.ids()), (vec![r#"{"name":"Acme","company_id":"x"}"#], vec!["x"]));
}

#[test]
fn whole_numbers_of_every_type_are_ids() {
    let decimals =
        Decimal128Array::from(vec![7_000, 123_456_789_012_345_678_901_234_500]).with_precision_and_scale(30, 2).unwrap();
    let columns: [(ArrayRef, [&str; 2]); 3] = [
        (Arc::new(Float64Array::from(vec![Some(70.0), None])), ["70", "1"]),
        (Arc::new(UInt64Array::from(vec![u64::MAX, 0])), ["18446744073709551615", "0"]),
        (Arc::new(decimals), ["70", "1234567890123456789012345"]),
    ];
    for (column, ids) in columns {
        assert_eq!(read("a.parquet", file([("company_id", column), ("name", text(["x", "y"]))])).ids(), ids);
    }
}

#[test]
fn rows_without_any_value_are_skipped() {
    let two_columns = || {
        let names: ArrayRef = Arc::new(StringArray::from(vec![Some("x"), None, Some("y")]));
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![None, None, Some(1)]));
        file([("name", names), ("n", numbers)])
    };
    let reading = read("a.parquet", two_columns());
    assert_eq!(reading.records(), [r#"{"name":"x","n":null}"#, r#"{"name":"y","n":1}"#]);
    assert_eq!(reading.companies[1].index, 1);
    assert_eq!(
        (companies_of(two_columns()).progress().remarks()),
        ["rows without any value, which are skipped, and not counted by the index, which serves as id: 1"]
    );
    // A row may have values in the columns that are not read.
    let options = ReadOptions { columns: vec!["name".to_owned()], ..ReadOptions::default() };
    assert_eq!(read_with("a.parquet", two_columns(), &options).companies.len(), 3);
}

#[test]
fn the_number_of_rows_is_known_from_the_start() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.parquet");
    fs::write(&path, two_companies()).unwrap();
    assert_eq!(Companies::open(&path, &ReadOptions::default()).ok().unwrap().progress().estimated_rows(), Some(2));
}

/// Reads a file to its end.
fn companies_of(bytes: Vec<u8>) -> Companies {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.parquet");
    fs::write(&path, bytes).unwrap();
    let mut companies = Companies::open(&path, &ReadOptions::default()).ok().unwrap();
    assert!(companies.by_ref().all(|company| company.is_ok()));
    companies
}

#[test]
fn errors_name_rows_as_the_file_counts_them() {
    let infinite: ArrayRef = Arc::new(Float64Array::from(vec![None, Some(1.0), None, Some(f64::INFINITY)]));
    let reading = read("a.parquet", file([("v", infinite)]));
    assert!(reading.errors[0].starts_with("a.parquet, row 4, field \"v\""), "{reading:?}");
    let ids: ArrayRef = Arc::new(StringArray::from(vec![None, Some("x"), None, Some("x")]));
    let reading = read("a.parquet", file([("company_id", ids)]));
    assert!(
        reading.errors[0].contains("row 4, field \"company_id\": expected every id once, found that of row 2 again"),
        "{reading:?}"
    );
    // Beyond one batch.
    let mut rows = vec![None; 5_000];
    (rows[1], rows[4_999]) = (Some(1.0), Some(f64::INFINITY));
    let infinite: ArrayRef = Arc::new(Float64Array::from(rows));
    assert!(read("a.parquet", file([("v", infinite)])).errors[0].contains("row 5000,"));
}

type Half = <Float16Type as ArrowPrimitiveType>::Native;

/// DuckDB stores integers of 128 bits as floats, and pandas those of a column in which one is missing.
#[test]
fn an_id_of_which_a_float_has_lost_the_last_digits_is_a_bad_row() {
    let columns: [(ArrayRef, [&str; 2]); 3] = [
        (Arc::new(Float64Array::from(vec![9_007_199_254_740_991.0, 9_007_199_254_740_992.0, -1.0])), ["9007199254740991", "-1"]),
        (Arc::new(Float32Array::from(vec![16_777_215.0, -16_777_216.0, -1.0])), ["16777215", "-1"]),
        (Arc::new(Float16Array::from([2_047.0, 2_048.0, -1.0].map(Half::from_f32).to_vec())), ["2047", "-1"]),
    ];
    for (column, ids) in columns {
        let column_type = column.data_type().to_string();
        let reading = read("a.parquet", file([("company_id", column)]));
        assert_eq!(reading.ids(), ids, "{column_type}");
        assert_eq!(
            reading.errors,
            [
                "a.parquet, row 2, field \"company_id\": expected an id with all its digits, found it stored as a float, its last digits \
             lost; store the ids as integers or text"
            ],
            "{column_type}"
        );
    }
    let ids: ArrayRef = Arc::new(Float64Array::from(vec![70.0, 71.0]));
    let remarks = companies_of(file([("company_id", ids)])).progress().remarks();
    assert_eq!(remarks, ["ids written with .0, which are taken for whole numbers (70.0 for 70): 2"]);
}

#[test]
fn a_map_in_which_a_key_stands_twice_is_a_bad_row_at_any_depth() {
    let mut maps = MapBuilder::new(None, StringBuilder::new(), Int32Builder::new());
    for keys in [["a", "a"], ["a", "b"]] {
        keys.iter().for_each(|key| maps.keys().append_value(key));
        maps.values().append_slice(&[1, 2]);
        maps.append(true).unwrap();
    }
    let maps: ArrayRef = Arc::new(maps.finish());
    assert_first_is_bad(&maps, "a map in which a key stands twice");
    assert_eq!(read("a.parquet", file([("m", maps)])).records(), [r#"{"m":{"a":1,"b":2}}"#]);
}

#[test]
fn a_struct_with_two_fields_of_one_name_refuses_the_column() {
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let field = || Arc::new(Field::new("x", DataType::Int64, true));
    let twice: ArrayRef = Arc::new(StructArray::from(vec![(field(), Arc::clone(&numbers)), (field(), numbers)]));
    let error = refusal("a.parquet", file([("s", twice)]));
    assert!(
        error.contains("field \"s\": expected a column that JSON can hold, found a struct with two fields of the name \"x\""),
        "{error}"
    );
}

/// A file whose column `name` is encrypted, and whose footer is, unless it is plaintext.
fn encrypted(plaintext_footer: bool) -> Vec<u8> {
    let batch = RecordBatch::try_from_iter([("company_id", text(["a"])), ("name", text(["Acme"]))]).unwrap();
    let key = || b"0123456789012345".to_vec();
    let encryption = FileEncryptionProperties::builder(key())
        .with_plaintext_footer(plaintext_footer)
        .with_column_key("name", key())
        .build()
        .unwrap();
    let properties = WriterProperties::builder().with_file_encryption_properties(encryption).build();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    bytes
}

#[test]
fn encrypted_columns_are_named_and_the_others_can_be_read() {
    assert_eq!(
        refusal("a.parquet", encrypted(true)),
        "a.parquet, field \"name\": expected Parquet that needs no key, found it encrypted; write it without encryption, or name columns \
         that are not encrypted with --columns"
    );
    let options = ReadOptions { columns: vec!["company_id".to_owned()], ..ReadOptions::default() };
    assert_eq!(read_with("a.parquet", encrypted(true), &options).ids(), ["a"]);
    let refused = refusal("a.parquet", encrypted(false));
    assert!(refused.contains("expected Parquet that needs no key, found it encrypted"), "{refused}");
}
