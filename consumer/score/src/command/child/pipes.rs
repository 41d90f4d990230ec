//! The child's pipes. Each has a thread, so that a child that neither reads nor writes blocks only that thread.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{ChildStderr, ChildStdin, ChildStdout};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};

use rustix::io::ioctl_fionread;

use super::log::ScorerLog;
use crate::command::answer;

/// The longest answer that is read, in bytes, so that a line without end does not fill the memory.
pub(super) const MAX_ANSWER_BYTES: u64 = 64 << 20;

/// The longest part of standard error that is logged as one line, in bytes.
const MAX_STDERR_LINE_BYTES: u64 = 8 << 10;

/// What the child has printed.
pub(super) enum Printed {
    /// A line that may be an answer.
    Line(Vec<u8>),
    /// A line of more than [`MAX_ANSWER_BYTES`].
    TooLong,
}

/// Writes requests to the child.
pub(super) struct Requests {
    to_write: Sender<Vec<u8>>,
    pipe: Weak<ChildStdin>,
    sent: u64,
    written: Arc<AtomicU64>,
}

impl Requests {
    /// Starts a thread that writes to `stdin`, and closes it once this is dropped.
    pub(super) fn new(stdin: ChildStdin) -> Requests {
        let (to_write, requests) = channel::<Vec<u8>>();
        let stdin = Arc::new(stdin);
        let pipe = Arc::downgrade(&stdin);
        let written = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&written);
        thread::spawn(move || {
            for request in requests {
                // A failure means that the child has ended, which the thread that reads its output reports. The pipe stays open, since
                // `were_read` asks it.
                if (&*stdin).write_all(&request).is_ok() {
                    count.fetch_add(1, Ordering::Release);
                }
            }
        });
        Requests { to_write, pipe, sent: 0, written }
    }

    pub(super) fn send(&mut self, request: Vec<u8>) {
        self.sent += 1;
        // The thread receives as long as this exists.
        self.to_write.send(request).unwrap_or(());
    }

    /// Whether the child has read all requests to the last byte. True if the operating system does not know.
    pub(super) fn were_read(&self) -> bool {
        let unread = self.pipe.upgrade().and_then(|pipe| ioctl_fionread(&*pipe).ok());
        self.written.load(Ordering::Acquire) == self.sent && unread.unwrap_or(0) == 0
    }
}

/// Starts a thread that reads the child's standard output, and logs lines that cannot be answers.
pub(super) fn read_stdout(stdout: ChildStdout, log: ScorerLog) -> Receiver<Printed> {
    let (printed, lines) = sync_channel(1);
    thread::spawn(move || pass_on(stdout, &printed, log));
    lines
}

fn pass_on(stdout: ChildStdout, printed: &SyncSender<Printed>, mut log: ScorerLog) {
    let mut stdout = BufReader::new(stdout);
    loop {
        let mut line = Vec::new();
        let Ok(read) = (&mut stdout).take(MAX_ANSWER_BYTES).read_until(b'\n', &mut line) else { return };
        let found = match line.last() {
            None => return,
            Some(b'\n') if answer::may_be_answer(&line) => Printed::Line(line),
            Some(_) if read as u64 == MAX_ANSWER_BYTES => Printed::TooLong,
            // Log output, or a line that the child's end has cut off, which is no answer.
            Some(_) => {
                log.line(&line);
                continue;
            }
        };
        if printed.send(found).is_err() {
            return;
        }
    }
}

/// Starts a thread that logs the child's standard error, until no process has it open.
pub(super) fn log_stderr(stderr: ChildStderr, mut log: ScorerLog) -> JoinHandle<()> {
    let mut stderr = BufReader::new(stderr);
    thread::spawn(move || {
        loop {
            let mut line = Vec::new();
            match (&mut stderr).take(MAX_STDERR_LINE_BYTES).read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => return,
                Ok(_) => log.line(&line),
            }
        }
    })
}
