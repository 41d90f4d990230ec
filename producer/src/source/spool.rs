//! An object whose columns are read in turn, a group of rows at a time.
//!
//! In a large group of many columns, little of each would fit into memory, and each little would be a request. Such a group is copied to a
//! temporary file as it is read, by one request.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, PoisonError};

use super::error::SourceError;
use super::temporary;
use crate::object::{ObjectBytes, ObjectRanges};

/// A group of fewer bytes fits into memory.
const LARGE_BYTES: u64 = 32 << 20;

/// With fewer columns, as much of each is read ahead as a page has, and more.
const MANY_COLUMNS: usize = 16;

/// Copied at a time.
const STEP_BYTES: usize = 256 << 10;

/// An object, of which large groups of many columns are copied while they are read. Clones share what was copied.
#[derive(Clone)]
pub(crate) struct Spool {
    object: ObjectRanges,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// The groups that are copied.
    groups: Vec<Range<u64>>,
    copy: Option<Copy>,
    /// The error that ended reading: a reader of Parquet keeps only the text of errors.
    error: Option<SourceError>,
}

/// The copy of a group.
struct Copy {
    group: Range<u64>,
    bytes: ObjectBytes,
    file: File,
    /// How far it goes.
    end: u64,
}

impl Spool {
    pub(super) fn of(object: ObjectRanges) -> Spool {
        Spool { object, state: Arc::default() }
    }

    pub(super) fn size(&self) -> u64 {
        self.object.size()
    }

    /// Says where the columns will be read that are read in turn, each from its beginning to its end: in each of these groups.
    pub(super) fn plan(&self, groups: &[Vec<Range<u64>>]) {
        self.with_state(|state| state.groups = groups.iter().filter_map(|columns| to_copy(columns)).collect());
        self.object.plan(groups);
    }

    /// Why reading has ended, if not for what the data say.
    pub(super) fn trouble(&self) -> Option<SourceError> {
        let in_copy = self.with_state(|state| state.error.take());
        in_copy.or_else(|| self.object.error().map(|error| SourceError::Object(Box::new(error))))
    }

    /// A reader from `start` on.
    pub(super) fn reader(&self, start: u64) -> SpoolReader {
        SpoolReader { spool: self.clone(), position: start }
    }

    fn with_state<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        // A thread that panicked, in the reader of Parquet, held no lock in the middle of a change.
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The range of a group that is to be copied; `None` if it is better read in parts.
fn to_copy(columns: &[Range<u64>]) -> Option<Range<u64>> {
    let group = columns.iter().map(|column| column.start).min()?..columns.iter().map(|column| column.end).max()?;
    let wanted: u64 = columns.iter().map(|column| column.end.saturating_sub(column.start)).sum();
    let is_large = wanted > LARGE_BYTES && columns.len() > MANY_COLUMNS;
    // What lies between the columns would be transferred for nothing.
    (is_large && wanted > (group.end - group.start) / 2).then_some(group)
}

impl State {
    /// Reads from a copy; `None` if the place is in none.
    fn read(&mut self, object: &ObjectRanges, position: u64, out: &mut [u8]) -> Result<Option<usize>, SourceError> {
        let Some(group) = self.groups.iter().find(|group| group.contains(&position)) else { return Ok(None) };
        let copy = match self.copy.take().filter(|copy| copy.group == *group) {
            Some(copy) => self.copy.insert(copy),
            None => self.copy.insert(Copy::begin(object, group.clone())?),
        };
        let end = group.end.min(position + out.len() as u64);
        copy.reach(end)?;
        let out = &mut out[..usize::try_from(end - position).unwrap_or(usize::MAX)];
        copy.file.read_exact_at(out, position - copy.group.start).map_err(temporary::unusable)?;
        Ok(Some(out.len()))
    }
}

impl Copy {
    fn begin(object: &ObjectRanges, group: Range<u64>) -> Result<Copy, SourceError> {
        let (file, bytes) = (temporary::create()?, object.stream(&group));
        Ok(Copy { end: group.start, group, bytes, file })
    }

    /// Copies up to `end`.
    fn reach(&mut self, end: u64) -> Result<(), SourceError> {
        let mut step = vec![0; STEP_BYTES];
        while self.end < end {
            let read = self.bytes.read(&mut step)?;
            if read == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            self.file.write_all_at(&step[..read], self.end - self.group.start).map_err(temporary::unusable)?;
            self.end += read as u64;
        }
        Ok(())
    }
}

/// Reads from one place on.
pub(crate) struct SpoolReader {
    spool: Spool,
    position: u64,
}

impl Read for SpoolReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.spool.with_state(|state| {
            let read = state.read(&self.spool.object, self.position, out);
            read.map_err(|error| {
                let text = error.to_string();
                state.error = Some(error);
                io::Error::other(text)
            })
        });
        let read = match read? {
            Some(read) => read,
            None => self.spool.object.reader(self.position).read(out)?,
        };
        self.position += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_groups_of_many_columns_are_copied_and_others_are_not() {
        let columns = |count: u64, bytes: u64, gap: u64| -> Vec<Range<u64>> {
            (0..count).map(|at| at * (bytes + gap)..at * (bytes + gap) + bytes).collect()
        };
        assert_eq!(to_copy(&columns(300, 1 << 20, 0)), Some(0..300 << 20));
        assert_eq!(to_copy(&columns(300, 1 << 16, 0)), None, "it fits into memory");
        assert_eq!(to_copy(&columns(10, 1 << 24, 0)), None, "much of each column fits into memory");
        assert_eq!(to_copy(&columns(100, 1 << 20, 3 << 20)), None, "most of it is not wanted");
        assert_eq!(to_copy(&[]), None);
    }
}
