//! What a child says that is no answer: passed on to the log, within bounds, and kept for when it dies.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The end of a traceback says why.
const LAST_LINES: usize = 6;
const LONGEST_LAST_LINE: usize = 200;

/// Longer lines are cut in the log.
const LONGEST_LINE: usize = 2_000;

/// A child that says more than this is no help to who reads the log.
const LINES: u32 = 100;
const WITHIN: Duration = Duration::from_secs(1);

/// The last lines that a child has said.
#[derive(Debug, Clone, Default)]
pub(super) struct LastWords(Arc<Mutex<VecDeque<String>>>);

impl LastWords {
    fn keep(&self, line: &str) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == LAST_LINES {
            lines.pop_front();
        }
        lines.push_back(line.chars().take(LONGEST_LAST_LINE).collect());
    }

    /// In one line; empty where it has said nothing.
    pub(super) fn in_words(&self) -> String {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" | ")
    }
}

/// Where the lines of one of a child's outputs go.
#[derive(Debug)]
pub(super) struct ScorerLog {
    from: &'static str,
    last: LastWords,
    since: Instant,
    lines: u32,
}

impl ScorerLog {
    /// The log of the output called `from`.
    pub(super) fn of(from: &'static str, last: LastWords) -> ScorerLog {
        ScorerLog { from, last, since: Instant::now(), lines: 0 }
    }

    /// Logs a line.
    pub(super) fn line(&mut self, line: &[u8]) {
        let line = String::from_utf8_lossy(line);
        let line = line.trim_end();
        if line.is_empty() {
            return;
        }
        self.last.keep(line);
        if self.since.elapsed() >= WITHIN {
            self.tell_unlogged();
            (self.since, self.lines) = (Instant::now(), 0);
        }
        self.lines = self.lines.saturating_add(1);
        if self.lines <= LINES {
            let line: String = line.chars().take(LONGEST_LINE).collect();
            tracing::info!(scorer_log = line, output = self.from, "from the scorer");
        }
    }

    fn tell_unlogged(&self) {
        let unlogged = self.lines.saturating_sub(LINES);
        if unlogged > 0 {
            tracing::warn!(lines = unlogged, output = self.from, "the scorer says too much: lines were not logged");
        }
    }
}

impl Drop for ScorerLog {
    fn drop(&mut self) {
        self.tell_unlogged();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_are_the_last_few_lines_each_of_bounded_length() {
        let (last, mut words) = (LastWords::default(), Vec::new());
        let mut log = ScorerLog::of("stderr", last.clone());
        assert_eq!(last.in_words(), "");
        for number in 0..10_000 {
            log.line(format!("  line {number} {}\n", "x".repeat(3_000)).as_bytes());
            log.line(b"\n");
        }
        for number in 9_994..10_000 {
            words.push(format!("line {number} {}", "x".repeat(188)));
        }
        assert_eq!(last.in_words(), words.join(" | "));
        assert!(log.lines <= 20_000);
    }
}
