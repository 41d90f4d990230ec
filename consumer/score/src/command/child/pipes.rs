//! The child's pipes. Each has a thread, so that a child that neither reads nor writes blocks nobody.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{self, ChildStdin, ChildStdout};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Weak};
use std::thread;

use rustix::io::ioctl_fionread;

use super::log::ScorerLog;
use crate::command::answer;

/// An answer longer than this is taken for nonsense before it fills the memory.
pub(super) const LONGEST_ANSWER: u64 = 64 << 20;

/// What the child has printed.
pub(super) enum Printed {
    /// A line that may be an answer.
    Line(Vec<u8>),
    /// A line that does not end.
    TooLong,
}

/// The way to the child.
pub(super) struct Requests {
    to_write: Sender<Vec<u8>>,
    pipe: Weak<ChildStdin>,
    sent: u64,
    written: Arc<AtomicU64>,
}

impl Requests {
    /// Begins to write to `stdin`; dropped, it lets the child see the end of its input.
    pub(super) fn to(stdin: ChildStdin) -> Requests {
        let (to_write, requests) = channel::<Vec<u8>>();
        let stdin = Arc::new(stdin);
        let pipe = Arc::downgrade(&stdin);
        let written = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&written);
        thread::spawn(move || {
            for request in requests {
                // A child that is gone is noticed elsewhere. The pipe stays open, to tell what it has read.
                if (&*stdin).write_all(&request).is_ok() {
                    count.fetch_add(1, Ordering::Release);
                }
            }
        });
        Requests { to_write, pipe, sent: 0, written }
    }

    /// Sends a request.
    pub(super) fn send(&mut self, request: Vec<u8>) {
        self.sent += 1;
        // Its thread lives as long as this.
        self.to_write.send(request).unwrap_or(());
    }

    /// Whether the child has read all that was sent to it, to the last byte. Where the system does not tell, it counts as read.
    pub(super) fn were_read(&self) -> bool {
        let unread = self.pipe.upgrade().and_then(|pipe| ioctl_fionread(&*pipe).ok());
        self.written.load(Ordering::Acquire) == self.sent && unread.unwrap_or(0) == 0
    }
}

/// Begins to read what the child prints. Lines that can be no answer are logged at once.
pub(super) fn read(stdout: ChildStdout, log: ScorerLog) -> Receiver<Printed> {
    let (printed, lines) = sync_channel(1);
    thread::spawn(move || pass_on(stdout, &printed, log));
    lines
}

fn pass_on(stdout: ChildStdout, printed: &SyncSender<Printed>, mut log: ScorerLog) {
    let mut stdout = BufReader::new(stdout);
    loop {
        let mut line = Vec::new();
        let Ok(read) = (&mut stdout).take(LONGEST_ANSWER).read_until(b'\n', &mut line) else { return };
        let found = match line.last() {
            // What is cut in the middle by the child's end is no answer.
            None => return,
            Some(b'\n') if answer::may_be_answer(&line) => Printed::Line(line),
            Some(_) if read as u64 == LONGEST_ANSWER => Printed::TooLong,
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

/// Begins to log what the child writes to standard error; ends when nobody can write to it any more.
pub(super) fn log(stderr: process::ChildStderr, mut log: ScorerLog) -> thread::JoinHandle<()> {
    /// A line that is longer is logged in parts.
    const LONGEST_PART: u64 = 8 << 10;
    let mut stderr = BufReader::new(stderr);
    thread::spawn(move || {
        loop {
            let mut line = Vec::new();
            match (&mut stderr).take(LONGEST_PART).read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => return,
                Ok(_) => log.line(&line),
            }
        }
    })
}
