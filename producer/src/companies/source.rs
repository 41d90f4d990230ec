//! Where the bytes of a file come from: a path or standard input, plain or compressed.
//!
//! Knows nothing of rows. Damage to the compression comes out as a [`Fault`] inside the I/O error.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read, Seek as _, Write as _};
use std::path::Path;
use std::sync::Arc;

use super::Format;
use super::bad_input::{Fault, Reason};
use super::progress::Progress;
use super::temporary;
use super::unpack::{Compression, Unpacked};

/// The path that stands for standard input.
const STANDARD_INPUT: &str = "-";

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Large enough that system calls cost nothing next to parsing.
const BUFFER_BYTES: usize = 64 * 1024;

type Bytes = Box<dyn Read + Send>;

/// How the file at `path` is called in errors.
pub(super) fn name(path: &Path) -> String {
    if path == Path::new(STANDARD_INPUT) { "standard input".to_owned() } else { path.display().to_string() }
}

/// The format asked for, or else the one the name of the file tells.
pub(super) fn format(path: &Path, asked: Option<Format>) -> Result<Format, Fault> {
    if let Some(format) = asked {
        return Ok(format);
    }
    if path == Path::new(STANDARD_INPUT) {
        return Ok(Format::Csv);
    }
    match extension(path).as_deref() {
        Some("csv" | "tsv") => Ok(Format::Csv),
        Some("jsonl" | "ndjson") => Ok(Format::Jsonl),
        Some("parquet") => Ok(Format::Parquet),
        _ => Err(Reason::UnknownFormat.into()),
    }
}

/// The delimiter that the name of the file tells.
pub(super) fn delimiter(path: &Path) -> Option<u8> {
    (extension(path).as_deref() == Some("tsv")).then_some(b'\t')
}

/// What the name ends in, in small letters, without that of a compression.
fn extension(path: &Path) -> Option<String> {
    let name = path.to_string_lossy().to_lowercase();
    let name = name.strip_suffix(".gz").or(name.strip_suffix(".zst")).unwrap_or(&name);
    name.rsplit_once('.').map(|(_, extension)| extension.to_owned())
}

/// A file just opened, at its first byte.
pub(super) struct Source {
    /// Standard input and named pipes have none: they can't be read from where one likes.
    seekable: Option<File>,
    pub compression: Option<Compression>,
    pub progress: Arc<Progress>,
    bytes: Bytes,
}

impl Source {
    /// Opens `path` and looks at its first bytes.
    pub fn open(path: &Path) -> Result<Self, Fault> {
        if path == Path::new(STANDARD_INPUT) {
            return Self::new(Box::new(io::stdin()), None, None);
        }
        let file = File::open(path).map_err(Reason::CannotOpen)?;
        let metadata = file.metadata().map_err(Reason::CannotOpen)?;
        if metadata.is_dir() {
            return Err(Reason::Directory.into());
        }
        let seekable = metadata.is_file().then(|| file.try_clone()).transpose()?;
        Self::new(Box::new(file), seekable, metadata.is_file().then_some(metadata.len()))
    }

    fn new(bytes: Bytes, seekable: Option<File>, size: Option<u64>) -> Result<Self, Fault> {
        let progress = Arc::new(Progress::of(size));
        let file = seekable.as_ref().map(File::try_clone).transpose()?;
        let counted = Counted { bytes, progress: Arc::clone(&progress), file };
        let (head, bytes) = peek(counted, Compression::MAGIC_BYTES)?;
        Ok(Self { seekable, compression: Compression::of(&head), progress, bytes })
    }

    /// The text in the file, without compression and byte order mark.
    pub fn text(self) -> Result<Box<dyn BufRead + Send>, Fault> {
        let compression = self.compression;
        let (head, text) = peek(self.plain()?, FOREIGN_MAGIC_BYTES)?;
        if let (Some(outer), Some(inner)) = (compression, Compression::of(&head)) {
            return Err(Reason::PackedTwice { outer: outer.name(), inner: inner.name() }.into());
        }
        if let Some(found) = foreign(&head) {
            return Err(Reason::Foreign(found).into());
        }
        let mut text = BufReader::with_capacity(BUFFER_BYTES, text);
        if head.starts_with(BYTE_ORDER_MARK) {
            text.read_exact(&mut [0; BYTE_ORDER_MARK.len()])?;
        }
        Ok(Box::new(text))
    }

    /// The file itself, or an unnamed copy without compression where one can't read it from any
    /// place.
    pub fn seekable(mut self) -> Result<File, Fault> {
        match self.seekable.take() {
            Some(mut file) if self.compression.is_none() => {
                file.rewind()?;
                Ok(file)
            }
            _ => copy(self.plain()?),
        }
    }

    fn plain(self) -> Result<Bytes, Fault> {
        let Some(method) = self.compression else {
            return Ok(self.bytes);
        };
        Ok(Box::new(Unpacked::new(BufReader::with_capacity(BUFFER_BYTES, self.bytes), method)))
    }
}

/// Enough of a file to know the formats in [`foreign`] by.
const FOREIGN_MAGIC_BYTES: usize = 10;

/// What a file holds that is taken for text and is none, by its first bytes.
fn foreign(head: &[u8]) -> Option<&'static str> {
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
    let is_bzip2 = head.get(4..10) == Some(b"1AY&SY");
    let known = KNOWN.iter().find(|(magic, _)| head.starts_with(magic) && (*magic != b"BZh" || is_bzip2));
    known.map(|(_, found)| *found)
}

/// The first `count` bytes, or fewer at the end, and a reader that gives them once more.
fn peek(mut bytes: impl Read + Send + 'static, count: usize) -> Result<(Vec<u8>, Bytes), Fault> {
    let mut head = Vec::with_capacity(count);
    bytes.by_ref().take(count as u64).read_to_end(&mut head)?;
    Ok((head.clone(), Box::new(Cursor::new(head).chain(bytes))))
}

fn copy(bytes: Bytes) -> Result<File, Fault> {
    let mut bytes = BufReader::with_capacity(BUFFER_BYTES, bytes);
    let mut file = temporary::create()?;
    loop {
        let chunk = bytes.fill_buf()?;
        if chunk.is_empty() {
            break;
        }
        let copied = chunk.len();
        file.write_all(chunk).map_err(temporary::fault)?;
        bytes.consume(copied);
    }
    file.rewind().map_err(temporary::fault)?;
    Ok(file)
}

/// Counts what is read of a file. A signal is no fault of the file, and not every reader tries again.
struct Counted {
    bytes: Bytes,
    progress: Arc<Progress>,
    /// A regular file.
    file: Option<File>,
}

/// Tells an end of a file that came before the end that it had when it was opened with `size` bytes: what has become shorter since would
/// pass for the whole. A file of the system's may have an end before its size, and keeps it.
pub(super) fn refuse_shrunk(file: &File, size: u64) -> Result<(), Fault> {
    match file.metadata().map(|metadata| metadata.len()) {
        Ok(found) if found < size => Err(Reason::Shrunk { expected: size, found }.into()),
        Ok(_) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

impl Read for Counted {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.bytes.read(out) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) if !out.is_empty() => {
                    if let (Some(file), Some(size)) = (&self.file, self.progress.missing_of()) {
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
