//! Finds every id that occurs in more than one row, in memory that does not grow with the rows.
//!
//! Ids are compared by a 128-bit hash. In the largest file, of four billion rows, the odds that two different ids have the same hash
//! are 1 in 10^19.

use std::cmp::Reverse;
use std::collections::btree_map::Entry as Slot;
use std::collections::{BTreeMap, BinaryHeap};
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, BufWriter, Read, Seek as _, SeekFrom, Write as _};
use std::iter;
use std::mem;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_128;

use crate::source::temporary;

/// Duplicates within this many ids are found at once. 32,768 ids take about 1.5 MB.
const WINDOW_IDS: usize = 32 * 1024;

/// The read buffers of all runs together while they are merged.
const MERGE_BYTES: usize = 128 * 1024;

/// An id in two rows, both counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Duplicate {
    pub row: u32,
    /// The first row with the same id, or the first in the same window as `row`.
    pub first_row: u32,
}

/// The ids of a file so far: the last ones in a window in memory, the others as sorted runs in a temporary file, to be merged at the
/// end.
pub(super) struct SeenIds {
    window: BTreeMap<u128, u32>,
    window_ids: usize,
    runs: Option<Runs>,
    merge: Option<Merge>,
}

impl Default for SeenIds {
    fn default() -> Self {
        Self::with_window(WINDOW_IDS)
    }
}

impl SeenIds {
    /// Keeps `window_ids` ids in memory.
    pub fn with_window(window_ids: usize) -> Self {
        Self { window: BTreeMap::new(), window_ids, runs: None, merge: None }
    }

    /// Adds an id. Returns the earlier row with the same one, if that is still in memory.
    pub fn note(&mut self, id: &str, row: u32) -> io::Result<Option<u32>> {
        match self.window.entry(xxh3_128(id.as_bytes())) {
            Slot::Occupied(slot) => return Ok(Some(*slot.get())),
            Slot::Vacant(slot) => slot.insert(row),
        };
        if self.window.len() == self.window_ids {
            self.write_run()?;
        }
        Ok(None)
    }

    /// The next duplicate that [`SeenIds::note`] did not find; to be called after the last id.
    pub fn next_far_duplicate(&mut self) -> io::Result<Option<Duplicate>> {
        if self.runs.is_some() {
            self.write_run()?;
        }
        if let Some(runs) = self.runs.take() {
            self.merge = Some(Merge::of(runs)?);
        }
        self.merge.as_mut().map_or(Ok(None), Merge::next_duplicate)
    }

    fn write_run(&mut self) -> io::Result<()> {
        let window = mem::take(&mut self.window);
        match &mut self.runs {
            Some(runs) => runs.write(window),
            None => self.runs.insert(Runs::new()?).write(window),
        }
    }
}

/// A hashed id and its row, which the runs are sorted by.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    id: u128,
    row: u32,
}

impl Entry {
    const ID_BYTES: usize = size_of::<u128>();
    const BYTES: usize = Self::ID_BYTES + size_of::<u32>();

    fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..Self::ID_BYTES].copy_from_slice(&self.id.to_le_bytes());
        bytes[Self::ID_BYTES..].copy_from_slice(&self.row.to_le_bytes());
        bytes
    }

    fn read(run: &mut impl Read) -> io::Result<Self> {
        let mut id = [0; Self::ID_BYTES];
        let mut row = [0; size_of::<u32>()];
        run.read_exact(&mut id)?;
        run.read_exact(&mut row)?;
        Ok(Self { id: u128::from_le_bytes(id), row: u32::from_le_bytes(row) })
    }
}

/// Sorted runs, one behind the other in a temporary file.
struct Runs {
    file: BufWriter<File>,
    /// The offset in bytes at which each run ends.
    ends: Vec<u64>,
}

impl Runs {
    fn new() -> io::Result<Self> {
        Ok(Self { file: BufWriter::new(temporary::create()?), ends: Vec::new() })
    }

