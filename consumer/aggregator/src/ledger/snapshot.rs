//! The count as bytes, for the baton: JSON that a person can read, with bitmaps in the Roaring format as base64.

use rollcall_shared::message::read_json;

use super::{Ended, Ledger};

/// A snapshot that does not read back. Its holder replays the ledger instead.
#[derive(Debug, thiserror::Error)]
#[error("malformed checkpoint: {0}")]
pub struct BadSnapshot(String);

impl Ledger {
    /// The count in the form in which it is kept.
    ///
    /// # Errors
    /// Where a number in it has no JSON form.
    pub fn to_snapshot(&self) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(self)
    }

    /// The count that was kept.
    ///
    /// # Errors
    /// [`BadSnapshot`].
    pub fn from_snapshot(bytes: &[u8]) -> Result<Ledger, BadSnapshot> {
        let mut ledger: Ledger = read_json(bytes).map_err(|error| BadSnapshot(error.to_string()))?;
        ledger.ended = Ended::of(&ledger.jobs);
        match ledger.jobs.iter().find(|(_, count)| !count.adds_up()) {
            Some((job, _)) => Err(BadSnapshot(format!("expected counts that add up, found others for job {job}"))),
            None => Ok(ledger),
        }
    }
}

pub(super) mod bitmap {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use roaring::RoaringBitmap;
    use serde::{Deserialize, Deserializer, Serializer, de, ser};

    pub(super) fn written(bitmap: &RoaringBitmap) -> std::io::Result<String> {
        let mut bytes = Vec::with_capacity(bitmap.serialized_size());
        bitmap.serialize_into(&mut bytes)?;
        Ok(STANDARD.encode(bytes))
    }

    pub(super) fn read(text: &str) -> Result<RoaringBitmap, String> {
        let bytes = STANDARD.decode(text).map_err(|error| error.to_string())?;
        RoaringBitmap::deserialize_from(bytes.as_slice()).map_err(|error| error.to_string())
    }

    pub(in super::super) fn serialize<S: Serializer>(bitmap: &RoaringBitmap, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&written(bitmap).map_err(ser::Error::custom)?)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<RoaringBitmap, D::Error> {
        read(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

pub(super) mod bitmaps {
    use std::collections::BTreeMap;

    use roaring::RoaringBitmap;
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

    use super::bitmap;

    pub(in super::super) fn serialize<S: Serializer>(
        bitmaps: &BTreeMap<String, RoaringBitmap>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let written = bitmaps.iter().map(|(name, bitmap)| Ok((name, bitmap::written(bitmap)?)));
        let written: BTreeMap<_, _> = written.collect::<std::io::Result<_>>().map_err(ser::Error::custom)?;
        written.serialize(serializer)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<String, RoaringBitmap>, D::Error> {
        let written = BTreeMap::<String, String>::deserialize(deserializer)?;
        let read = written.into_iter().map(|(name, text)| Ok((name, bitmap::read(&text)?)));
        read.collect::<Result<_, String>>().map_err(de::Error::custom)
    }
}
