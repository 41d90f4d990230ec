//! Reads an object in any order, as Parquet is read: the footer first, then pages of one column and of the next in turn.
//!
//! A reader of Parquet asks for each page by itself, and a request takes longer than a page. So more of a column is read ahead, and the
//! next columns with it, within one budget for all.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::iter;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::download::{ObjectBytes, OpenObject};
use super::error::ObjectError;
use super::request::Span;

/// What is held of an object at most, unless a single page is larger.
const BUDGET_BYTES: u64 = 32 << 20;

/// Columns that are read ahead at the same time: a server takes long to answer, and answers several at once.
const AT_ONCE: usize = 8;

/// Read ahead of a column: at least this much, since a request costs as much as to read it; at most that, which few columns need.
const LEAST_AHEAD: u64 = 64 << 10;
const MOST_AHEAD: u64 = 4 << 20;

/// Read together at the end of an object, where Parquet has its footer.
const TAIL_BYTES: u64 = 256 << 10;

/// An object that can be read in any order; clones share what has been read.
#[derive(Clone)]
pub(crate) struct ObjectRanges {
    object: OpenObject,
    size: u64,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    plan: Plan,
    held: Held,
    /// The error that ended reading: a reader of Parquet keeps only the text of errors.
    error: Option<ObjectError>,
}

impl State {
    /// What is held from `start` on.
    fn held(&mut self, start: u64) -> Option<Bytes> {
        self.plan.note(start);
        self.held.from(start)
    }
}

impl ObjectRanges {
    /// `None` if its server does not give parts of it.
    pub(crate) fn of(object: OpenObject) -> Option<ObjectRanges> {
        let size = object.size().filter(|_| object.is_seekable())?;
        Some(ObjectRanges { object, size, state: Arc::default() })
    }

    /// Its size in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Says where the columns will be read that are read in turn, each from its beginning to its end: in each of these groups.
    pub(crate) fn plan(&self, groups: &[Vec<Range<u64>>]) {
        self.with_state(|state| state.plan = Plan::of(groups));
    }

    /// The error that ended reading, if one did.
    pub(crate) fn error(&self) -> Option<ObjectError> {
        self.with_state(|state| state.error.clone())
    }

    /// A reader from `start` on.
    pub(crate) fn reader(&self, start: u64) -> RangeReader {
        RangeReader { ranges: self.clone(), position: start }
    }

    /// Reads a part from its beginning to its end.
    pub(crate) fn stream(&self, part: &Range<u64>) -> ObjectBytes {
        self.object.read_ahead(Span { start: part.start, end: Some(part.end) }, None)
    }

    /// Some bytes from `start` on, at least one.
    fn some(&self, start: u64, wanted: u64) -> io::Result<Bytes> {
        if let Some(held) = self.with_state(|state| state.held(start)) {
            return Ok(held);
        }
        let ranges = self.with_state(|state| state.plan.next_reads(start, wanted, self.size));
        let parts = self.object.read(&ranges).inspect_err(|error| self.note(error))?;
        self.with_state(|state| {
            // The one that is asked for comes last, and so is dropped last.
            for (range, bytes) in ranges.iter().zip(parts).rev() {
                state.held.keep(range.start, bytes);
            }
            state.held(start)
        })
        .ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    fn note(&self, error: &io::Error) {
        let error = error.get_ref().and_then(|error| error.downcast_ref::<ObjectError>()).cloned();
        self.with_state(|state| state.error = error);
    }

    fn with_state<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        // A thread that panicked, in the reader of Parquet, held no lock in the middle of a change.
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Reads an object from one place on.
pub(crate) struct RangeReader {
    ranges: ObjectRanges,
    position: u64,
}

impl Read for RangeReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() || self.position >= self.ranges.size {
            return Ok(0);
        }
        let bytes = self.ranges.some(self.position, out.len() as u64)?;
        let read = bytes.len().min(out.len());
        out[..read].copy_from_slice(&bytes[..read]);
        self.position += read as u64;
        Ok(read)
    }
}

