//! The child process and its pipes. Each pipe has a thread, so that a child that neither reads nor writes blocks nobody.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{self, ChildStderr, ChildStdin, ChildStdout, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use super::launch::{self, Launcher};

/// An answer longer than this is taken for nonsense before it fills the memory.
const LONGEST_ANSWER: u64 = 64 << 20;

/// How often a wait looks up to see whether it has been abandoned.
const LOOK_UP: Duration = Duration::from_millis(50);

/// A wait for [`LOOK_UP`] that took longer than this is a process that was stopped, and not a scorer that is slow.
const LONGEST_LOOK: Duration = Duration::from_secs(1);

/// What went wrong with a child.
#[derive(Debug, thiserror::Error)]
pub(super) enum ChildError {
    #[error("the scorer died: {0}")]
    Died(String),
    #[error("the scorer did not answer within {}", humantime::format_duration(*.0))]
    TimedOut(Duration),
    #[error("the scorer's answer is longer than {} MiB", LONGEST_ANSWER >> 20)]
    TooLong,
    #[error("the scorer's answer is not UTF-8")]
    NotText,
    #[error("the consumer is stopping")]
    Abandoned,
}

/// A running child; dropping it kills it, and whatever it has started.
pub(super) struct Child {
    process: process::Child,
    /// Dropped to let the child see the end of its input.
    requests: Option<Sender<Vec<u8>>>,
    answers: Receiver<io::Result<String>>,
    last_words: Arc<Mutex<String>>,
    /// Ends when nobody can write to its standard error any more.
    log: Option<JoinHandle<()>>,
}

impl Child {
    /// Starts `words[0]` with the arguments after it, in a process group of its own: Ctrl-C at the terminal is for the
    /// consumer, which then lets the child finish.
    pub(super) fn start(words: &[String], launcher: Option<Launcher>) -> io::Result<Child> {
        let mut command = launch::command(words, launcher)?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut process = launch::spawn(command)?;
        let (requests, to_write) = channel();
        let (read, answers) = sync_channel(1);
        let last_words = Arc::default();
        if let Some(stdin) = process.stdin.take() {
            thread::spawn(move || write_requests(stdin, &to_write));
        }
        if let Some(stdout) = process.stdout.take() {
            thread::spawn(move || read_answers(stdout, &read));
        }
        let log = process.stderr.take().map(|stderr| {
            let last_words = Arc::clone(&last_words);
            thread::spawn(move || pass_on_log(stderr, &last_words))
        });
        Ok(Child { process, requests: Some(requests), answers, last_words, log })
    }

    /// Sends a line and waits for the line that answers it.
    pub(super) fn ask(&mut self, request: Vec<u8>, timeout: Duration, abandon: &AtomicBool) -> Result<String, ChildError> {
        let mut left = timeout;
        if self.requests.as_ref().is_none_or(|requests| requests.send(request).is_err()) {
            return Err(self.died());
        }
        loop {
            let looked = Instant::now();
            let answer = self.answers.recv_timeout(left.min(LOOK_UP));
            // Where the consumer itself was stopped and goes on, its child may have been stopped too.
            left = left.saturating_sub(looked.elapsed().min(LONGEST_LOOK));
            match answer {
                Ok(Ok(line)) => return Ok(line),
                Ok(Err(error)) if error.kind() == io::ErrorKind::FileTooLarge => return Err(ChildError::TooLong),
                Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => return Err(ChildError::NotText),
                Ok(Err(_)) | Err(RecvTimeoutError::Disconnected) => return Err(self.died()),
                Err(RecvTimeoutError::Timeout) if abandon.load(Ordering::Relaxed) => return Err(ChildError::Abandoned),
                Err(RecvTimeoutError::Timeout) if left.is_zero() => return Err(ChildError::TimedOut(timeout)),
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    fn died(&mut self) -> ChildError {
        self.kill();
        let how = match self.process.wait() {
            Ok(status) => match status.signal() {
                Some(signal) => format!("killed by signal {signal}"),
                None => format!("exit code {}", status.code().unwrap_or_default()),
            },
            Err(error) => error.to_string(),
        };
        self.hear_out();
        let last_words = self.last_words.lock().unwrap_or_else(PoisonError::into_inner);
        ChildError::Died(if last_words.is_empty() { how } else { format!("{how}; its last words: {last_words}") })
    }

    /// Waits until its last words have been read, but not for somebody else who keeps its standard error open.
    fn hear_out(&self) {
        for _ in 0..10 {
            if self.log.as_ref().is_none_or(JoinHandle::is_finished) {
                return;
            }
            thread::sleep(LOOK_UP / 10);
        }
    }

    fn kill(&mut self) {
        // A child whose input ends, or that has closed its output, is about to exit: let it, before it is helped.
        self.requests = None;
        for _ in 0..4 {
            if matches!(self.process.try_wait(), Ok(Some(_))) {
                break;
            }
            thread::sleep(LOOK_UP);
        }
        let group = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw);
        if let Some(Err(error)) = group.map(|group| kill_process_group(group, Signal::KILL)) {
            tracing::debug!(%error, "nobody of the scorer's group is left to kill");
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
        if let Err(error) = self.process.wait() {
            tracing::debug!(%error, "waiting for the scorer's end");
        }
    }
}

/// Waits before a child is started again, the longer the more have died in a row.
pub(super) fn pause(deaths: u32, abandon: &AtomicBool) {
    const FIRST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(5);
    let pause = FIRST.saturating_mul(1 << deaths.saturating_sub(1).min(6)).min(LONGEST);
    let until = Instant::now() + pause;
    while Instant::now() < until && !abandon.load(Ordering::Relaxed) {
        thread::sleep(LOOK_UP.min(until.saturating_duration_since(Instant::now())));
    }
}

fn write_requests(mut stdin: ChildStdin, requests: &Receiver<Vec<u8>>) {
    for request in requests {
        if stdin.write_all(&request).and_then(|()| stdin.flush()).is_err() {
            return;
        }
    }
}

fn read_answers(stdout: ChildStdout, answers: &SyncSender<io::Result<String>>) {
    let mut stdout = BufReader::new(stdout);
    loop {
        let mut line = String::new();
        let read = match (&mut stdout).take(LONGEST_ANSWER).read_line(&mut line) {
            Ok(0) => return,
            Ok(_) if line.ends_with('\n') => Ok(line),
            Ok(read) if read as u64 == LONGEST_ANSWER => Err(io::ErrorKind::FileTooLarge.into()),
            Ok(_) => return,
            Err(error) => Err(error),
        };
        let failed = read.is_err();
        if answers.send(read).is_err() || failed {
            return;
        }
    }
}

fn pass_on_log(stderr: ChildStderr, last_words: &Mutex<String>) {
    const LONGEST_LINE: u64 = 8 << 10;
    let mut stderr = BufReader::new(stderr);
    loop {
        let mut line = Vec::new();
        match (&mut stderr).take(LONGEST_LINE).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_end();
        if !line.is_empty() {
            tracing::info!(scorer_log = line, "from the scorer");
            *last_words.lock().unwrap_or_else(PoisonError::into_inner) = line.chars().take(200).collect();
        }
    }
}
