//! Where the bytes of a file come from: a path, standard input, or a URL; plain or compressed.
//!
//! Knows nothing of rows. Damage to the compression comes out as a [`SourceError`] inside the I/O error.

mod compression;
mod error;
mod file_name;
mod progress;
mod seekable;
mod spool;
pub(crate) mod temporary;
mod unpack;

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read, Seek as _, Write as _};
use std::sync::Arc;

use crate::location::Location;
use crate::object::{ObjectError, ObjectRanges, OpenObject};
pub(crate) use compression::Compression;
pub(crate) use error::{SourceError, is_of_the_system};
pub(crate) use file_name::{compression_of, delimiter_of, format_of};
pub use progress::Progress;
pub(crate) use seekable::Seekable;
use seekable::refuse_shrunk;
use spool::Spool;
use unpack::Unpacked;

/// U+FEFF in UTF-8. It may begin a text; inside one it shows that another file was appended.
pub(crate) const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Large enough that system calls cost nothing next to parsing.
const BUFFER_BYTES: usize = 64 * 1024;

/// The window with which `zstd --long` packs: 128 MiB of memory.
const WINDOW_LOG: u32 = 27;

/// The largest window without `--long` and `--ultra`: of files that anybody may send, many at a time, 8 MiB of memory each.
pub(crate) const UNTRUSTED_WINDOW_LOG: u32 = 23;

type Bytes = Box<dyn Read + Send>;

/// A file just opened, at its first byte.
pub(crate) struct Source {
    origin: Origin,
    pub(crate) compression: Option<Compression>,
    pub(crate) progress: Arc<Progress>,
    bytes: Bytes,
    /// The most bytes that it may have once it is decompressed.
    max_unpacked: Option<u64>,
}

/// What a file is read from.
enum Origin {
    /// A regular file.
    File(File),
    Object(OpenObject),
    /// Standard input, a named pipe or an upload, which cannot be read from any place.
    Stream,
}

impl Source {
    /// Opens a file, and detects the compression by the first bytes. A URL needs the context of the runtime, and a thread that may block.
    pub(crate) fn open(file: &Location) -> Result<Self, SourceError> {
        let path = match file {
            Location::Standard => return Self::from_reader(Box::new(io::stdin()), None),
            Location::Url(url) => {
                let (object, bytes) = OpenObject::open(url)?;
                let size = object.size();
                return Self::new(Box::new(bytes), Origin::Object(object), size);
            }
            Location::Path(path) => path,
        };
        let file = File::open(path).map_err(SourceError::CannotOpen)?;
        let metadata = file.metadata().map_err(SourceError::CannotOpen)?;
        if metadata.is_dir() {
            return Err(SourceError::Directory);
        }
        if !metadata.is_file() {
            return Self::from_reader(Box::new(file), None);
        }
        let regular_file = file.try_clone()?;
        Self::new(Box::new(file), Origin::File(regular_file), Some(metadata.len()))
    }

    /// Takes bytes that come from elsewhere, `size` of them if that is known.
    pub(crate) fn from_reader(bytes: Bytes, size: Option<u64>) -> Result<Self, SourceError> {
        Self::new(bytes, Origin::Stream, size)
    }

    fn new(bytes: Bytes, origin: Origin, size: Option<u64>) -> Result<Self, SourceError> {
        let progress = Arc::new(Progress::of(size));
        let file = if let Origin::File(file) = &origin { Some(file.try_clone()?) } else { None };
        let counted = CountedBytes { bytes, progress: Arc::clone(&progress), file };
        let (head, bytes) = peek(counted, Compression::MAGIC_BYTES)?;
        Ok(Self { origin, compression: Compression::detect(&head), progress, bytes, max_unpacked: None })
    }

    /// Refuses what has more bytes than this once it is decompressed: few bytes may unpack to any number.
    pub(crate) fn with_limit(self, max_unpacked: u64) -> Self {
        Self { max_unpacked: Some(max_unpacked), ..self }
    }

    /// The text in the file, without compression and byte order mark.
    pub(crate) fn text(self) -> Result<Box<dyn BufRead + Send>, SourceError> {
        let compression = self.compression;
        let (head, text) = peek(self.unpacked(), BINARY_MAGIC_BYTES)?;
        if let (Some(outer), Some(inner)) = (compression, Compression::detect(&head)) {
            return Err(SourceError::PackedTwice { outer: outer.name(), inner: inner.name() });
        }
        if let Some(found) = detect_binary(&head) {
            return Err(SourceError::NotText(found));
        }
        let mut text = BufReader::with_capacity(BUFFER_BYTES, text);
        if head.starts_with(BYTE_ORDER_MARK) {
            text.read_exact(&mut [0; BYTE_ORDER_MARK.len()])?;
        }
        Ok(Box::new(text))
    }

    /// The file itself, or a decompressed copy in a temporary file if the file is compressed or cannot be read from any place.
    pub(crate) fn seekable(self) -> Result<Seekable, SourceError> {
        match &self.origin {
            Origin::File(file) if self.compression.is_none() => {
                let mut file = file.try_clone()?;
                file.rewind()?;
                return Ok(Seekable::file(file)?);
            }
            Origin::Object(object) if self.compression.is_none() => {
                if let Some(ranges) = ObjectRanges::of(object.clone()) {
                    return Ok(Seekable::Object(Spool::of(ranges)));
                }
            }
            _ => {}
        }
        Ok(Seekable::file(copy_to_temporary(self.unpacked())?)?)
    }

