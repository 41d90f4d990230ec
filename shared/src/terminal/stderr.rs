//! Standard error, written by a thread of its own: its reader may stop reading, as a terminal does after Ctrl-S, and no thread that logs or
//! draws must wait for it.

mod queue;

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use self::queue::{Lost, Piece, Queue};

/// A write (of at most 64 KiB) that takes longer than this has a reader that does not read: lines that do not fit into the queue are dropped.
const STALLED_AFTER: Duration = Duration::from_millis(250);

/// How long a process that ends waits for its last lines to be written, and how long a line waits for room in the queue, at most.
const PATIENCE: Duration = Duration::from_secs(1);

/// Queued frames of a progress bar, at most: a later one replaces them.
const MOST_FRAMES: usize = 4;

static STDERR: Outlet<fn(&[u8])> = Outlet::new(write_all);

/// A writer to standard error; each write must be one or several whole lines.
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

/// Draws a frame of a progress bar. It is dropped if earlier ones still wait to be written.
pub fn draw(frame: Vec<u8>) {
    STDERR.draw(frame);
}

/// Waits until all that was queued for standard error is written, but at most a second.
pub fn flush_stderr() {
    STDERR.flush();
}

/// The same, but does not wait for a reader that has stopped reading.
pub(crate) fn flush_unless_stalled() {
    if !STDERR.is_stalled() {
        STDERR.flush();
    }
}

/// From now on, the notice in place of dropped lines is JSON, as the logs are.
pub(crate) fn use_json_notices() {
    STDERR.json_notices.store(true, Ordering::Relaxed);
}

/// A queue, and a thread that writes it to `sink`.
struct Outlet<S> {
    queue: Mutex<Queue>,
    /// Something was queued.
    added: Condvar,
    /// Something was written.
    written: Condvar,
    json_notices: AtomicBool,
    sink: S,
}

impl<S: Fn(&[u8]) + Send + Sync> Outlet<S> {
    const fn new(sink: S) -> Outlet<S> {
        let (added, written) = (Condvar::new(), Condvar::new());
        Outlet { queue: Mutex::new(Queue::new()), added, written, json_notices: AtomicBool::new(false), sink }
    }

    /// Queues a line; if there is no room for a while, drops and counts it.
    fn write(&'static self, line: Vec<u8>) {
        let Some(mut queue) = self.running() else { return (self.sink)(&line) };
        let asked = Instant::now();
        while !queue.has_room_for(line.len()) {
            let stalled_at = queue.writing_since.unwrap_or(asked) + STALLED_AFTER;
            let left = stalled_at.min(asked + PATIENCE).saturating_duration_since(Instant::now());
            if left.is_zero() {
                return queue.drop_line();
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

    /// The queue, with its thread started; `None` if the system cannot start one, and the caller must write by itself.
    fn running(&'static self) -> Option<MutexGuard<'static, Queue>> {
        let mut queue = self.lock();
        if !queue.is_running {
            let thread = thread::Builder::new().name("stderr".to_owned());
            queue.is_running = thread.spawn(move || self.write_queue()).is_ok();
        }
        queue.is_running.then_some(queue)
    }

    fn write_queue(&self) {
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

    /// The text in place of dropped lines.
    fn notice(&self, lost: &Lost) -> String {
        if self.json_notices.load(Ordering::Relaxed) { lost.as_json() } else { lost.as_text() }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes all bytes; gives up on an error, which means that nothing reads them.
fn write_all(mut bytes: &[u8]) {
    let mut stderr = io::stderr();
    while !bytes.is_empty() {
        match stderr.write(bytes) {
            Ok(0) => return,
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Another process that shares standard error has made it non-blocking.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(Duration::from_millis(10)),
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests;
