//! The values of Parquet as JSON, where the library's own way loses or makes up some: it writes its error message for a date out of
//! range, null for the infinities, and hexadecimal digits for text that is not marked as such.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::{Arc, LazyLock};

use arrow_array::cast::AsArray;
use arrow_array::types::{Float16Type, Float32Type, Float64Type};
use arrow_array::{Array, MapArray, new_empty_array};
use arrow_json::writer::{Encoder, EncoderFactory, EncoderOptions, NullableEncoder, make_encoder};
use arrow_schema::{ArrowError, DataType, Field, FieldRef};
use parquet::basic::{ConvertedType, LogicalType};
use parquet::schema::types::Type;
use uuid::Uuid;

use super::bad_input::Reason;
use super::parquet_times;
use super::unrepresentable::Unrepresentable;

/// How the library writes what it writes well.
static AS_IS: LazyLock<EncoderOptions> = LazyLock::new(|| EncoderOptions::default().with_explicit_nulls(true));

/// The annotation of a column of UUIDs, in Arrow's words.
const UUID: (&str, &str) = ("ARROW:extension:name", "arrow.uuid");

/// Refuses a column whose values JSON can't hold.
pub(super) fn check_type(field: &FieldRef) -> Result<(), Reason> {
    if let Some(name) = repeated_field(field.data_type()) {
        return Err(Reason::UnsupportedType(format!("a struct with two fields of the name {name:?}")));
    }
    let options = EncoderOptions::default().with_encoder_factory(Arc::new(Values::default()));
    let nothing = new_empty_array(field.data_type());
    let made = make_encoder(field, &nothing, &options);
    made.map(drop).map_err(|_| Reason::UnsupportedType(field.data_type().to_string()))
}

/// The name that two fields of a struct have, at any depth: one JSON object can't hold both.
fn repeated_field(data_type: &DataType) -> Option<&str> {
    match data_type {
        DataType::Struct(fields) => {
            let mut seen = HashSet::new();
            let repeated = fields.iter().find(|field| !seen.insert(field.name())).map(|field| field.name().as_str());
            repeated.or_else(|| fields.iter().find_map(|field| repeated_field(field.data_type())))
        }
        // The entries of a map are structs of a key and a value, whatever these are called.
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

/// Refuses a column of, or with, values in an encoding of their own: their bytes may pass for text.
pub(super) fn check_annotation(column: &Type) -> Result<(), Reason> {
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

/// Makes the encoders of such values, at any depth.
#[derive(Debug, Default)]
pub(super) struct Values {
    pub unrepresentable: Arc<Unrepresentable>,
}

impl EncoderFactory for Values {
    fn make_default_encoder<'a>(
        &self,
        field: &'a FieldRef,
        array: &'a dyn Array,
        options: &'a EncoderOptions,
    ) -> Result<Option<NullableEncoder<'a>>, ArrowError> {
        let unrepresentable = Arc::clone(&self.unrepresentable);
        let encoder: Box<dyn Encoder + 'a> = match array.data_type() {
            // The reader drops the months of an interval.
            DataType::Interval(_) => return Err(ArrowError::NotYetImplemented("intervals".to_owned())),
            temporal if temporal.is_temporal() => parquet_times::encoder(array, unrepresentable)?,
            DataType::Float16 | DataType::Float32 | DataType::Float64 => match infinite(array) {
                Some(infinite) => Box::new(Finite { inner: make_encoder(field, array, &AS_IS)?, infinite, unrepresentable }),
                None => return Ok(None),
            },
            DataType::Map(entries, _) => match Maps::try_new(entries, array.as_map(), options, unrepresentable)? {
                Some(maps) => Box::new(maps),
                None => return Ok(None),
            },
            _ => match bytes(array) {
                Some(bytes) if is_uuid(own_field(field, array.data_type())) => Box::new(Uuids { bytes }),
                Some(bytes) => Box::new(Text { bytes, unrepresentable }),
                None => return Ok(None),
            },
        };
        Ok(Some(NullableEncoder::new(encoder, array.nulls().cloned())))
    }
}

/// Whether each of the values is infinite; nothing where none is, as in almost every batch.
fn infinite(array: &dyn Array) -> Option<Vec<bool>> {
    let infinite: Vec<bool> = match array.data_type() {
        DataType::Float16 => array.as_primitive::<Float16Type>().values().iter().map(|value| value.is_infinite()).collect(),
        DataType::Float32 => array.as_primitive::<Float32Type>().values().iter().map(|value| value.is_infinite()).collect(),
        _ => array.as_primitive::<Float64Type>().values().iter().map(|value| value.is_infinite()).collect(),
    };
    infinite.contains(&true).then_some(infinite)
}

struct Finite<'a> {
    inner: NullableEncoder<'a>,
    infinite: Vec<bool>,
    unrepresentable: Arc<Unrepresentable>,
}

impl Encoder for Finite<'_> {
    fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        if self.infinite[row] {
            self.unrepresentable
                .found(Reason::Unrepresentable { found: "an infinite number, which JSON does not have".to_owned() });
        }
        self.inner.encode(row, out);
    }
}

