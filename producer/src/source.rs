//! Where the bytes of a file come from: a path or standard input, plain or compressed.
//!
//! Knows nothing of rows. Damage to the compression comes out as a [`SourceError`] inside the I/O error.

mod compression;
mod error;
mod file_name;
mod progress;
pub(crate) mod temporary;
mod unpack;

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read, Seek as _, Write as _};
use std::path::Path;
use std::sync::Arc;

pub(crate) use compression::Compression;
pub(crate) use error::{SourceError, is_of_the_system};
pub(crate) use file_name::{compression_of, delimiter_of, display_name, format_of};
pub use progress::Progress;
use unpack::Unpacked;

/// U+FEFF in UTF-8. It may begin a text; inside one it shows that another file was appended.
pub(crate) const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Large enough that system calls cost nothing next to parsing.
const BUFFER_BYTES: usize = 64 * 1024;

type Bytes = Box<dyn Read + Send>;

/// A file just opened, at its first byte.
pub(crate) struct Source {
    /// The same file if it is a regular one; standard input and named pipes cannot be read from any place.
    regular_file: Option<File>,
    pub(crate) compression: Option<Compression>,
    pub(crate) progress: Arc<Progress>,
    bytes: Bytes,
}

impl Source {
    /// Opens `path`, `-` being standard input, and detects the compression by the first bytes.
    pub(crate) fn open(path: &Path) -> Result<Self, SourceError> {
        if file_name::is_standard_input(path) {
            return Self::new(Box::new(io::stdin()), None, None);
        }
        let file = File::open(path).map_err(SourceError::CannotOpen)?;
        let metadata = file.metadata().map_err(SourceError::CannotOpen)?;
        if metadata.is_dir() {
            return Err(SourceError::Directory);
        }
        let regular_file = metadata.is_file().then(|| file.try_clone()).transpose()?;
        Self::new(Box::new(file), regular_file, metadata.is_file().then_some(metadata.len()))
    }

    fn new(bytes: Bytes, regular_file: Option<File>, size: Option<u64>) -> Result<Self, SourceError> {
        let progress = Arc::new(Progress::of(size));
        let file = regular_file.as_ref().map(File::try_clone).transpose()?;
        let counted = CountedBytes { bytes, progress: Arc::clone(&progress), file };
        let (head, bytes) = peek(counted, Compression::MAGIC_BYTES)?;
        Ok(Self { regular_file, compression: Compression::detect(&head), progress, bytes })
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

    /// The file itself, or a decompressed copy in a temporary file if the file is compressed or not a regular one.
    pub(crate) fn seekable(mut self) -> Result<File, SourceError> {
        match self.regular_file.take() {
            Some(mut file) if self.compression.is_none() => {
                file.rewind()?;
                Ok(file)
            }
            _ => copy_to_temporary(self.unpacked()),
        }
    }

    fn unpacked(self) -> Bytes {
        match self.compression {
            Some(method) => Box::new(Unpacked::new(BufReader::with_capacity(BUFFER_BYTES, self.bytes), method)),
            None => self.bytes,
        }
    }
}

/// Enough of a file to know the formats in [`detect_binary`] by.
const BINARY_MAGIC_BYTES: usize = 10;

/// The format of a file that is no UTF-8 text, by its first bytes, and what to do about it.
fn detect_binary(head: &[u8]) -> Option<&'static str> {
    const KNOWN: [(&[u8], &str); 8] = [
        (b"\xff\xfe", "UTF-16 text; save the file as UTF-8"),
        (b"\xfe\xff", "UTF-16 text; save the file as UTF-8"),
        (b"PK\x03\x04", "a ZIP archive, as a workbook of Excel is one; unpack it, or save the sheet as CSV"),
        (b"\xd0\xcf\x11\xe0", "a workbook of an old Excel; save the sheet as CSV"),
        (b"BZh", "bzip2 data; unpack the file, or pack it with gzip or zstd"),
        (b"\xfd7zXZ", "xz data; unpack the file, or pack it with gzip or zstd"),
        (b"PAR1", "Parquet; say so with --format parquet, or by a name ending in .parquet"),
        (b"PARE", "encrypted Parquet; write it without encryption"),
    ];
    // A header of CSV may begin with the three letters.
    let is_bzip2 = head.get(4..10) == Some(b"1AY&SY");
    let known = KNOWN.iter().find(|(magic, _)| head.starts_with(magic) && (*magic != b"BZh" || is_bzip2));
    known.map(|(_, found)| *found)
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
                    if let (Some(file), Some(size)) = (&self.file, self.progress.size_if_incomplete()) {
                        refuse_shrunk(file, size)?;
                    }
                    return Ok(0);
                }
                Ok(read) => {
                    self.progress.add_bytes(read);
                    return Ok(read);
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// Refuses a file that is shorter than the `size` it had when it was opened: what is left would pass for the whole.
///
/// Files below `/proc` and `/sys` may end before their size; they keep it, and pass.
pub(crate) fn refuse_shrunk(file: &File, size: u64) -> Result<(), SourceError> {
    match file.metadata()?.len() {
        found if found < size => Err(SourceError::Shrunk { expected: size, found }),
        _ => Ok(()),
    }
}
