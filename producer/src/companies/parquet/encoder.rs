//! Writes the values of one column as JSON, by row.

use arrow_buffer::NullBuffer;

use super::super::bad_input::Reason;

/// Appends the value at an index to a record; fails if JSON cannot hold it. What it appends for a null is undefined.
pub(super) type WriteValue<'a> = Box<dyn Fn(usize, &mut Vec<u8>) -> Result<(), Reason> + 'a>;

/// The values of an array, nulls among them.
pub(super) struct Encoder<'a> {
    nulls: Option<NullBuffer>,
    write: WriteValue<'a>,
}

impl<'a> Encoder<'a> {
    pub fn new(nulls: Option<NullBuffer>, write: WriteValue<'a>) -> Self {
        Self { nulls, write }
    }

    pub fn is_null(&self, index: usize) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(index))
    }

    pub fn has_nulls(&self) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| nulls.null_count() > 0)
    }

    /// Appends the value at `index`, which may be null.
    pub fn write(&self, index: usize, out: &mut Vec<u8>) -> Result<(), Reason> {
        if self.is_null(index) {
            out.extend_from_slice(b"null");
            return Ok(());
        }
        (self.write)(index, out)
    }
}

/// Appends `text` as a JSON string.
pub(super) fn write_string(text: &str, out: &mut Vec<u8>) {
    // Writing to memory does not fail.
    serde_json::to_writer(out, text).unwrap_or_default();
}
