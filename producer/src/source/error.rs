//! Why a file cannot be opened or read on: what was expected, what was found, and what to do.

use std::io;
use std::path::PathBuf;

use crate::object::ObjectError;

/// It also travels inside an [`io::Error`], so that a [`io::Read`] can report it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SourceError {
    #[error("expected a file that can be read, found {}; {}", describe(.0), advice(.0))]
    CannotOpen(io::Error),
    #[error("expected a file, found a directory; name a file in it")]
    Directory,
    #[error("expected to read on, found {}; its rows are not at fault, look at where it is read from", describe(.0))]
    Unreadable(io::Error),
    #[error(
        "expected {expected} bytes, as many as it had when it was opened, found its end after {found}: it has become shorter while \
         it was read; enqueue it again when nobody writes to it"
    )]
    Shrunk { expected: u64, found: u64 },
    #[error("expected {expected} bytes, found the end before; send it again")]
    CutShort { expected: u64 },
    /// What whoever passes the bytes on says of their sender.
    #[error("{0}")]
    Sender(String),
    #[error(transparent)]
    Object(Box<ObjectError>),
    #[error("expected {0} data to the end, found it cut short; the rows before are whole: get the whole file")]
    Truncated(&'static str),
    #[error("expected {method} data, found it damaged ({found}); get the file again")]
    Corrupt { method: &'static str, found: String },
    #[error(
        "expected nothing behind the {method} data, found a byte 0x{byte:02x}; the rows before are whole: cut off what \
         stands behind the data, or pack the file anew"
    )]
    TrailingBytes { method: &'static str, byte: u8 },
    #[error(
        "expected zstd data that is unpacked with a window of at most {} MiB, found a larger one; pack the file anew \
         without --long and --ultra, or with --long={window_log} at most", 1_u64 << window_log.saturating_sub(20)
    )]
    LargeWindow { window_log: u32 },
    #[error("expected data packed once, found {inner} inside {outer}; unpack the file once")]
    PackedTwice { outer: &'static str, inner: &'static str },
    #[error("expected at most {limit} bytes once it is decompressed, found more; split the file")]
    TooLarge { limit: u64 },
    #[error(
        "expected data that unpacks to at most {most} times its size, found {unpacked} bytes in {packed}, as in a decompression bomb; if it \
         is no such thing, send it unpacked"
    )]
    Bomb { packed: u64, unpacked: u64, most: u64 },
    #[error("expected text, found {0}")]
    NotText(&'static str),
    #[error(
        "cannot {action} a temporary file in {}: {error}; set TMPDIR to a folder that can be written and has room",
        .folder.display()
    )]
    TemporaryFile { action: &'static str, folder: PathBuf, error: io::Error },
}

impl SourceError {
    /// Whether the file itself is fine, and the machine that reads it, or a writer that changes it meanwhile, is the cause.
    pub(crate) fn is_of_the_environment(&self) -> bool {
        match self {
            Self::CannotOpen(error) | Self::Unreadable(error) => is_of_the_system(error),
            Self::Object(error) => error.is_of_the_environment(),
            Self::TemporaryFile { .. } | Self::Shrunk { .. } | Self::Sender(_) => true,
            _ => false,
        }
    }

    /// Whether another attempt may succeed, without anybody doing something: the machine or a server may work again.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Object(error) => error.may_pass(),
            Self::Shrunk { .. } => false,
            other => other.is_of_the_environment(),
        }
    }
}

impl From<io::Error> for SourceError {
    fn from(error: io::Error) -> Self {
        error
            .downcast()
            .or_else(|error| error.downcast().map(|error| Self::Object(Box::new(error))))
            .unwrap_or_else(Self::Unreadable)
    }
}

impl From<SourceError> for io::Error {
    fn from(error: SourceError) -> Self {
        Self::other(error)
    }
}

/// Whether an error comes from the system, such as a full disk, and not from the path, such as a missing file.
pub(crate) fn is_of_the_system(error: &io::Error) -> bool {
    const TOO_MANY_LINKS: i32 = 40;
    let is_of_the_path = matches!(
        error.kind(),
        io::ErrorKind::NotFound
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::IsADirectory
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::InvalidInput
            | io::ErrorKind::InvalidFilename
    );
    error.raw_os_error().is_some_and(|code| code != TOO_MANY_LINKS) && !is_of_the_path
}

/// What to do about a file that cannot be opened.
fn advice(error: &io::Error) -> &'static str {
    const TOO_MANY_OPEN_FILES: [i32; 2] = [23, 24];
    match error.raw_os_error() {
        Some(code) if TOO_MANY_OPEN_FILES.contains(&code) => "raise the limit of open files (ulimit -n)",
        _ if is_of_the_system(error) => "look at the disk that it is on",
        _ => "check the path and its permissions",
    }
}

fn describe(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "no permission to read it".to_owned(),
        _ => format!("an error of the system ({error})"),
    }
}
