//! The child's log output: passed on to the consumer's log up to a rate, and its end kept for the error message if the child dies.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lines kept for an error message. The end of a traceback has the reason.
const TAIL_LINES: usize = 6;
/// Characters kept of each of them.
const TAIL_LINE_CHARS: usize = 200;

/// Characters of a line that are logged.
const LOGGED_LINE_CHARS: usize = 2_000;

/// The most lines that are logged within [`RATE_WINDOW`].
const MAX_LINES: u32 = 100;
const RATE_WINDOW: Duration = Duration::from_secs(1);

/// The last lines that a child has printed.
#[derive(Debug, Clone, Default)]
pub(super) struct LogTail(Arc<Mutex<VecDeque<String>>>);

impl LogTail {
    fn push(&self, line: &str) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == TAIL_LINES {
            lines.pop_front();
        }
        lines.push_back(line.chars().take(TAIL_LINE_CHARS).collect());
    }

    /// The lines, separated by bars; empty if there are none.
    pub(super) fn on_one_line(&self) -> String {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" | ")
    }
}

/// Logs the lines of one of a child's outputs.
#[derive(Debug)]
pub(super) struct ScorerLog {
    output: &'static str,
    tail: LogTail,
    /// When the current [`RATE_WINDOW`] began, and the lines in it.
    since: Instant,
    lines: u32,
}

impl ScorerLog {
    /// The log of an output, `stdout` or `stderr`. `tail` keeps its last lines.
    pub(super) fn new(output: &'static str, tail: LogTail) -> ScorerLog {
        ScorerLog { output, tail, since: Instant::now(), lines: 0 }
    }

    pub(super) fn line(&mut self, line: &[u8]) {
        let line = String::from_utf8_lossy(line);
        let line = line.trim_end();
        if line.is_empty() {
            return;
        }
        self.tail.push(line);
        if self.since.elapsed() >= RATE_WINDOW {
            self.report_dropped();
            (self.since, self.lines) = (Instant::now(), 0);
        }
        self.lines = self.lines.saturating_add(1);
        if self.lines <= MAX_LINES {
            let line: String = line.chars().take(LOGGED_LINE_CHARS).collect();
            tracing::info!(scorer_log = line, output = self.output, "from the scorer");
        }
    }

    fn report_dropped(&self) {
        let dropped = self.lines.saturating_sub(MAX_LINES);
        if dropped > 0 {
            tracing::warn!(lines = dropped, output = self.output, "the scorer prints too many lines; some were not logged");
        }
    }
}

impl Drop for ScorerLog {
    fn drop(&mut self) {
        self.report_dropped();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_are_the_last_few_lines_each_of_bounded_length() {
        let (tail, mut lines) = (LogTail::default(), Vec::new());
        let mut log = ScorerLog::new("stderr", tail.clone());
        assert_eq!(tail.on_one_line(), "");
        for number in 0..10_000 {
            log.line(format!("  line {number} {}\n", "x".repeat(3_000)).as_bytes());
            log.line(b"\n");
        }
        for number in 9_994..10_000 {
            lines.push(format!("line {number} {}", "x".repeat(188)));
        }
        assert_eq!(tail.on_one_line(), lines.join(" | "));
        assert!(log.lines <= 20_000);
    }
}
