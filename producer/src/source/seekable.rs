//! Data that can be read in any order: a file, or an object of which a server gives parts.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::ops::Range;

use bytes::Bytes;
use parquet::errors::Result as ParquetResult;
use parquet::file::reader::{ChunkReader, Length};

use super::error::SourceError;
use super::spool::{Spool, SpoolReader};

/// Data that can be read in any order, with the size that it had when it was opened.
pub(crate) enum Seekable {
    File { file: File, size: u64 },
    Object(Spool),
}

impl Seekable {
    pub(super) fn file(file: File) -> io::Result<Seekable> {
        let size = file.metadata()?.len();
        Ok(Seekable::File { file, size })
    }

    /// Another reader of the same data.
    pub(crate) fn try_clone(&self) -> io::Result<Seekable> {
        Ok(match self {
            Seekable::File { file, size } => Seekable::File { file: file.try_clone()?, size: *size },
            Seekable::Object(object) => Seekable::Object(object.clone()),
        })
    }

    /// Says where the columns will be read that are read in turn, each from its beginning to its end: in each of these groups.
    pub(crate) fn plan(&self, groups: &[Vec<Range<u64>>]) {
        if let Seekable::Object(object) = self {
            object.plan(groups);
        }
    }

    /// Why reading has failed, if not for what the data say: the file has become shorter, or the object cannot be read on.
    pub(crate) fn trouble(&self) -> Option<SourceError> {
        match self {
            Seekable::File { file, size } => refuse_shrunk(file, *size).err(),
            Seekable::Object(object) => object.trouble(),
        }
    }
}

impl Length for Seekable {
    fn len(&self) -> u64 {
        match self {
            Seekable::File { file, .. } => Length::len(file),
            Seekable::Object(object) => object.size(),
        }
    }
}

impl ChunkReader for Seekable {
    type T = SeekableReader;

    fn get_read(&self, start: u64) -> ParquetResult<SeekableReader> {
        Ok(match self {
            Seekable::File { file, .. } => SeekableReader::File(file.get_read(start)?),
            Seekable::Object(object) => SeekableReader::Object(object.reader(start)),
        })
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        match self {
            Seekable::File { file, .. } => file.get_bytes(start, length),
            Seekable::Object(object) => {
                let mut bytes = vec![0; length];
                object.reader(start).read_exact(&mut bytes)?;
                Ok(bytes.into())
            }
        }
    }
}

/// Reads from one place on.
pub(crate) enum SeekableReader {
    File(BufReader<File>),
    Object(SpoolReader),
}

impl Read for SeekableReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self {
            SeekableReader::File(file) => file.read(out),
            SeekableReader::Object(object) => object.read(out),
        }
    }
}

/// Refuses a file that is shorter than the `size` it had when it was opened: what is left would pass for the whole.
///
/// Files below `/proc` and `/sys` may end before their size; they keep it, and pass.
pub(super) fn refuse_shrunk(file: &File, size: u64) -> Result<(), SourceError> {
    match file.metadata()?.len() {
        found if found < size => Err(SourceError::Shrunk { expected: size, found }),
        _ => Ok(()),
    }
}
