//! The values of Parquet as JSON: what each type of Arrow becomes, at any depth.
//!
//! A value that JSON cannot hold makes a bad row instead of null or another value.

use std::collections::HashSet;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type, DecimalType, Float16Type, Float32Type,
    Float64Type,
};
use arrow_array::{
    Array, ArrayAccessor, ListLikeArray, MapArray, PrimitiveArray, StructArray, downcast_dictionary_array, downcast_integer,
    downcast_run_array,
};
use arrow_buffer::ArrowNativeType;
use arrow_schema::{DataType, Field};
use lexical_core::{FormattedSize, ToLexical};
use uuid::Uuid;

use super::super::bad_input::Reason;
use super::encoder::{Encoder, WriteValue, write_string};
use super::times::write_times;

/// The annotation of UUIDs in Arrow's schema.
const UUID: (&str, &str) = ("ARROW:extension:name", "arrow.uuid");

/// The encoder of `array`, which `field` describes.
///
/// # Errors
/// [`Reason::UnsupportedType`] if JSON cannot hold values of this type, whatever they are.
pub(super) fn encoder<'a>(field: &'a Field, array: &'a dyn Array) -> Result<Encoder<'a>, Reason> {
    macro_rules! integers {
        ($type:ty) => {
            integers(array.as_primitive::<$type>())
        };
    }
    let mut nulls = array.nulls().cloned();
    let data_type = array.data_type();
    let write: WriteValue<'a> = downcast_integer! {
        data_type => (integers),
        DataType::Null => {
            nulls = array.logical_nulls();
            Box::new(|_, _| Ok(()))
        }
        DataType::Boolean => {
            let values = array.as_boolean();
            Box::new(move |index, out| {
                out.extend_from_slice(if values.value(index) { b"true" } else { b"false" });
                Ok(())
            })
        }
        DataType::Float16 => {
            let values = array.as_primitive::<Float16Type>();
            Box::new(move |index, out| write_float(values.value(index).to_f32(), out))
        }
        DataType::Float32 => {
            let values = array.as_primitive::<Float32Type>();
            Box::new(move |index, out| write_float(values.value(index), out))
        }
        DataType::Float64 => {
            let values = array.as_primitive::<Float64Type>();
            Box::new(move |index, out| write_float(values.value(index), out))
        }
        DataType::Decimal32(_, scale) => decimals(array.as_primitive::<Decimal32Type>(), *scale),
        DataType::Decimal64(_, scale) => decimals(array.as_primitive::<Decimal64Type>(), *scale),
        DataType::Decimal128(_, scale) => decimals(array.as_primitive::<Decimal128Type>(), *scale),
        DataType::Decimal256(_, scale) => decimals(array.as_primitive::<Decimal256Type>(), *scale),
        DataType::Utf8 => strings(array.as_string::<i32>()),
        DataType::LargeUtf8 => strings(array.as_string::<i64>()),
        DataType::Utf8View => strings(array.as_string_view()),
        DataType::Binary => binary(array.as_binary::<i32>()),
        DataType::LargeBinary => binary(array.as_binary::<i64>()),
        DataType::BinaryView => binary(array.as_binary_view()),
        DataType::FixedSizeBinary(_) if is_uuid(field) => uuids(array.as_fixed_size_binary()),
        DataType::FixedSizeBinary(_) => binary(array.as_fixed_size_binary()),
        DataType::List(inner) => lists(inner, array.as_list::<i32>())?,
        DataType::LargeList(inner) => lists(inner, array.as_list::<i64>())?,
        DataType::ListView(inner) => lists(inner, array.as_list_view::<i32>())?,
        DataType::LargeListView(inner) => lists(inner, array.as_list_view::<i64>())?,
        DataType::FixedSizeList(inner, _) => lists(inner, array.as_fixed_size_list())?,
        DataType::Struct(_) => structs(array.as_struct())?,
        DataType::Map(entries, _) => maps(entries, array.as_map())?,
        DataType::Dictionary(_, _) => downcast_dictionary_array! {
            array => {
                let (keys, values) = (array.keys().values(), encoder(field, array.values().as_ref())?);
                Box::new(move |index, out| values.write(keys[index].as_usize(), out))
            },
            _ => return Err(unsupported(data_type)),
        },
        DataType::RunEndEncoded(_, _) => downcast_run_array! {
            array => {
                nulls = array.logical_nulls();
                let values = encoder(field, array.values().as_ref())?;
                Box::new(move |index, out| values.write(array.get_physical_index(index), out))
            },
            _ => return Err(unsupported(data_type)),
        },
        _ => write_times(array).ok_or_else(|| unsupported(data_type))?,
    };
    Ok(Encoder::new(nulls, write))
}

fn unsupported(data_type: &DataType) -> Reason {
    Reason::UnsupportedType(data_type.to_string())
}

fn integers<T: ArrowPrimitiveType<Native: ToLexical>>(array: &PrimitiveArray<T>) -> WriteValue<'_> {
    let values = array.values();
    Box::new(move |index, out| {
        write_number(values[index], out);
        Ok(())
    })
}

/// NaN is null, as pandas and polars write a missing value.
fn write_float<F: ToLexical + Into<f64> + Copy>(value: F, out: &mut Vec<u8>) -> Result<(), Reason> {
    let wide: f64 = value.into();
    if wide.is_infinite() {
        return Err(Reason::Unrepresentable { found: "an infinite number, which JSON does not have".to_owned() });
    }
    if wide.is_nan() {
        out.extend_from_slice(b"null");
    } else {
        write_number(value, out);
    }
    Ok(())
}

