//! Unpacks gzip and zstd, member by member: what stands between and behind them is looked at too.

use std::io::{self, BufRead, Read};

use flate2::bufread::GzDecoder;

use super::bad_input::{Fault, Reason};

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// The end of the magic number of a skippable frame, which pzstd writes first; its first byte is 0x50 to 0x5f (RFC 8878, 3.1.2).
const ZSTD_SKIPPABLE_MAGIC: [u8; 3] = [0x2a, 0x4d, 0x18];

/// A way to make a file smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    Gzip,
    Zstd,
}

impl Compression {
    /// How many first bytes tell a compression.
    pub const MAGIC_BYTES: usize = 4;

    /// The compression of data that begins with `head`.
    pub fn of(head: &[u8]) -> Option<Self> {
        match head {
            _ if head.starts_with(&GZIP_MAGIC) => Some(Self::Gzip),
            _ if head.starts_with(&ZSTD_MAGIC) => Some(Self::Zstd),
            [0x50..=0x5f, rest @ ..] if rest.starts_with(&ZSTD_SKIPPABLE_MAGIC) => Some(Self::Zstd),
            _ => None,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    /// Whether a member may begin with this byte.
    fn begins_with(self, byte: u8) -> bool {
        match self {
            Self::Gzip => byte == GZIP_MAGIC[0],
            Self::Zstd => byte == ZSTD_MAGIC[0] || (0x50..=0x5f).contains(&byte),
        }
    }
}

/// What packed data holds.
pub(super) struct Unpacked<B: BufRead> {
    method: Compression,
    at: At<B>,
}

/// Where in the packed data one is.
enum At<B: BufRead> {
    Gzip(Box<GzDecoder<B>>),
    Zstd(zstd::Decoder<'static, B>),
    /// Before a member, or behind the last.
    Between(B),
    /// Behind the end, or a fault.
    End,
}

impl<B: BufRead> Unpacked<B> {
    pub fn new(packed: B, method: Compression) -> Self {
        Self { method, at: At::Between(packed) }
    }

    fn next_member(&self, mut packed: B) -> io::Result<At<B>> {
        match packed.fill_buf()?.first() {
            None => Ok(At::End),
            Some(&byte) if self.method.begins_with(byte) => Ok(match self.method {
                Compression::Gzip => At::Gzip(Box::new(GzDecoder::new(packed))),
                Compression::Zstd => At::Zstd(zstd::Decoder::with_buffer(packed)?.single_frame()),
            }),
            Some(_) => self.skip_padding(packed).map(|()| At::End),
        }
    }

    /// Tapes and block devices fill up with zeros, which gzip ignores too. Anything else behind the data may be what is left
    /// of a member.
    fn skip_padding(&self, mut packed: B) -> io::Result<()> {
        loop {
            let bytes = packed.fill_buf()?;
            if bytes.is_empty() {
                return Ok(());
            }
            if let Some(&byte) = bytes.iter().find(|&&byte| byte != 0) {
                return Err(Fault::from(Reason::TrailingBytes { method: self.method.name(), byte }).into());
            }
            let padding = bytes.len();
            packed.consume(padding);
        }
    }

    /// Tells damage to the packed data from trouble with the disk under it.
    fn fault(&self, error: io::Error) -> io::Error {
        let method = self.method.name();
        let words = error.to_string();
        match error.kind() {
            _ if error.raw_os_error().is_some()
                || error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<Fault>) =>
            {
                error
            }
            io::ErrorKind::UnexpectedEof => Fault::from(Reason::Truncated(method)).into(),
            _ if words.contains("too much memory") => Fault::from(Reason::LargeWindow).into(),
            _ => Fault::from(Reason::Corrupt { method, found: words }).into(),
        }
    }

    fn read_on(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = match &mut self.at {
                At::Gzip(member) => member.read(out)?,
                At::Zstd(frame) => frame.read(out)?,
                At::Between(_) => 0,
                At::End => return Ok(0),
            };
            if read > 0 || out.is_empty() {
                return Ok(read);
            }
            self.at = match std::mem::replace(&mut self.at, At::End) {
                At::Gzip(member) => At::Between(member.into_inner()),
                At::Zstd(frame) => At::Between(frame.finish()),
                At::Between(packed) => self.next_member(packed)?,
                At::End => At::End,
            };
        }
    }
}

impl<B: BufRead> Read for Unpacked<B> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.read_on(out).map_err(|error| self.fault(error))
    }
}
