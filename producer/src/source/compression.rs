//! The compressions that files are read and written in.

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// The first byte of a skippable zstd frame, as pzstd writes first, and the rest of its magic number (RFC 8878, 3.1.2).
const ZSTD_SKIPPABLE_FIRST: std::ops::RangeInclusive<u8> = 0x50..=0x5f;
const ZSTD_SKIPPABLE_REST: [u8; 3] = [0x2a, 0x4d, 0x18];

/// How a file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    Gzip,
    Zstd,
}

impl Compression {
    /// How many first bytes [`Self::detect`] looks at.
    pub(super) const MAGIC_BYTES: usize = 4;

    /// The compression of data that begins with `head`.
    pub(crate) fn detect(head: &[u8]) -> Option<Self> {
        match head {
            _ if head.starts_with(&GZIP_MAGIC) => Some(Self::Gzip),
            _ if head.starts_with(&ZSTD_MAGIC) => Some(Self::Zstd),
            [first, rest @ ..] if ZSTD_SKIPPABLE_FIRST.contains(first) && rest.starts_with(&ZSTD_SKIPPABLE_REST) => {
                Some(Self::Zstd)
            }
            _ => None,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    /// Whether a gzip member or a zstd frame may begin with this byte.
    pub(super) fn begins_with(self, byte: u8) -> bool {
        match self {
            Self::Gzip => byte == GZIP_MAGIC[0],
            Self::Zstd => byte == ZSTD_MAGIC[0] || ZSTD_SKIPPABLE_FIRST.contains(&byte),
        }
    }
}
