//! What each type of Arrow becomes in JSON.

use std::sync::Arc;

use arrow_array::builder::{Int32Builder, MapBuilder, StringBuilder};
use arrow_array::types::{Float16Type, Int8Type, Int32Type, UInt64Type};
use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType, BinaryViewArray, BooleanArray, Decimal32Array, Decimal64Array, Decimal128Array,
    Decimal256Array, DictionaryArray, FixedSizeListArray, Float16Array, Float32Array, Float64Array, Int8Array, Int16Array,
    Int32Array, Int64Array, LargeListArray, LargeStringArray, ListArray, NullArray, StringArray, StringViewArray, StructArray,
    Time32MillisecondArray, Time64NanosecondArray, TimestampMillisecondArray, UInt8Array, UInt16Array, UInt32Array, UInt64Array,
};
use arrow_buffer::i256;
use arrow_schema::Field;

use super::parquet::file;
use super::*;

/// Asserts that the values become this JSON, by themselves, in a list and in a struct.
fn assert_json<const N: usize>(values: ArrayRef, expected: [&str; N]) {
    assert_eq!(values.len(), N);
    let name = values.data_type().to_string();
    let field = Arc::new(Field::new_list_field(values.data_type().clone(), true));
    let list: ArrayRef = Arc::new(FixedSizeListArray::new(Arc::clone(&field), 1, Arc::clone(&values), None));
    let inner = Arc::new(Field::new("x", values.data_type().clone(), true));
    let object: ArrayRef = Arc::new(StructArray::from(vec![(inner, Arc::clone(&values))]));
    let rows: ArrayRef = Arc::new(Int64Array::from_iter_values(0_i64..i64::try_from(N).unwrap()));

    let read = read("a.parquet", file([("v", values), ("l", list), ("o", object), ("row", rows)]));

    let expected =
        expected.iter().zip(0..).map(|(json, row)| format!(r#"{{"v":{json},"l":[{json}],"o":{{"x":{json}}},"row":{row}}}"#));
    assert_eq!(read.records(), expected.collect::<Vec<_>>(), "{name}: {:?}", read.errors);
}

#[test]
fn whole_numbers_of_every_width_keep_all_their_digits() {
    assert_json(Arc::new(Int8Array::from(vec![Some(i8::MIN), None, Some(i8::MAX)])), ["-128", "null", "127"]);
    assert_json(Arc::new(Int16Array::from(vec![Some(i16::MIN), None])), ["-32768", "null"]);
    assert_json(Arc::new(Int32Array::from(vec![Some(i32::MIN), None])), ["-2147483648", "null"]);
    assert_json(Arc::new(Int64Array::from(vec![Some(i64::MIN), None])), ["-9223372036854775808", "null"]);
    assert_json(Arc::new(UInt8Array::from(vec![Some(u8::MAX), None])), ["255", "null"]);
    assert_json(Arc::new(UInt16Array::from(vec![Some(u16::MAX), None])), ["65535", "null"]);
    assert_json(Arc::new(UInt32Array::from(vec![Some(u32::MAX), None])), ["4294967295", "null"]);
    assert_json(Arc::new(UInt64Array::from(vec![Some(u64::MAX), None])), ["18446744073709551615", "null"]);
}

#[test]
fn floats_have_as_few_digits_as_name_them_and_nan_is_null() {
    type Half = <Float16Type as ArrowPrimitiveType>::Native;
    let wide = vec![Some(70.0), None, Some(f64::NAN), Some(0.1), Some(-0.0), Some(1e10), Some(1.5e-7), Some(5e-324)];
    assert_json(Arc::new(Float64Array::from(wide)), ["70.0", "null", "null", "0.1", "-0.0", "1.0e10", "1.5e-7", "5.0e-324"]);
    assert_json(Arc::new(Float32Array::from(vec![Some(0.1), None, Some(f32::MAX)])), ["0.1", "null", "3.4028235e38"]);
    assert_json(Arc::new(Float16Array::from(vec![Some(Half::from_f32(0.5)), None])), ["0.5", "null"]);
}

#[test]
fn decimals_are_numbers_with_all_their_digits() {
    let values = vec![Some(-1), None, Some(123_456)];
    let narrow = Decimal32Array::from(values.clone()).with_precision_and_scale(9, 2).unwrap();
    assert_json(Arc::new(narrow), ["-0.01", "null", "1234.56"]);
    let wider = Decimal64Array::from(values.iter().map(|value| value.map(i64::from)).collect::<Vec<_>>());
    assert_json(Arc::new(wider.with_precision_and_scale(18, 6).unwrap()), ["-0.000001", "null", "0.123456"]);
    let wide = Decimal128Array::from(vec![Some(10_i128.pow(37)), None]).with_precision_and_scale(38, 0).unwrap();
    assert_json(Arc::new(wide), ["10000000000000000000000000000000000000", "null"]);
    let widest = Decimal256Array::from(vec![Some(i256::from_i128(-i128::MAX)), None]).with_precision_and_scale(76, 3).unwrap();
    assert_json(Arc::new(widest), ["-170141183460469231731687303715884105.727", "null"]);
}

#[test]
fn text_is_text_in_every_layout() {
    let texts = || vec![Some("a \"b\"\n"), None, Some("")];
    let expected = [r#""a \"b\"\n""#, "null", r#""""#];
    assert_json(Arc::new(StringArray::from(texts())), expected);
    assert_json(Arc::new(LargeStringArray::from(texts())), expected);
    assert_json(Arc::new(StringViewArray::from(texts())), expected);
    assert_json(Arc::new(BinaryViewArray::from(vec![Some(&b"caf\xc3\xa9"[..]), None])), [r#""café""#, "null"]);
}

#[test]
fn booleans_nulls_and_times_of_day() {
    assert_json(Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)])), ["true", "null", "false"]);
    assert_json(Arc::new(NullArray::new(2)), ["null", "null"]);
    assert_json(Arc::new(Time32MillisecondArray::from(vec![Some(1), None])), [r#""00:00:00.001""#, "null"]);
    assert_json(Arc::new(Time64NanosecondArray::from(vec![Some(1), None])), [r#""00:00:00.000000001""#, "null"]);
    let times = TimestampMillisecondArray::from(vec![Some(-1), None]);
    assert_json(Arc::new(times), [r#""1969-12-31T23:59:59.999""#, "null"]);
}

#[test]
fn values_that_are_stored_once_for_many_rows_are_told_for_each() {
    let words: DictionaryArray<Int8Type> = vec![Some("a"), None, Some("b"), Some("a")].into_iter().collect();
    assert_json(Arc::new(words), [r#""a""#, "null", r#""b""#, r#""a""#]);
    let numbers = DictionaryArray::<Int32Type>::new(Int32Array::from(vec![1, 0]), Arc::new(UInt64Array::from(vec![7, u64::MAX])));
    assert_json(Arc::new(numbers), ["18446744073709551615", "7"]);
}

#[test]
fn lists_structs_and_maps_nest_with_nulls_at_every_depth() {
    let lists = || vec![Some(vec![Some(1), None]), None, Some(vec![])];
    assert_json(Arc::new(ListArray::from_iter_primitive::<UInt64Type, _, _>(lists())), ["[1,null]", "null", "[]"]);
    assert_json(Arc::new(LargeListArray::from_iter_primitive::<UInt64Type, _, _>(lists())), ["[1,null]", "null", "[]"]);
    let mut maps = MapBuilder::new(None, StringBuilder::new(), Int32Builder::new());
    maps.keys().append_value("a\"");
    maps.values().append_value(1);
    maps.keys().append_value("b");
    maps.values().append_null();
    maps.append(true).unwrap();
    maps.append(false).unwrap();
    maps.append(true).unwrap();
    assert_json(Arc::new(maps.finish()), [r#"{"a\"":1,"b":null}"#, "null", "{}"]);
}
