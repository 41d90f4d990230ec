//! Standard error, written by a thread of its own: whoever reads it may stand still, as a terminal does after Ctrl-S, and nobody
//! who logs, reports or draws is to wait for that.

mod queue;

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use self::queue::{Lost, Piece, Queue};

/// A reader that takes longer than this over one write (of 64 KiB, where so much waits) does not read, and what finds no room is lost.
const STALLED_AFTER: Duration = Duration::from_millis(250);

/// How long a process that ends waits for its last lines to be written, and the longest that a line waits for room.
const PATIENCE: Duration = Duration::from_secs(1);

/// Frames of a progress bar that wait at most: a later one shows the same and more.
const MOST_FRAMES: usize = 4;

static STDERR: Outlet<fn(&[u8])> = Outlet::new(write_all);

/// Takes whole lines, of logs for one.
#[derive(Debug, Clone, Copy)]
pub struct Stderr;

impl Write for Stderr {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        STDERR.write(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Draws a frame of a progress bar. It is left out where earlier ones still wait to be written.
pub fn draw(frame: Vec<u8>) {
    STDERR.draw(frame);
}

/// Waits until all that was said on standard error is written, as a process does that ends; but not for long.
pub fn flush_stderr() {
    STDERR.flush();
}

/// The same, but not at all for a reader that has stopped reading.
pub(crate) fn flush_unless_stalled() {
    if !STDERR.is_stalled() {
        STDERR.flush();
    }
}

/// From now on, what is said in place of lost lines is JSON, as the logs are.
pub(crate) fn speak_json() {
    STDERR.speaks_json.store(true, Ordering::Relaxed);
}

/// What waits for a thread that hands it to `sink`.
struct Outlet<S> {
    queue: Mutex<Queue>,
    /// Something waits.
    added: Condvar,
    /// Something has been written.
    written: Condvar,
    speaks_json: AtomicBool,
    sink: S,
}

impl<S: Fn(&[u8]) + Send + Sync> Outlet<S> {
    const fn new(sink: S) -> Outlet<S> {
        let (added, written) = (Condvar::new(), Condvar::new());
        Outlet { queue: Mutex::new(Queue::new()), added, written, speaks_json: AtomicBool::new(false), sink }
    }

    /// Queues a line; where there is no room, and none is made for a while, it is lost and counted.
    fn write(&'static self, line: Vec<u8>) {
        let Some(mut queue) = self.running() else { return (self.sink)(&line) };
        let asked = Instant::now();
        while !queue.has_room_for(line.len()) {
            let stalled_at = queue.writing_since.unwrap_or(asked) + STALLED_AFTER;
            let left = stalled_at.min(asked + PATIENCE).saturating_duration_since(Instant::now());
            if left.is_zero() {
                return queue.lose_line();
            }
            queue = self.written.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        queue.push(Piece::Line(line));
        self.added.notify_one();
    }

    fn draw(&'static self, frame: Vec<u8>) {
        let Some(mut queue) = self.running() else { return (self.sink)(&frame) };
        if queue.frames < MOST_FRAMES && queue.has_room_for(frame.len()) {
            queue.push(Piece::Frame(frame));
            self.added.notify_one();
        }
    }

    fn flush(&self) {
        let until = Instant::now() + PATIENCE;
        let mut queue = self.lock();
        let all = queue.pushed;
        while queue.is_running && queue.written < all {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            queue = self.written.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn is_stalled(&self) -> bool {
        self.lock().writing_since.is_some_and(|since| since.elapsed() > STALLED_AFTER)
    }

    /// The queue, with a thread that writes what is in it. Nothing where the system gives no thread: then whoever has a line writes it.
    fn running(&'static self) -> Option<MutexGuard<'static, Queue>> {
        let mut queue = self.lock();
        if !queue.is_running {
            let thread = thread::Builder::new().name("stderr".to_owned());
            queue.is_running = thread.spawn(move || self.write_what_comes()).is_ok();
        }
        queue.is_running.then_some(queue)
    }

    fn write_what_comes(&self) {
        loop {
            let mut queue = self.lock();
            while queue.is_empty() {
                queue = self.added.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
            let (bytes, pieces) = queue.take(|lost| self.notice(lost));
            queue.writing_since = Some(Instant::now());
            drop(queue);
            (self.sink)(&bytes);
            let mut queue = self.lock();
            queue.writing_since = None;
            queue.written += pieces;
            drop(queue);
            self.written.notify_all();
        }
    }

    /// What stands where lines are missing.
    fn notice(&self, lost: &Lost) -> String {
        if self.speaks_json.load(Ordering::Relaxed) { lost.as_json() } else { lost.as_text() }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What nobody reads any more is lost.
fn write_all(mut bytes: &[u8]) {
    let mut stderr = io::stderr();
    while !bytes.is_empty() {
        match stderr.write(bytes) {
            Ok(0) => return,
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Another process that shares it has set it so.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(Duration::from_millis(10)),
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests;