    fn write(&mut self, window: BTreeMap<u128, u32>) -> io::Result<()> {
        let start = self.ends.last().copied().unwrap_or(0);
        self.ends.push(start + (window.len() * Entry::BYTES) as u64);
        for (id, row) in window {
            self.file.write_all(&Entry { id, row }.to_bytes())?;
        }
        Ok(())
    }

    fn into_readers(self) -> io::Result<Vec<BufReader<Run>>> {
        let buffer_bytes = (MERGE_BYTES / self.ends.len()).max(Entry::BYTES);
        let file = Arc::new(self.file.into_inner()?);
        let starts = iter::once(0).chain(self.ends.iter().copied());
        let runs = starts.zip(&self.ends).map(|(at, &end)| Run { file: file.clone(), at, end });
        Ok(runs.map(|run| BufReader::with_capacity(buffer_bytes, run)).collect())
    }
}

/// The rest of one run.
struct Run {
    file: Arc<File>,
    at: u64,
    end: u64,
}

impl Read for Run {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let mut file = &*self.file;
        file.seek(SeekFrom::Start(self.at))?;
        let read = file.take(self.end - self.at).read(out)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// Merges all runs, the smallest entry first.
struct Merge {
    runs: Vec<BufReader<Run>>,
    /// The next entry of every run that has one, and the run's number.
    heads: BinaryHeap<Reverse<(Entry, usize)>>,
    /// The first entry of the id read last.
    first: Option<Entry>,
}

impl Merge {
    fn of(runs: Runs) -> io::Result<Self> {
        let runs = runs.into_readers()?;
        let mut merge = Self { heads: BinaryHeap::with_capacity(runs.len()), runs, first: None };
        for run in 0..merge.runs.len() {
            merge.advance(run)?;
        }
        Ok(merge)
    }

    fn next_duplicate(&mut self) -> io::Result<Option<Duplicate>> {
        while let Some(Reverse((entry, run))) = self.heads.pop() {
            self.advance(run)?;
            match self.first {
                Some(first) if first.id == entry.id => {
                    return Ok(Some(Duplicate { row: entry.row, first_row: first.row }));
                }
                _ => self.first = Some(entry),
            }
        }
        Ok(None)
    }

    fn advance(&mut self, run: usize) -> io::Result<()> {
        let reader = &mut self.runs[run];
        if !reader.fill_buf()?.is_empty() {
            self.heads.push(Reverse((Entry::read(reader)?, run)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn duplicates(ids: &[u8], window_ids: usize) -> Vec<Duplicate> {
        let mut seen = SeenIds::with_window(window_ids);
        let mut duplicates = Vec::new();
        for (id, row) in ids.iter().zip(1..) {
            let near = seen.note(&id.to_string(), row).unwrap();
            duplicates.extend(near.map(|first_row| Duplicate { row, first_row }));
        }
        while let Some(far) = seen.next_far_duplicate().unwrap() {
            duplicates.push(far);
        }
        duplicates
    }

    #[test]
    fn a_repeat_beyond_the_window_names_the_first_row() {
        assert_eq!(duplicates(&[7, 1, 2, 7, 3, 7], 2), [Duplicate { row: 4, first_row: 1 }, Duplicate { row: 6, first_row: 1 }]);
    }

    proptest! {
        #[test]
        fn repeats_are_those_a_set_of_all_ids_finds(ids in vec(any::<u8>(), 0..400), window_ids in 1..50_usize) {
            let mut all = HashSet::new();
            let expected: HashSet<u32> = ids.iter().zip(1..).filter(|(id, _)| !all.insert(**id)).map(|(_, row)| row).collect();

            let found = duplicates(&ids, window_ids);

            prop_assert_eq!(found.len(), expected.len());
            let by_row: HashMap<_, _> = found.iter().map(|found| (found.row, found.first_row)).collect();
            prop_assert_eq!(by_row.keys().copied().collect::<HashSet<_>>(), expected);
            for (row, first_row) in by_row {
                prop_assert!(first_row < row);
                prop_assert_eq!(ids[first_row as usize - 1], ids[row as usize - 1]);
            }
        }
    }
}
