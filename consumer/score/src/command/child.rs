//! The child process: started, asked, and killed together with the processes that it has started.

mod log;
mod pipes;

use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{self, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use self::log::{LogTail, ScorerLog};
use self::pipes::{MAX_ANSWER_BYTES, Printed, Requests};
use super::guard::{self, ProcessTree};
use super::launcher::{self, Launcher};
use super::request_error::RequestError;

/// How often a wait checks whether the consumer is stopping and whether the child has ended.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// The most of the timeout that one wait of [`POLL_INTERVAL`] uses up. One that took longer says that this process was stopped, not that
/// the scorer is slow.
const MAX_POLL: Duration = Duration::from_secs(1);

/// How many [`POLL_INTERVAL`]s a child has to exit by itself after its input was closed, or after it closed its output.
const POLLS_FOR_EXIT: u32 = 4;

/// A running child. Dropping it kills it and the processes that it has started.
pub(super) struct Child {
    process: process::Child,
    tree: ProcessTree,
    /// Dropping it closes the child's input.
    requests: Option<Requests>,
    printed: Receiver<Printed>,
    /// For lines that may be answers and are not.
    stdout_log: ScorerLog,
    stdout_tail: LogTail,
    stderr_tail: LogTail,
    /// Ends once no process has the child's standard error open.
    stderr_thread: Option<JoinHandle<()>>,
    has_answered: bool,
    /// Whether it was waited for: after that the system may reuse its process id.
    is_reaped: bool,
}

impl Child {
    /// Starts `words[0]` with the arguments after it, in a process group of its own: Ctrl-C at the terminal then reaches only the
    /// consumer, which lets the child finish.
    pub(super) fn start(words: &[String], launcher: Option<Launcher>) -> io::Result<Child> {
        let scorer_id = guard::scorer_id();
        let mut command = launcher::command(words, launcher)?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        command.env(guard::SCORER_ID, &scorer_id);
        let mut process = launcher::spawn(command)?;
        let (Some(mut stdin), Some(stdout), Some(stderr)) = (process.stdin.take(), process.stdout.take(), process.stderr.take())
        else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let tree = ProcessTree::new(process.id(), scorer_id, launcher);
        if launcher.is_some() {
            // Only now, since the guard knows of it: otherwise it could outlive a consumer that is killed in between. If this fails, the
            // launcher has ended, which the first request will report.
            drop(launcher::release(&mut stdin));
        }
        let (stdout_tail, stderr_tail) = (LogTail::default(), LogTail::default());
        let log = |output, tail: &LogTail| ScorerLog::new(output, tail.clone());
        Ok(Child {
            requests: Some(Requests::new(stdin)),
            printed: pipes::read_stdout(stdout, log("stdout", &stdout_tail)),
            stdout_log: log("stdout", &stdout_tail),
            stderr_thread: Some(pipes::log_stderr(stderr, log("stderr", &stderr_tail))),
            process,
            tree,
            stdout_tail,
            stderr_tail,
            has_answered: false,
            is_reaped: false,
        })
    }

    /// Sends a request. Does not wait for the child to read it.
    pub(super) fn send(&mut self, request: Vec<u8>) {
        if let Some(requests) = &mut self.requests {
            requests.send(request);
        }
    }

    /// Waits for the next line that may be an answer, and takes the time that it took off `left`, the rest of `timeout`.
    pub(super) fn line(
        &mut self,
        timeout: Duration,
        left: &mut Duration,
        stopping: &AtomicBool,
    ) -> Result<Vec<u8>, RequestError> {
        let mut has_ended = false;
        loop {
            if left.is_zero() {
                return Err(self.timed_out(timeout));
            }
            let began = Instant::now();
            let printed = self.printed.recv_timeout((*left).min(POLL_INTERVAL));
            // While the consumer was stopped (SIGSTOP, a suspended laptop), its child may have been stopped too.
            *left = left.saturating_sub(began.elapsed().min(MAX_POLL));
            match printed {
                Ok(Printed::Line(line)) => return Ok(line),
                Ok(Printed::TooLong) => return Err(RequestError::AnswerTooLong { most: MAX_ANSWER_BYTES }),
                Err(RecvTimeoutError::Disconnected) => return Err(self.died()),
                // A process that it has started may keep its output open.
                Err(RecvTimeoutError::Timeout) if has_ended => return Err(self.died()),
                Err(RecvTimeoutError::Timeout) if stopping.load(Ordering::Relaxed) => return Err(RequestError::Stopping),
                // What it printed before it ended may not have been read yet, so wait once more.
                Err(RecvTimeoutError::Timeout) => has_ended = self.has_ended(),
            }
        }
    }

    /// Notes that it has answered a request.
    pub(super) fn answered(&mut self) {
        self.has_answered = true;
    }

    /// Logs a line that is not an answer.
    pub(super) fn log(&mut self, line: &[u8]) {
        self.stdout_log.line(line);
    }

    /// Whether the process has ended. Does not reap it, so that its process id is not reused.
    pub(super) fn has_ended(&self) -> bool {
        let Some(id) = pid(&self.process) else { return false };
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        !matches!(waitid(WaitId::Pid(id), options), Ok(None))
    }

    /// Kills it if need be, and says how it ended.
    pub(super) fn died(&mut self) -> RequestError {
        let had_read = self.requests.as_ref().is_none_or(Requests::were_read);
        let by_itself = self.kill();
        let how = match self.wait() {
            Ok(_) if !by_itself => "it closed its standard output".to_owned(),
            Ok(status) => match status.signal() {
                Some(signal) => format!("killed by signal {signal}"),
                None => format!("exit code {}", status.code().unwrap_or_default()),
            },
            Err(error) => error.to_string(),
        };
        self.wait_for_stderr();
        let before = if had_read { "" } else { " before it had read its request" };
        let stderr = match self.stderr_tail.on_one_line() {
            lines if lines.is_empty() => lines,
            lines => format!("; its standard error ended with: {lines}"),
        };
        RequestError::Died { how: format!("{how}{before}{stderr}"), had_read }
    }

    /// The error for a request that took too long, with what may be the reason.
    fn timed_out(&mut self, timeout: Duration) -> RequestError {
        let mut hint = String::new();
        if !self.has_answered {
            hint.push_str(", including the time that it takes to load (--score-timeout allows more)");
        }
        self.requests = None;
        if let Ok(Printed::Line(_)) = self.printed.recv_timeout(POLL_INTERVAL * POLLS_FOR_EXIT) {
            hint.push_str("; an answer came once its input was closed: flush standard output after each answer (in Python, print(..., flush=True))");
        }
        match self.stdout_tail.on_one_line() {
            lines if lines.is_empty() => {}
            lines => hint.push_str(&format!("; the last lines that it printed are no answers: {lines}")),
        }
        RequestError::TimedOut { timeout, hint }
    }

    /// Waits until its standard error has been read to the end, but not long: another process may keep it open.
    fn wait_for_stderr(&self) {
        for _ in 0..10 {
            if self.stderr_thread.as_ref().is_none_or(JoinHandle::is_finished) {
                return;
            }
            thread::sleep(POLL_INTERVAL / 10);
        }
    }

    fn wait(&mut self) -> io::Result<ExitStatus> {
        self.is_reaped = true;
        self.process.wait()
    }

    /// Kills it and all that it has started. Returns whether it had ended by itself.
    fn kill(&mut self) -> bool {
        // Closing its input makes most programs exit, with an exit code that says more than a signal.
        self.requests = None;
        let mut polls = 0;
        while !self.has_ended() && polls < POLLS_FOR_EXIT {
            thread::sleep(POLL_INTERVAL);
            polls += 1;
        }
        let by_itself = self.has_ended();
        self.tree.kill();
        by_itself
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.is_reaped {
            self.kill();
            if let Err(error) = self.wait() {
                tracing::debug!(%error, "cannot wait for the scorer to end");
            }
        }
        self.tree.release();
    }
}

fn pid(process: &process::Child) -> Option<Pid> {
    i32::try_from(process.id()).ok().and_then(Pid::from_raw)
}

/// Waits before a child is started again: from 100 ms after the first failure in a row up to 5 s. Returns early if `stopping` is set.
pub(super) fn pause_before_restart(failures: u32, stopping: &AtomicBool) {
    const FIRST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(5);
    let pause = FIRST.saturating_mul(1 << failures.saturating_sub(1).min(6)).min(LONGEST);
    let until = Instant::now() + pause;
    while Instant::now() < until && !stopping.load(Ordering::Relaxed) {
        thread::sleep(POLL_INTERVAL.min(until.saturating_duration_since(Instant::now())));
    }
}
