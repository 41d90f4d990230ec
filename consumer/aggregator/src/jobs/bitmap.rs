//! A set of companies, which a checkpoint contains in the portable Roaring format as base64.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use roaring::RoaringBitmap;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

/// Indices of companies.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Bitmap(pub(super) RoaringBitmap);

impl Serialize for Bitmap {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut bytes = Vec::with_capacity(self.0.serialized_size());
        self.0.serialize_into(&mut bytes).map_err(ser::Error::custom)?;
        serializer.serialize_str(&STANDARD.encode(bytes))
    }
}

impl<'de> Deserialize<'de> for Bitmap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Bitmap, D::Error> {
        let bytes = STANDARD.decode(String::deserialize(deserializer)?).map_err(de::Error::custom)?;
        RoaringBitmap::deserialize_from(bytes.as_slice()).map(Bitmap).map_err(de::Error::custom)
    }
}
