//! Log lines on their way to standard error, written by a thread of their own: whoever reads standard error may stand still, as a
//! terminal does after Ctrl-S, and nobody who logs is to wait for that.

use std::io::{self, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// Lines that wait at most; what comes beyond them is lost, and counted.
const MOST_LINES: usize = 4_096;

/// How long a process that ends waits for its last lines to be written.
const PATIENCE: Duration = Duration::from_secs(1);

static LINES: OnceLock<SyncSender<Line>> = OnceLock::new();
static LOST: AtomicU64 = AtomicU64::new(0);

enum Line {
    Text(Vec<u8>),
    /// Everything before this is written: say so.
    Flush(SyncSender<()>),
}

/// Takes whole lines.
#[derive(Clone)]
pub(super) struct Lines(SyncSender<Line>);

impl Lines {
    /// The way to standard error, which all who log share.
    pub(super) fn to_stderr() -> Lines {
        Lines(LINES.get_or_init(start).clone())
    }
}

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.0.try_send(Line::Text(line.to_vec())).is_err() {
            LOST.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Waits until what has been logged is written, as a process does that ends; but not for long.
pub fn flush_logs() {
    let Some(lines) = LINES.get() else { return };
    let (written, all_written) = sync_channel(1);
    let until = Instant::now() + PATIENCE;
    let mut flush = Line::Flush(written);
    while let Err(TrySendError::Full(back)) = lines.try_send(flush) {
        if Instant::now() > until {
            return;
        }
        flush = back;
        thread::sleep(Duration::from_millis(10));
    }
    all_written.recv_timeout(until.saturating_duration_since(Instant::now())).unwrap_or_default();
}

fn start() -> SyncSender<Line> {
    let (to, lines) = sync_channel(MOST_LINES);
    // Without a thread there are no logs: every line counts as lost, and nothing else changes.
    drop(thread::Builder::new().name("logs".to_owned()).spawn(move || write(&lines)));
    to
}

fn write(lines: &Receiver<Line>) {
    for line in lines {
        let lost = LOST.swap(0, Ordering::Relaxed);
        let mut stderr = io::stderr();
        if lost > 0 {
            drop(writeln!(stderr, "{lost} log lines were lost here: standard error was not read"));
        }
        match line {
            Line::Text(text) => drop(stderr.write_all(&text)),
            Line::Flush(written) => drop(written.send(())),
        }
    }
}
