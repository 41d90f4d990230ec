//! How far a file has been read. One thread reads and counts; others show it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use indicatif::HumanCount;

/// Counts what has been read of one file.
#[derive(Debug, Default)]
pub struct Progress {
    /// The size in bytes, if it is a regular file.
    size: Option<u64>,
    bytes: AtomicU64,
    rows: AtomicU64,
    blank_rows: AtomicU64,
    whole_ids: AtomicU64,
    /// Whether some company has its index as id.
    index_as_id: AtomicBool,
    /// The number of rows, if the file states it.
    total_rows: OnceLock<u64>,
}

impl Progress {
    /// For a file of `size` bytes, if that is known.
    pub(super) fn of(size: Option<u64>) -> Progress {
        Progress { size, ..Progress::default() }
    }

    /// How many rows have no value at all; they are skipped.
    pub fn blank_rows(&self) -> u64 {
        self.blank_rows.load(Ordering::Relaxed)
    }

    /// How many ids are written as `70.0`, or stored as floats, and were read as whole numbers.
    pub fn whole_ids(&self) -> u64 {
        self.whole_ids.load(Ordering::Relaxed)
    }

    /// How many rows the file has: as it states, or else estimated by the bytes that the rows so far have taken. `None` before the
    /// first row, and if the size of the file is not known.
    pub fn estimated_rows(&self) -> Option<u64> {
        if let Some(&total) = self.total_rows.get() {
            return Some(total);
        }
        let (rows, bytes) = (self.rows.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed));
        let size = self.size.filter(|_| rows > 0)?;
        let estimate = u128::from(rows) * u128::from(size) / u128::from(bytes.clamp(1, size.max(1)));
        u64::try_from(estimate).ok()
    }

    /// Notes on values that were read differently from how they are written.
    pub fn remarks(&self) -> Vec<String> {
        let (blank, whole) = (self.blank_rows(), self.whole_ids());
        let skipped = match self.index_as_id.load(Ordering::Relaxed) {
            true => "which are skipped, and not counted by the index, which serves as id",
            false => "which are skipped",
        };
        let blank = (blank > 0).then(|| format!("rows without any value, {skipped}: {}", HumanCount(blank)));
        let whole = (whole > 0)
            .then(|| format!("ids written with .0, which are taken for whole numbers (70.0 for 70): {}", HumanCount(whole)));
        blank.into_iter().chain(whole).collect()
    }

    /// The size of the file when it was opened, if fewer bytes have been read of it.
    pub(super) fn size_if_incomplete(&self) -> Option<u64> {
        self.size.filter(|&size| self.bytes.load(Ordering::Relaxed) < size)
    }

    pub(crate) fn set_total_rows(&self, total: u64) {
        // Called once, when the file is opened.
        self.total_rows.get_or_init(|| total);
    }

    /// How many bytes of the file have been read.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(super) fn add_bytes(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn add_row(&self) {
        self.rows.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn add_whole_id(&self) {
        self.whole_ids.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn note_index_as_id(&self) {
        self.index_as_id.store(true, Ordering::Relaxed);
    }

    pub(crate) fn add_blank_row(&self) {
        self.blank_rows.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_rows_is_estimated_by_the_bytes_that_some_have_taken() {
        let progress = Progress::of(Some(1_000));
        assert_eq!(progress.estimated_rows(), None);
        progress.add_bytes(250);
        (0..10).for_each(|_| progress.add_row());
        assert_eq!(progress.estimated_rows(), Some(40));
        // The file has grown meanwhile.
        progress.add_bytes(2_000);
        assert_eq!(progress.estimated_rows(), Some(10));
        progress.set_total_rows(77);
        assert_eq!(progress.estimated_rows(), Some(77));
        let pipe = Progress::of(None);
        pipe.add_row();
        assert_eq!(pipe.estimated_rows(), None);
    }
}
