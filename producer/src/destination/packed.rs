//! Writes a file, plain or compressed.

use std::io::{self, BufWriter, IntoInnerError, Write};

use flate2::write::GzEncoder;

use super::sink::{Sink, Written};
use crate::source::Compression;

/// Large enough that system calls cost nothing next to making the rows.
const BUFFER_BYTES: usize = 64 * 1024;

/// A file that is compressed as it is written, if it is to be.
pub(crate) enum Packed {
    Plain(BufWriter<Sink>),
    Gzip(GzEncoder<BufWriter<Sink>>),
    Zstd(zstd::Encoder<'static, BufWriter<Sink>>),
}

impl Packed {
    pub(crate) fn new(sink: Sink, compression: Option<Compression>) -> io::Result<Packed> {
        let file = BufWriter::with_capacity(BUFFER_BYTES, sink);
        Ok(match compression {
            None => Packed::Plain(file),
            Some(Compression::Gzip) => Packed::Gzip(GzEncoder::new(file, flate2::Compression::default())),
            Some(Compression::Zstd) => {
                let mut encoder = zstd::Encoder::new(file, zstd::DEFAULT_COMPRESSION_LEVEL)?;
                encoder.include_checksum(true)?;
                Packed::Zstd(encoder)
            }
        })
    }

    /// Writes what is buffered, and the end of the compressed data, without which readers report a truncated file.
    pub(crate) fn finish(self) -> io::Result<Written> {
        let file = match self {
            Packed::Plain(file) => file,
            Packed::Gzip(encoder) => encoder.finish()?,
            Packed::Zstd(encoder) => encoder.finish()?,
        };
        file.into_inner().map_err(IntoInnerError::into_error)?.finish()
    }
}

impl Write for Packed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Packed::Plain(file) => file.write(bytes),
            Packed::Gzip(encoder) => encoder.write(bytes),
            Packed::Zstd(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Packed::Plain(file) => file.flush(),
            Packed::Gzip(encoder) => encoder.flush(),
            Packed::Zstd(encoder) => encoder.flush(),
        }
    }
}
