//! Where the bytes of a file go: into a file, or into an upload.

use std::fs::File;
use std::io::{self, IsTerminal, Write};

use ring::digest::{Context, SHA256};

use crate::object::UploadWriter;

/// Takes the bytes of a file, and counts and hashes them.
pub(crate) struct Sink {
    to: To,
    bytes: u64,
    hash: Context,
}

enum To {
    File(File),
    Upload(UploadWriter),
    Other(Box<dyn Write + Send>),
}

/// What was written of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) bytes: u64,
    /// In hexadecimal digits.
    pub(crate) sha256: String,
}

impl Sink {
    pub(super) fn file(file: File) -> Sink {
        Sink { to: To::File(file), bytes: 0, hash: Context::new(&SHA256) }
    }

    pub(super) fn upload(upload: UploadWriter) -> Sink {
        Sink { to: To::Upload(upload), bytes: 0, hash: Context::new(&SHA256) }
    }

    /// What is neither a file nor an upload.
    pub(crate) fn other(writer: Box<dyn Write + Send>) -> Sink {
        Sink { to: To::Other(writer), bytes: 0, hash: Context::new(&SHA256) }
    }

    pub(crate) fn is_terminal(&self) -> bool {
        matches!(&self.to, To::File(file) if file.is_terminal())
    }

    /// Everything has been written to it.
    pub(crate) fn finish(self) -> io::Result<Written> {
        if let To::Upload(upload) = self.to {
            upload.finish()?;
        }
        let digits = self.hash.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Written { bytes: self.bytes, sha256: digits })
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = match &mut self.to {
            To::File(file) => file.write(bytes)?,
            To::Upload(upload) => upload.write(bytes)?,
            To::Other(writer) => writer.write(bytes)?,
        };
        self.hash.update(&bytes[..taken]);
        self.bytes += taken as u64;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.to {
            To::File(file) => file.flush(),
            To::Upload(upload) => upload.flush(),
            To::Other(writer) => writer.flush(),
        }
    }
}