/// What will be read, and how much of it ahead.
#[derive(Default)]
struct Plan {
    /// By their place in the object.
    lanes: Vec<Lane>,
    ahead: u64,
}

/// A column of a group, or small ones that adjoin, read from the beginning to the end.
#[derive(Debug)]
struct Lane {
    /// Lanes of the same group are read in turn.
    group: usize,
    range: Range<u64>,
    /// The furthest place that was asked for, and the end of what was read.
    asked: u64,
    read: u64,
}

impl Plan {
    fn of(groups: &[Vec<Range<u64>>]) -> Plan {
        let columns = groups.iter().map(Vec::len).max().unwrap_or_default();
        let ahead = (BUDGET_BYTES / (columns + AT_ONCE) as u64).clamp(LEAST_AHEAD, MOST_AHEAD);
        let mut lanes: Vec<Lane> = Vec::new();
        for (group, columns) in groups.iter().enumerate() {
            let mut columns = columns.clone();
            columns.sort_unstable_by_key(|column| column.start);
            for range in columns {
                match lanes.last_mut().filter(|last| last.group == group && last.range.end == range.start) {
                    Some(last) if range.end - last.range.start <= ahead => last.range.end = range.end,
                    _ => lanes.push(Lane { group, asked: range.start, read: range.start, range }),
                }
            }
        }
        lanes.sort_by_key(|lane| lane.range.start);
        Plan { lanes, ahead }
    }

    /// The lane that a place is in.
    fn lane_at(&self, place: u64) -> Option<usize> {
        let at = self.lanes.partition_point(|lane| lane.range.start <= place).checked_sub(1)?;
        self.lanes[at].range.contains(&place).then_some(at)
    }

    /// A place is asked for.
    fn note(&mut self, place: u64) {
        if let Some(at) = self.lane_at(place) {
            self.lanes[at].asked = self.lanes[at].asked.max(place);
        }
    }

    /// The ranges to read when `wanted` bytes from `start` on are asked for and not held; the first has them.
    fn next_reads(&mut self, start: u64, wanted: u64, size: u64) -> Vec<Range<u64>> {
        let Some(first) = self.lane_at(start) else {
            let tail = size.saturating_sub(TAIL_BYTES);
            let range = if start >= tail { tail..size } else { start..size.min(start + wanted.max(LEAST_AHEAD)) };
            return iter::once(range).collect();
        };
        let ahead = self.ahead;
        let lane = &mut self.lanes[first];
        lane.read = lane.range.end.min(start + ahead.max(wanted)).min(size);
        let (group, mut ranges) = (lane.group, Vec::with_capacity(AT_ONCE));
        ranges.push(start..lane.read);
        for next in self.lanes[first + 1..].iter_mut().take_while(|lane| lane.group == group).take(AT_ONCE - 1) {
            // What is held of it is nearly used up.
            if next.read < next.range.end.min(size) && next.asked + ahead / 4 >= next.read {
                let from = next.read;
                next.read = next.range.end.min(from + ahead).min(size);
                ranges.push(from..next.read);
            }
        }
        ranges
    }
}

/// Parts that have been read, the one that was used last at the back.
#[derive(Default)]
struct Held {
    parts: VecDeque<(u64, Bytes)>,
}

impl Held {
    /// What is held from `start` on.
    fn from(&mut self, start: u64) -> Option<Bytes> {
        let holds = |(first, bytes): &(u64, Bytes)| (*first..first + bytes.len() as u64).contains(&start);
        let at = self.parts.iter().rposition(holds)?;
        let (first, bytes) = self.parts.remove(at)?;
        let found = bytes.slice(usize::try_from(start - first).ok()?..);
        self.parts.push_back((first, bytes));
        Some(found)
    }