fn write_number<N: ToLexical>(number: N, out: &mut Vec<u8>) {
    // Of all types of numbers, this takes the most room.
    out.extend_from_slice(lexical_core::write(number, &mut [0; f64::FORMATTED_SIZE]));
}

fn decimals<T: DecimalType>(array: &PrimitiveArray<T>, scale: i8) -> WriteValue<'_> {
    let values = array.values();
    Box::new(move |index, out| {
        out.extend_from_slice(T::format_decimal(values[index], T::MAX_PRECISION, scale).as_bytes());
        Ok(())
    })
}

fn strings<'a>(array: impl ArrayAccessor<Item = &'a str> + 'a) -> WriteValue<'a> {
    Box::new(move |index, out| {
        write_string(array.value(index), out);
        Ok(())
    })
}

/// Text that is not marked as text, as Impala, Hive and old versions of Spark write it.
fn binary<'a>(array: impl ArrayAccessor<Item = &'a [u8]> + 'a) -> WriteValue<'a> {
    Box::new(move |index, out| {
        let bytes = array.value(index);
        let text = str::from_utf8(bytes).map_err(|error| {
            let at = error.valid_up_to();
            Reason::NotText { byte: bytes[at], position: at + 1 }
        })?;
        write_string(text, out);
        Ok(())
    })
}

fn uuids<'a>(array: impl ArrayAccessor<Item = &'a [u8]> + 'a) -> WriteValue<'a> {
    Box::new(move |index, out| {
        let uuid = Uuid::from_slice(array.value(index)).unwrap_or_default();
        write_string(uuid.hyphenated().encode_lower(&mut Uuid::encode_buffer()), out);
        Ok(())
    })
}

fn is_uuid(field: &Field) -> bool {
    let (key, name) = UUID;
    *field.data_type() == DataType::FixedSizeBinary(16) && field.metadata().get(key).is_some_and(|found| found == name)
}

fn lists<'a>(inner: &'a Field, array: &'a impl ListLikeArray) -> Result<WriteValue<'a>, Reason> {
    let elements = encoder(inner, array.values().as_ref())?;
    Ok(Box::new(move |index, out| {
        out.push(b'[');
        let range = array.element_range(index);
        for element in range.clone() {
            if element > range.start {
                out.push(b',');
            }
            elements.write(element, out)?;
        }
        out.push(b']');
        Ok(())
    }))
}

fn structs(array: &StructArray) -> Result<WriteValue<'_>, Reason> {
    let mut members = Vec::new();
    for (field, column) in array.fields().iter().zip(array.columns()) {
        let mut key = vec![if members.is_empty() { b'{' } else { b',' }];
        write_string(field.name(), &mut key);
        key.push(b':');
        members.push((key, encoder(field, column.as_ref())?));
    }
    Ok(Box::new(move |index, out| {
        if members.is_empty() {
            out.push(b'{');
        }
        for (key, values) in &members {
            out.extend_from_slice(key);
            values.write(index, out)?;
        }
        out.push(b'}');
        Ok(())
    }))
}

fn maps<'a>(entries: &'a Field, array: &'a MapArray) -> Result<WriteValue<'a>, Reason> {
    let (DataType::Struct(entry), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View) =
        (entries.data_type(), array.keys().data_type())
    else {
        return Err(unsupported(array.data_type()));
    };
    let [keys, values] = [(0, array.keys()), (1, array.values())].map(|(at, column)| encoder(&entry[at], column.as_ref()));
    let (keys, values) = (keys?, values?);
    if keys.has_nulls() || array.entries().null_count() > 0 {
        return Err(Reason::NotParquet("a map has a null for a key".to_owned()));
    }
    let offsets = array.value_offsets();
    Ok(Box::new(move |index, out| {
        let [start, end] = [index, index + 1].map(|at| offsets[at].as_usize());
        let mut key_ranges = Vec::with_capacity(end - start);
        out.push(b'{');
        for entry in start..end {
            if entry > start {
                out.push(b',');
            }
            let key_start = out.len();
            keys.write(entry, out)?;
            key_ranges.push(key_start..out.len());
            out.push(b':');
            values.write(entry, out)?;
        }
        let mut seen = HashSet::with_capacity(key_ranges.len());
        if !key_ranges.into_iter().all(|range| seen.insert(&out[range])) {
            return Err(Reason::Unrepresentable { found: "a map in which a key stands twice".to_owned() });
        }
        out.push(b'}');
        Ok(())
    }))
}

#[cfg(test)]
mod tests {
    use arrow_array::types::Int32Type;
    use arrow_array::{Int32Array, RunArray, StringArray};

    use super::*;

    #[test]
    fn a_value_that_is_stored_once_for_several_rows_is_written_for_each() {
        let values = StringArray::from(vec![Some("a"), None, Some("b")]);
        let runs = RunArray::<Int32Type>::try_new(&Int32Array::from(vec![2, 3, 4]), &values).unwrap();
        let field = Field::new("v", runs.data_type().clone(), true);
        let encoder = encoder(&field, &runs).ok().unwrap();
        let mut out = Vec::new();
        (0..4).for_each(|row| encoder.write(row, &mut out).unwrap());
        assert_eq!(str::from_utf8(&out).unwrap(), r#""a""a"null"b""#);
    }
}
