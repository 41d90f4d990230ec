//! Where the bytes of a file come from: a path or standard input, plain or compressed.
//!
//! Knows nothing of rows. Damage to the compression comes out as a [`Fault`] inside the I/O error.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read, Seek as _, Write as _};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use super::Format;
use super::bad_input::{Fault, Reason};

/// The path that stands for standard input.
const STANDARD_INPUT: &str = "-";

const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];
const ZSTD_MAGIC: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
const BYTE_ORDER_MARK: &[u8] = &[0xef, 0xbb, 0xbf];

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
    let name = path.to_string_lossy().to_lowercase();
    let name = name.strip_suffix(".gz").or(name.strip_suffix(".zst")).unwrap_or(&name);
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("csv") => Ok(Format::Csv),
        Some("jsonl" | "ndjson") => Ok(Format::Jsonl),
        Some("parquet") => Ok(Format::Parquet),
        _ => Err(Reason::UnknownFormat.into()),
    }
}

/// A file just opened, at its first byte.
pub(super) struct Source {
    /// Standard input and named pipes have none: they can't be read from where one likes.
    seekable: Option<File>,
    compression: Option<Compression>,
    bytes: Bytes,
}

impl Source {
    /// Opens `path` and looks at its first bytes.
    pub fn open(path: &Path) -> Result<Self, Fault> {
        if path == Path::new(STANDARD_INPUT) {
            return Self::new(Box::new(io::stdin()), None);
        }
        let file = File::open(path).map_err(Reason::CannotOpen)?;
        let kind = file.metadata().map_err(Reason::CannotOpen)?.file_type();
        if kind.is_dir() {
            return Err(Reason::Directory.into());
        }
        let seekable = kind.is_file().then(|| file.try_clone()).transpose()?;
        Self::new(Box::new(file), seekable)
    }

    fn new(bytes: Bytes, seekable: Option<File>) -> Result<Self, Fault> {
        let (head, bytes) = peek(Uninterrupted { bytes }, ZSTD_MAGIC.len())?;
        Ok(Self { seekable, compression: Compression::of(&head), bytes })
    }

    /// The text in the file, without compression and byte order mark.
    pub fn text(self) -> Result<Box<dyn BufRead + Send>, Fault> {
        let (head, text) = peek(self.plain()?, BYTE_ORDER_MARK.len())?;
        let mut text = BufReader::with_capacity(BUFFER_BYTES, text);
        if head == BYTE_ORDER_MARK {
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
        let packed = BufReader::with_capacity(BUFFER_BYTES, self.bytes);
        let bytes: Bytes = match method {
            Compression::Gzip => Box::new(MultiGzDecoder::new(packed)),
            Compression::Zstd => Box::new(zstd::Decoder::with_buffer(packed)?),
        };
        Ok(Box::new(Unpacked { bytes, method }))
    }
}

/// The first `count` bytes, or fewer at the end, and a reader that gives them once more.
fn peek(mut bytes: impl Read + Send + 'static, count: usize) -> Result<(Vec<u8>, Bytes), Fault> {
    let mut head = Vec::with_capacity(count);
    bytes.by_ref().take(count as u64).read_to_end(&mut head)?;
    Ok((head.clone(), Box::new(Cursor::new(head).chain(bytes))))
}

fn copy(bytes: Bytes) -> Result<File, Fault> {
    let mut bytes = BufReader::with_capacity(BUFFER_BYTES, bytes);
    let mut file = tempfile::tempfile().map_err(Reason::TemporaryFile)?;
    loop {
        let chunk = bytes.fill_buf()?;
        if chunk.is_empty() {
            break;
        }
        let copied = chunk.len();
        file.write_all(chunk).map_err(Reason::TemporaryFile)?;
        bytes.consume(copied);
    }
    file.rewind().map_err(Reason::TemporaryFile)?;
    Ok(file)
}

#[derive(Clone, Copy)]
enum Compression {
    Gzip,
    Zstd,
}

impl Compression {
    fn of(head: &[u8]) -> Option<Self> {
        match head {
            _ if head.starts_with(GZIP_MAGIC) => Some(Self::Gzip),
            _ if head.starts_with(ZSTD_MAGIC) => Some(Self::Zstd),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

/// Tells damage to compressed data from trouble with the disk under it.
struct Unpacked {
    bytes: Bytes,
    method: Compression,
}

impl Read for Unpacked {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let method = self.method.name();
        self.bytes.read(out).map_err(|error| match error.kind() {
            _ if error.raw_os_error().is_some() => error,
            io::ErrorKind::UnexpectedEof => Fault::from(Reason::Truncated(method)).into(),
            _ => Fault::from(Reason::Corrupt { method, found: error.to_string() }).into(),
        })
    }
}

/// A signal is no fault of the file, and not every reader tries again.
struct Uninterrupted {
    bytes: Bytes,
}

impl Read for Uninterrupted {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.bytes.read(out) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => return read,
            }
        }
    }
}
