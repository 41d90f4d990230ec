//! The queue of lines to be written, with the number of lines that were dropped.

use std::collections::VecDeque;
use std::time::Instant;

use serde_json::json;

use crate::message::Timestamp;

/// Queued bytes, at most.
pub(super) const MOST_BYTES: usize = 1 << 20;

/// Bytes written at once, at most: what a pipe holds.
const BYTES_AT_ONCE: usize = 1 << 16;

/// An entry of the queue.
#[derive(Debug)]
pub(super) enum Piece {
    /// A line, or several.
    Line(Vec<u8>),
    /// A frame of a progress bar.
    Frame(Vec<u8>),
    /// In place of dropped lines.
    Lost(Lost),
}

/// Lines that were dropped.
#[derive(Debug)]
pub(super) struct Lost {
    lines: u64,
    since: Timestamp,
}

/// What is queued, and how far it is written.
#[derive(Debug)]
pub(super) struct Queue {
    pieces: VecDeque<Piece>,
    bytes: usize,
    /// Frames among the pieces.
    pub frames: usize,
    /// Pieces ever queued, and those of them that are written.
    pub pushed: u64,
    pub written: u64,
    /// Whether the thread was started.
    pub is_running: bool,
    /// When the present write began; `None` if there is none.
    pub writing_since: Option<Instant>,
}

impl Queue {
    pub const fn new() -> Queue {
        let pieces = VecDeque::new();
        Queue { pieces, bytes: 0, frames: 0, pushed: 0, written: 0, is_running: false, writing_since: None }
    }

    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Whether so many more bytes fit. A line of any size fits into an empty queue.
    pub fn has_room_for(&self, bytes: usize) -> bool {
        self.bytes == 0 || self.bytes + bytes <= MOST_BYTES
    }

    pub fn push(&mut self, piece: Piece) {
        self.bytes += piece.len();
        self.frames += usize::from(matches!(piece, Piece::Frame(_)));
        self.pushed += 1;
        self.pieces.push_back(piece);
    }

    /// Records that a line was dropped here.
    pub fn drop_line(&mut self) {
        match self.pieces.back_mut() {
            Some(Piece::Lost(lost)) => lost.lines += 1,
            _ => self.push(Piece::Lost(Lost { lines: 1, since: Timestamp::now() })),
        }
    }

    /// Takes the next bytes to write, and how many pieces they are. A `notice` is in the place of dropped lines.
    pub fn take(&mut self, notice: impl Fn(&Lost) -> String) -> (Vec<u8>, u64) {
        let (mut bytes, mut taken) = (Vec::new(), 0);
        while self.pieces.front().is_some_and(|piece| taken == 0 || bytes.len() + piece.len() <= BYTES_AT_ONCE)
            && let Some(piece) = self.pieces.pop_front()
        {
            self.bytes -= piece.len();
            taken += 1;
            match piece {
                Piece::Line(line) => bytes.extend(line),
                Piece::Frame(frame) => {
                    self.frames -= 1;
                    bytes.extend(frame);
                }
                Piece::Lost(lost) => bytes.extend(notice(&lost).into_bytes()),
            }
        }
        (bytes, taken)
    }
}

impl Piece {
    fn len(&self) -> usize {
        match self {
            Piece::Line(bytes) | Piece::Frame(bytes) => bytes.len(),
            Piece::Lost(_) => 0,
        }
    }
}

const MESSAGE: &str = "lines are missing here: they were logged faster than written";

impl Lost {
    /// A line for people.
    pub fn as_text(&self) -> String {
        format!("{}  WARN {MESSAGE} event=\"log_lines_lost\" lines={}\n", self.since, self.lines)
    }

    /// A line in the form of JSON logs.
    pub fn as_json(&self) -> String {
        let (event, lines) = ("log_lines_lost", self.lines);
        format!("{}\n", json!({ "timestamp": self.since, "level": "WARN", "event": event, "lines": lines, "message": MESSAGE }))
    }
}