    fn unpacked(self) -> Bytes {
        let Some(method) = self.compression else { return self.bytes };
        let window_log = if self.max_unpacked.is_some() { UNTRUSTED_WINDOW_LOG } else { WINDOW_LOG };
        let unpacked = Unpacked::new(BufReader::with_capacity(BUFFER_BYTES, self.bytes), method, window_log);
        match self.max_unpacked {
            Some(limit) => Box::new(Limited { bytes: unpacked, limit, read: 0, packed: self.progress }),
            None => Box::new(unpacked),
        }
    }
}

/// A file that unpacks to more than so many times its bytes is made to do so: tables of companies unpack to 5 to 50 times.
const MAX_RATIO: u64 = 250;

/// The beginning of any file may be as repetitive.
const RATIO_COUNTS_FROM: u64 = 1 << 20;

/// Refuses to read more than so many bytes, or many times what they were unpacked from.
struct Limited<R> {
    bytes: R,
    limit: u64,
    read: u64,
    packed: Arc<Progress>,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.bytes.read(out)?;
        self.read += read as u64;
        let packed = self.packed.bytes();
        if self.read > self.limit {
            return Err(SourceError::TooLarge { limit: self.limit }.into());
        }
        if self.read >= RATIO_COUNTS_FROM && self.read > packed.saturating_mul(MAX_RATIO) {
            return Err(SourceError::Bomb { packed, unpacked: self.read, most: MAX_RATIO }.into());
        }
        Ok(read)
    }
}

/// Enough of a file to know the formats in [`detect_binary`] by.
const BINARY_MAGIC_BYTES: usize = 10;

/// The format of a file that is no UTF-8 text, by its first bytes, and what to do about it.
fn detect_binary(head: &[u8]) -> Option<&'static str> {
    const KNOWN: [(&[u8], &str); 14] = [
        (b"\xff\xfe", "UTF-16 text; save the file as UTF-8"),
        (b"\xfe\xff", "UTF-16 text; save the file as UTF-8"),
        (b"PK\x03\x04", "a ZIP archive, as a workbook of Excel is one; unpack it, or save the sheet as CSV"),
        (b"\xd0\xcf\x11\xe0", "a workbook of an old Excel; save the sheet as CSV"),
        (b"BZh", "bzip2 data; unpack the file, or pack it with gzip or zstd"),
        (b"\xfd7zXZ", "xz data; unpack the file, or pack it with gzip or zstd"),
        (b"PAR1", "Parquet; say so with --format parquet, or by a name ending in .parquet"),
        (b"<!DOCTYPE ", "a page in HTML; a server may want a login, or the address is that of a page about the file"),
        (b"<!doctype ", "a page in HTML; a server may want a login, or the address is that of a page about the file"),
        (b"%PDF", "a PDF document; save its table as CSV"),
        (b"\xff\xd8\xff", "a picture; name a table"),
        (b"\x89PNG", "a picture; name a table"),
        (b"GIF8", "a picture; name a table"),
        (b"PARE", "encrypted Parquet; write it without encryption"),
    ];
    // A header of CSV may begin with the three letters.
    let is_bzip2 = head.get(4..10) == Some(b"1AY&SY");
    let known = KNOWN.iter().find(|(magic, _)| head.starts_with(magic) && (*magic != b"BZh" || is_bzip2));
    // Zero bytes may be data, but not at every second place.
    let zeros_at = |odd: usize| head.iter().enumerate().all(|(at, &byte)| (byte == 0) == (at % 2 == odd));
    let is_utf16 = head.len() == BINARY_MAGIC_BYTES && (zeros_at(0) || zeros_at(1));
    known.map(|(_, found)| *found).or(is_utf16.then_some("UTF-16 text without a mark; save the file as UTF-8"))
}

/// The first `count` bytes, or fewer at the end, and a reader that begins with them again.
fn peek(mut bytes: impl Read + Send + 'static, count: usize) -> Result<(Vec<u8>, Bytes), SourceError> {
    let mut head = Vec::with_capacity(count);
    bytes.by_ref().take(count as u64).read_to_end(&mut head)?;
    Ok((head.clone(), Box::new(Cursor::new(head).chain(bytes))))
}

fn copy_to_temporary(bytes: Bytes) -> Result<File, SourceError> {
    let mut bytes = BufReader::with_capacity(BUFFER_BYTES, bytes);
    let mut file = temporary::create()?;
    // Not `io::copy`, which does not say whether reading or writing failed.
    loop {
        let chunk = bytes.fill_buf()?;
        if chunk.is_empty() {
            break;
        }
        let copied = chunk.len();
        file.write_all(chunk).map_err(temporary::unusable)?;
        bytes.consume(copied);
    }
    file.rewind().map_err(temporary::unusable)?;
    Ok(file)
}

/// Counts the bytes that are read of a file, tries again if a signal interrupts a read, and refuses an end that comes too early.
struct CountedBytes {
    bytes: Bytes,
    progress: Arc<Progress>,
    /// The same file if it is a regular one.
    file: Option<File>,
}

impl Read for CountedBytes {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.bytes.read(out) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) if !out.is_empty() => {
                    match (&self.file, self.progress.size_if_incomplete()) {
                        (Some(file), Some(size)) => refuse_shrunk(file, size)?,
                        (None, Some(expected)) => return Err(SourceError::CutShort { expected }.into()),
                        (_, None) => {}
                    }
                    return Ok(0);
                }
                Ok(read) => {
                    self.progress.add_bytes(read);
                    return Ok(read);
                }
                // What is read above tells only these errors from damage to the data.
                Err(error) if error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<ObjectError>) => {
                    return Err(SourceError::from(error).into());
                }
                Err(error) => return Err(error),
            }
        }
    }
}
