//! Opens a file of whichever format.

use std::iter::Peekable;
use std::sync::Arc;

use rollcall_shared::message::{Format, Reading as ReadOptions};

use super::bad_input::{Fault, Reason};
use super::row::{Header, Rows};
use super::{csv, jsonl, parquet};
use crate::location::Location;
use crate::source::{Compression, Progress, Source, delimiter_of, format_of};

/// An open file, its header read and checked.
pub(super) struct Table {
    pub format: Format,
    pub compression: Option<Compression>,
    pub header: Header,
    pub progress: Arc<Progress>,
    pub rows: Peekable<Rows>,
}

impl Table {
    /// Opens a file in the format asked for, or else the one that its name says, and reads its first row.
    pub fn open(file: &Location, options: &ReadOptions) -> Result<Self, Fault> {
        // First: a path that does not exist is reported as that, whatever its extension.
        Self::read(Source::open(file)?, file, options)
    }

    /// Reads the first row of a source with the name of `file`.
    pub fn read(source: Source, file: &Location, options: &ReadOptions) -> Result<Self, Fault> {
        let format = format_of(file, options.format).ok_or(Reason::UnknownFormat)?;
        let (compression, progress) = (source.compression, Arc::clone(&source.progress));
        let (header, rows) = match format {
            Format::Csv => csv::open(source.text()?, options, delimiter_of(file), &progress)?,
            Format::Jsonl => jsonl::open(source.text()?, options),
            Format::Parquet => parquet::open(source.seekable()?, options, &progress)?,
        };
        let mut table = Self { format, compression, header, progress, rows: rows.peekable() };
        match table.rows.peek() {
            Some(_) => Ok(table),
            None => Err(Reason::NoCompanies.into()),
        }
    }
}
