//! Decompresses gzip and zstd, member by member, so that bytes between and behind the members are checked too.

use std::io::{self, BufRead, Read};

use flate2::bufread::GzDecoder;

use super::compression::Compression;
use super::error::SourceError;

/// The decompressed content of a file.
pub(super) struct Unpacked<B: BufRead> {
    method: Compression,
    window_log: u32,
    position: Position<B>,
}

/// Where in the compressed data the reader is.
enum Position<B: BufRead> {
    Gzip(Box<GzDecoder<B>>),
    Zstd(zstd::Decoder<'static, B>),
    /// Before the first member, between two, or behind the last.
    Between(B),
    /// Behind the end, or an error.
    End,
}

impl<B: BufRead> Unpacked<B> {
    /// Takes up to 2^`window_log` bytes of memory for zstd.
    pub(super) fn new(packed: B, method: Compression, window_log: u32) -> Self {
        Self { method, window_log, position: Position::Between(packed) }
    }

    fn read_members(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = match &mut self.position {
                Position::Gzip(member) => member.read(out)?,
                Position::Zstd(frame) => frame.read(out)?,
                Position::Between(_) => 0,
                Position::End => return Ok(0),
            };
            if read > 0 || out.is_empty() {
                return Ok(read);
            }
            self.position = match std::mem::replace(&mut self.position, Position::End) {
                Position::Gzip(member) => Position::Between(member.into_inner()),
                Position::Zstd(frame) => Position::Between(frame.finish()),
                Position::Between(packed) => self.next_member(packed)?,
                Position::End => Position::End,
            };
        }
    }

    fn next_member(&self, mut packed: B) -> io::Result<Position<B>> {
        match packed.fill_buf()?.first() {
            None => Ok(Position::End),
            Some(&byte) if self.method.begins_with(byte) => Ok(match self.method {
                Compression::Gzip => Position::Gzip(Box::new(GzDecoder::new(packed))),
                Compression::Zstd => {
                    let mut frame = zstd::Decoder::with_buffer(packed)?.single_frame();
                    frame.window_log_max(self.window_log)?;
                    Position::Zstd(frame)
                }
            }),
            Some(_) => self.skip_padding(packed).map(|()| Position::End),
        }
    }

    /// Skips zeros, with which tapes and block devices pad a file; the gzip program ignores them too. Any other byte may be the
    /// rest of a damaged member, and is an error.
    fn skip_padding(&self, mut packed: B) -> io::Result<()> {
        loop {
            let bytes = packed.fill_buf()?;
            if bytes.is_empty() {
                return Ok(());
            }
            if let Some(&byte) = bytes.iter().find(|&&byte| byte != 0) {
                return Err(SourceError::TrailingBytes { method: self.method.name(), byte }.into());
            }
            let padding = bytes.len();
            packed.consume(padding);
        }
    }

    /// Tells damage to the compressed data from errors of the file below it, which pass unchanged.
    fn classify(&self, error: io::Error) -> io::Error {
        let method = self.method.name();
        let message = error.to_string();
        let is_from_below = error.raw_os_error().is_some()
            || error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<SourceError>);
        match error.kind() {
            _ if is_from_below => error,
            io::ErrorKind::UnexpectedEof => SourceError::Truncated(method).into(),
            _ if message.contains("too much memory") => SourceError::LargeWindow { window_log: self.window_log }.into(),
            _ => SourceError::Corrupt { method, found: message }.into(),
        }
    }
}

impl<B: BufRead> Read for Unpacked<B> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.read_members(out).map_err(|error| self.classify(error))
    }
}