type BytesAt<'a> = Box<dyn Fn(usize) -> &'a [u8] + 'a>;

/// The values of a binary column, of whichever layout.
fn bytes<'a>(array: &'a dyn Array) -> Option<BytesAt<'a>> {
    match array.data_type() {
        DataType::Binary => {
            let array = array.as_binary::<i32>();
            Some(Box::new(move |row| array.value(row)))
        }
        DataType::LargeBinary => {
            let array = array.as_binary::<i64>();
            Some(Box::new(move |row| array.value(row)))
        }
        DataType::BinaryView => {
            let array = array.as_binary_view();
            Some(Box::new(move |row| array.value(row)))
        }
        DataType::FixedSizeBinary(_) => {
            let array = array.as_fixed_size_binary();
            Some(Box::new(move |row| array.value(row)))
        }
        _ => None,
    }
}

/// Text, of which Impala, Hive and old versions of Spark do not say that it is.
struct Text<'a> {
    bytes: BytesAt<'a>,
    unrepresentable: Arc<Unrepresentable>,
}

impl Encoder for Text<'_> {
    fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        let bytes = (self.bytes)(row);
        match str::from_utf8(bytes) {
            Ok(text) => write_string(text, out),
            Err(error) => {
                let at = error.valid_up_to();
                self.unrepresentable.found(Reason::NotText { byte: bytes[at], position: at + 1 });
            }
        }
    }
}

struct Uuids<'a> {
    bytes: BytesAt<'a>,
}

impl Encoder for Uuids<'_> {
    fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        let uuid = Uuid::from_slice((self.bytes)(row)).unwrap_or_default();
        write_string(uuid.hyphenated().encode_lower(&mut Uuid::encode_buffer()), out);
    }
}

/// Maps, of which the library would write a key as often as it stands there.
struct Maps<'a> {
    offsets: &'a [i32],
    keys: &'a dyn Array,
    key_encoder: NullableEncoder<'a>,
    values: NullableEncoder<'a>,
    unrepresentable: Arc<Unrepresentable>,
}

impl<'a> Maps<'a> {
    /// Nothing where the library is to say why it does not write such a map.
    fn try_new(
        entries: &'a FieldRef,
        array: &'a MapArray,
        options: &'a EncoderOptions,
        unrepresentable: Arc<Unrepresentable>,
    ) -> Result<Option<Self>, ArrowError> {
        let keys = array.keys();
        let is_text = matches!(keys.data_type(), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
        let has_nulls = keys.null_count() > 0 || array.entries().null_count() > 0;
        match entries.data_type() {
            DataType::Struct(entry) if entry.len() == 2 && is_text && !has_nulls => {
                let key_encoder = make_encoder(&entry[0], keys, options)?;
                let values = make_encoder(&entry[1], array.values(), options)?;
                Ok(Some(Self { offsets: array.value_offsets(), keys, key_encoder, values, unrepresentable }))
            }
            _ => Ok(None),
        }
    }

    fn has_repeat(&self, entries: Range<usize>) -> bool {
        let keys = self.keys;
        match keys.data_type() {
            _ if entries.len() < 2 => false,
            DataType::Utf8 => repeats(entries.map(|entry| keys.as_string::<i32>().value(entry))),
            DataType::LargeUtf8 => repeats(entries.map(|entry| keys.as_string::<i64>().value(entry))),
            _ => repeats(entries.map(|entry| keys.as_string_view().value(entry))),
        }
    }
}

fn repeats<'k>(mut keys: impl Iterator<Item = &'k str>) -> bool {
    let mut seen = HashSet::new();
    keys.any(|key| !seen.insert(key))
}

impl Encoder for Maps<'_> {
    fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        let [start, end] = [row, row + 1].map(|offset| usize::try_from(self.offsets[offset]).unwrap_or_default());
        if self.has_repeat(start..end) {
            self.unrepresentable.found(Reason::Unrepresentable { found: "a map in which a key stands twice".to_owned() });
        }
        out.push(b'{');
        for entry in start..end {
            if entry > start {
                out.push(b',');
            }
            self.key_encoder.encode(entry, out);
            out.push(b':');
            if self.values.is_null(entry) {
                out.extend_from_slice(b"null");
            } else {
                self.values.encode(entry, out);
            }
        }
        out.push(b'}');
    }
}

/// Writing to memory does not fail.
fn write_string(text: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, text).unwrap_or_default();
}

fn is_uuid(field: &Field) -> bool {
    let (key, name) = UUID;
    *field.data_type() == DataType::FixedSizeBinary(16) && field.metadata().get(key).is_some_and(|found| found == name)
}

/// The field that describes values of this type: within a list, the library hands over that of the list.
fn own_field<'a>(mut field: &'a Field, data_type: &DataType) -> &'a Field {
    while field.data_type() != data_type {
        match field.data_type() {
            DataType::List(inner)
            | DataType::LargeList(inner)
            | DataType::FixedSizeList(inner, _)
            | DataType::ListView(inner)
            | DataType::LargeListView(inner) => field = inner,
            _ => break,
        }
    }
    field
}