    fn keep(&mut self, start: u64, bytes: Bytes) {
        self.parts.push_back((start, bytes));
        while self.parts.len() > 1 && self.parts.iter().map(|(_, bytes)| bytes.len() as u64).sum::<u64>() > BUDGET_BYTES {
            self.parts.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u64 = 1 << 40;

    /// Two groups of `columns` columns of so many bytes each, one after the other.
    fn groups(columns: u64, bytes: u64) -> Vec<Vec<Range<u64>>> {
        let column = |group: u64, column: u64| (group * columns + column) * bytes..(group * columns + column + 1) * bytes;
        (0..2).map(|group| (0..columns).map(|at| column(group, at)).collect()).collect()
    }

    fn only(range: Range<u64>) -> Vec<Range<u64>> {
        iter::once(range).collect()
    }

    #[test]
    fn a_column_is_read_ahead_and_the_next_ones_with_it() {
        let mut plan = Plan::of(&groups(3, 10_000_000));
        let ahead = BUDGET_BYTES / 11;
        let first = |column: u64| column * 10_000_000..column * 10_000_000 + ahead;
        assert_eq!(plan.next_reads(0, 8, SIZE), [first(0), first(1), first(2)], "and nothing of the next group");
        // While much is held of the next column, only the first is read on.
        plan.note(10_000_000);
        assert_eq!(plan.next_reads(ahead, 8, SIZE), only(ahead..2 * ahead));
        plan.note(10_000_000 + ahead - 1);
        plan.note(20_000_000 + ahead - 1);
        let second = |column: u64| column * 10_000_000 + ahead..column * 10_000_000 + 2 * ahead;
        assert_eq!(plan.next_reads(second(1).start, 8, SIZE), [second(1), second(2)]);
        assert_eq!(
            plan.next_reads(25_000_000, 6_000_000, SIZE)[0],
            25_000_000..30_000_000,
            "a large page, but nothing behind its column"
        );
    }

    #[test]
    fn small_columns_that_adjoin_are_read_together_and_those_between_are_not() {
        let mut columns = groups(300, 1_000);
        assert_eq!(Plan::of(&columns).next_reads(0, 8, SIZE)[0], 0..108_000);
        columns[0].remove(5);
        assert_eq!(Plan::of(&columns).next_reads(0, 8, SIZE)[..2], [0..5_000, 6_000..114_000]);
        assert_eq!(Plan::of(&columns).next_reads(5_500, 8, SIZE), only(5_500..5_500 + LEAST_AHEAD));
    }

    #[test]
    fn the_footer_is_read_at_once_and_a_small_object_whole() {
        let mut plan = Plan::default();
        assert_eq!(plan.next_reads(SIZE - 8, 8, SIZE), only(SIZE - TAIL_BYTES..SIZE));
        assert_eq!(plan.next_reads(0, 4, 10), only(0..10));
    }

    #[test]
    fn many_columns_share_one_budget() {
        let ahead = [1, 24, 300, 100_000].map(|columns| Plan::of(&groups(columns, 1)).ahead);
        assert_eq!(ahead, [BUDGET_BYTES / 9, 1 << 20, BUDGET_BYTES / 308, LEAST_AHEAD]);
    }

    #[test]
    fn what_was_read_is_held_until_the_budget_is_used_up() {
        let mut held = Held::default();
        let part = |bytes: u64| Bytes::from(vec![0; usize::try_from(bytes).unwrap()]);
        held.keep(0, part(BUDGET_BYTES / 2));
        held.keep(1 << 40, part(BUDGET_BYTES / 2));
        assert_eq!(held.from(10).map(|bytes| bytes.len() as u64), Some(BUDGET_BYTES / 2 - 10));
        held.keep(2 << 40, part(1));
        assert!(held.from(1 << 40).is_none(), "the one that was used longest ago goes");
        assert!(held.from(0).is_some() && held.from(2 << 40).is_some() && held.from((2 << 40) + 1).is_none());
        held.keep(3 << 40, part(2 * BUDGET_BYTES));
        assert!(held.from(3 << 40).is_some(), "a page may be larger than the budget");
    }
}
