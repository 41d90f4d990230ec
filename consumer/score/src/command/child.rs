//! The child process: started, asked, and ended with whatever it has started in its turn.

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

use self::log::{LastWords, ScorerLog};
use self::pipes::{LONGEST_ANSWER, Printed, Requests};
use super::guard::{self, Family};
use super::launch::{self, Launcher};

/// How often a wait looks up to see whether it has been abandoned, or its child has ended.
const LOOK_UP: Duration = Duration::from_millis(50);

/// A wait for [`LOOK_UP`] that took longer than this is a process that was stopped, and not a scorer that is slow.
const LONGEST_LOOK: Duration = Duration::from_secs(1);

/// A child whose input has ended, or that has closed its output, has so many looks to end by itself.
const LOOKS_FOR_EXIT: u32 = 4;

/// What went wrong with a child.
#[derive(Debug, thiserror::Error)]
pub(super) enum ChildError {
    #[error("the scorer died: {how}")]
    Died {
        how: String,
        /// Whether it had read all that it was sent.
        had_read: bool,
    },
    #[error("the scorer did not answer within {}{hint}", humantime::format_duration(*.timeout))]
    TimedOut { timeout: Duration, hint: String },
    #[error("the scorer's answer is longer than {} MiB", LONGEST_ANSWER >> 20)]
    TooLong,
    #[error("the consumer is stopping")]
    Abandoned,
}

/// A running child; dropping it kills it, and whatever it has started.
pub(super) struct Child {
    process: process::Child,
    family: Family,
    /// Dropped to let the child see the end of its input.
    requests: Option<Requests>,
    printed: Receiver<Printed>,
    /// For lines that turn out to be no answers.
    stray: ScorerLog,
    last_printed: LastWords,
    last_words: LastWords,
    /// Ends when nobody can write to its standard error any more.
    log: Option<JoinHandle<()>>,
    has_answered: bool,
    /// Whether it was waited for: its process id may be another's by now.
    is_reaped: bool,
}

impl Child {
    /// Starts `words[0]` with the arguments after it, in a process group of its own: Ctrl-C at the terminal is for the
    /// consumer, which then lets the child finish.
    pub(super) fn start(words: &[String], launcher: Option<Launcher>) -> io::Result<Child> {
        let mark = guard::mark();
        let mut command = launch::command(words, launcher)?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        command.env(guard::MARK, &mark);
        let mut process = launch::spawn(command)?;
        let (Some(mut stdin), Some(stdout), Some(stderr)) = (process.stdin.take(), process.stdout.take(), process.stderr.take())
        else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let family = Family::of(process.id(), mark, launcher);
        if launcher.is_some() {
            // Not before its guard knows of it, or it could outlive a consumer that is killed in between.
            drop(launch::release(&mut stdin));
        }
        let (last_printed, last_words) = (LastWords::default(), LastWords::default());
        let log_of = |last: &LastWords, from| ScorerLog::of(from, last.clone());
        Ok(Child {
            requests: Some(Requests::to(stdin)),
            printed: pipes::read(stdout, log_of(&last_printed, "stdout")),
            stray: log_of(&last_printed, "stdout"),
            log: Some(pipes::log(stderr, log_of(&last_words, "stderr"))),
            process,
            family,
            last_printed,
            last_words,
            has_answered: false,
            is_reaped: false,
        })
    }

    /// Sends a request.
    pub(super) fn send(&mut self, request: Vec<u8>) {
        if let Some(requests) = &mut self.requests {
            requests.send(request);
        }
    }

    /// Waits for the next line that may be an answer, for as long as is `left` of `timeout`.
    pub(super) fn line(&mut self, timeout: Duration, left: &mut Duration, abandon: &AtomicBool) -> Result<Vec<u8>, ChildError> {
        let mut has_ended = false;
        loop {
            if left.is_zero() {
                return Err(self.timed_out(timeout));
            }
            let looked = Instant::now();
            let printed = self.printed.recv_timeout((*left).min(LOOK_UP));
            // Where the consumer itself was stopped and goes on, its child may have been stopped too.
            *left = left.saturating_sub(looked.elapsed().min(LONGEST_LOOK));
            match printed {
                Ok(Printed::Line(line)) => return Ok(line),
                Ok(Printed::TooLong) => return Err(ChildError::TooLong),
                Err(RecvTimeoutError::Disconnected) => return Err(self.died()),
                // Whoever it has left behind may keep its output open.
                Err(RecvTimeoutError::Timeout) if has_ended => return Err(self.died()),
                Err(RecvTimeoutError::Timeout) if abandon.load(Ordering::Relaxed) => return Err(ChildError::Abandoned),
                // What it has printed before its end may still be on its way.
                Err(RecvTimeoutError::Timeout) => has_ended = self.has_ended(),
            }
        }
    }

    /// Notes that it has given an answer.
    pub(super) fn answered(&mut self) {
        self.has_answered = true;
    }

    /// Logs a line that is no answer.
    pub(super) fn log(&mut self, line: &[u8]) {
        self.stray.line(line);
    }

    /// Whether the process has ended. It is not waited for here: its id stays its own.
    pub(super) fn has_ended(&self) -> bool {
        let Some(id) = pid(&self.process) else { return false };
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        !matches!(waitid(WaitId::Pid(id), options), Ok(None))
    }

    /// How it has died, in words.
    pub(super) fn died(&mut self) -> ChildError {
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
        self.hear_out();
        let before = if had_read { "" } else { " before it had read its request" };
        let last_words = match self.last_words.in_words() {
            said if said.is_empty() => said,
            said => format!("; its last words: {said}"),
        };
        ChildError::Died { how: format!("{how}{before}{last_words}"), had_read }
    }

    /// That it took too long, with what may be the reason.
    fn timed_out(&mut self, timeout: Duration) -> ChildError {
        let mut hint = String::new();
        if !self.has_answered {
            hint.push_str(", the time that it takes to load included (--score-timeout allows more)");
        }
        self.requests = None;
        if let Ok(Printed::Line(_)) = self.printed.recv_timeout(LOOK_UP * LOOKS_FOR_EXIT) {
            hint.push_str("; an answer came once its input was closed: flush standard output after each answer (in Python, print(..., flush=True))");
        }
        match self.last_printed.in_words() {
            printed if printed.is_empty() => {}
            printed => hint.push_str(&format!("; what it last printed, and is no answer: {printed}")),
        }
        ChildError::TimedOut { timeout, hint }
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

    fn wait(&mut self) -> io::Result<ExitStatus> {
        self.is_reaped = true;
        self.process.wait()
    }

    /// Ends it and all that it has started; returns whether it has ended by itself.
    fn kill(&mut self) -> bool {
        // A child whose input ends, or that has closed its output, is about to exit: let it, before it is helped.
        self.requests = None;
        let mut looks = 0;
        while !self.has_ended() && looks < LOOKS_FOR_EXIT {
            thread::sleep(LOOK_UP);
            looks += 1;
        }
        let by_itself = self.has_ended();
        self.family.end();
        by_itself
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.is_reaped {
            self.kill();
            if let Err(error) = self.wait() {
                tracing::debug!(%error, "waiting for the scorer's end");
            }
        }
        self.family.forget();
    }
}

fn pid(process: &process::Child) -> Option<Pid> {
    i32::try_from(process.id()).ok().and_then(Pid::from_raw)
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
