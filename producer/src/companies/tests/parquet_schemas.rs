//! Parquet with schemas that the Arrow writer does not produce.

use std::sync::Arc;

use ::parquet::arrow::arrow_writer::ArrowWriterOptions;
use ::parquet::arrow::{ArrowWriter, encode_arrow_schema};
use ::parquet::column::writer::ColumnWriterImpl;
use ::parquet::data_type::{ByteArray, ByteArrayType, DataType, Int32Type, Int96, Int96Type};
use ::parquet::file::metadata::KeyValue;
use ::parquet::file::properties::WriterProperties;
use ::parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use ::parquet::schema::parser::parse_message_type;
use arrow_array::RecordBatch;
use arrow_schema::{DataType as ArrowType, Field, Schema, TimeUnit};

use super::parquet::text;
use super::*;

/// A file of one row group, whose columns `write` writes.
fn file(columns: &str, write: impl FnOnce(&mut SerializedRowGroupWriter<'_, &mut Vec<u8>>)) -> Vec<u8> {
    file_with(columns, None, write)
}

/// The same, with an Arrow schema stored in the file.
fn file_with(
    columns: &str,
    noted: Option<&Schema>,
    write: impl FnOnce(&mut SerializedRowGroupWriter<'_, &mut Vec<u8>>),
) -> Vec<u8> {
    let noted = noted.map(|schema| vec![KeyValue::new("ARROW:schema".to_owned(), encode_arrow_schema(schema))]);
    let properties = WriterProperties::builder().set_key_value_metadata(noted).build();
    let schema = parse_message_type(&format!("message m {{ {columns} }}")).unwrap();
    let mut bytes = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut bytes, Arc::new(schema), Arc::new(properties)).unwrap();
    let mut group = writer.next_row_group().unwrap();
    write(&mut group);
    group.close().unwrap();
    writer.close().unwrap();
    bytes
}

/// Writes the next column, with its definition and repetition levels.
fn column<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, &mut Vec<u8>>,
    values: &[T::T],
    definition: Option<&[i16]>,
    repetition: Option<&[i16]>,
) {
    let mut column = group.next_column().unwrap().unwrap();
    let writer: &mut ColumnWriterImpl<'_, T> = column.typed();
    writer.write_batch(values, definition, repetition).unwrap();
    column.close().unwrap();
}

/// Days, counted so that 1970-01-01 is 2,440,588, and nanoseconds of the day; then null.
fn int96(values: &[(u32, u64)]) -> Vec<u8> {
    int96_with(values, None)
}

/// The same, with the Arrow type of the times stored in the file.
fn int96_with(values: &[(u32, u64)], noted: Option<ArrowType>) -> Vec<u8> {
    let times: Vec<Int96> = values
        .iter()
        .map(|&(day, nanoseconds)| {
            let mut value = Int96::new();
            #[expect(clippy::cast_possible_truncation, reason = "the low half and the high one")]
            value.set_data(nanoseconds as u32, (nanoseconds >> 32) as u32, day);
            value
        })
        .collect();
    let present = [vec![1; values.len()], vec![0]].concat();
    let noted = noted.map(|times| Schema::new(vec![Field::new("t", times, true), Field::new("n", ArrowType::Int32, false)]));
    file_with("optional int96 t; required int32 n;", noted.as_ref(), |group| {
        column::<Int96Type>(group, &times, Some(&present), None);
        column::<Int32Type>(group, &vec![7; present.len()], None, None);
    })
}

#[test]
fn int96_is_read_over_its_whole_range_to_the_nanosecond() {
    const EPOCH: u32 = 2_440_588;
    let days = [(EPOCH, 1), (EPOCH + 2_932_896, 86_399_999_999_999), (EPOCH - 719_162, 0), (EPOCH + 106_752, 0)];
    let reading = read("a.parquet", int96(&days));
    assert_eq!(
        reading.records(),
        [
            r#"{"t":"1970-01-01T00:00:00.000000001","n":7}"#,
            r#"{"t":"9999-12-31T23:59:59.999999999","n":7}"#,
            r#"{"t":"0001-01-01T00:00:00","n":7}"#,
            r#"{"t":"2262-04-12T00:00:00","n":7}"#,
            r#"{"t":null,"n":7}"#,
        ]
    );
    for unit in [TimeUnit::Second, TimeUnit::Millisecond, TimeUnit::Microsecond, TimeUnit::Nanosecond] {
        let of_pandas = int96_with(&days, Some(ArrowType::Timestamp(unit, None)));
        assert_eq!(read("a.parquet", of_pandas).records(), reading.records(), "{unit:?}");
        let zoned = int96_with(&days[..1], Some(ArrowType::Timestamp(unit, Some("Europe/Paris".into()))));
        assert_eq!(read("a.parquet", zoned).records()[0], r#"{"t":"1970-01-01T01:00:00.000000001+01:00","n":7}"#, "{unit:?}");
    }
    let out_of_range = read("a.parquet", int96(&[(u32::MAX / 2, 0)]));
    assert!(out_of_range.errors[0].contains("row 1, field \"t\": expected a value that JSON can hold"), "{out_of_range:?}");
}

#[test]
fn bytes_in_an_encoding_of_their_own_are_not_taken_for_text() {
    let bytes_of = |columns: &str, count| {
        file(columns, |group| (0..count).for_each(|_| column::<ByteArrayType>(group, &[ByteArray::from("text")], None, None)))
    };
    assert_eq!(read("a.parquet", bytes_of("required binary v;", 1)).records(), [r#"{"v":"text"}"#]);
    let columns = [
        ("BSON", 1, "required binary v (BSON);"),
        ("BSON", 1, "required group v { required binary inner (BSON); }"),
        ("VARIANT", 2, "required group v (VARIANT) { required binary metadata; required binary value; }"),
        ("GEOMETRY", 1, "required binary v (GEOMETRY);"),
        ("GEOGRAPHY", 1, "required binary v (GEOGRAPHY);"),
    ];
    for (annotation, count, columns) in columns {
        let refused = refusal("a.parquet", bytes_of(columns, count));
        let expected = format!("field \"v\": expected a column that JSON can hold, found {annotation}; name the columns");
        assert!(refused.contains(&expected), "{refused}");
    }
}

/// Old versions of Spark and Hive name no element: the list repeats its values at once.
#[test]
fn lists_of_two_levels_are_lists() {
    let bytes = file("optional group l (LIST) { repeated int32 array; } required int32 n;", |group| {
        column::<Int32Type>(group, &[1, 2], Some(&[2, 2, 1, 0]), Some(&[0, 1, 0, 0]));
        column::<Int32Type>(group, &[7, 8, 9], None, None);
    });
    assert_eq!(read("a.parquet", bytes).records(), [r#"{"l":[1,2],"n":7}"#, r#"{"l":[],"n":8}"#, r#"{"l":null,"n":9}"#]);
}

#[test]
fn a_type_that_only_its_writer_knows_is_no_damage() {
    let properties = WriterProperties::builder()
        .set_key_value_metadata(Some(vec![KeyValue::new("ARROW:schema".to_owned(), "AAAA".to_owned())]));
    let batch = RecordBatch::try_from_iter([("name", text(["Acme"]))]).unwrap();
    let mut bytes = Vec::new();
    let options = ArrowWriterOptions::new().with_properties(properties.build()).with_skip_arrow_metadata(true);
    let mut writer = ArrowWriter::try_new_with_options(&mut bytes, batch.schema(), options).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let refused = refusal("a.parquet", bytes);
    assert!(refused.starts_with("a.parquet: expected types that JSON can hold, found one that is not known ("), "{refused}");
}
