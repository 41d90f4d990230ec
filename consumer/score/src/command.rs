//! The `command` scorer: a child process that stays alive, reads one JSON line a batch and answers each with one.
//!
//! Request: `{"id":"…","instances":[{…},…]}`. Answer: `{"id":"…","predictions":[…]}`, of the same length and order, where an entry may
//! be `{"error":{"cause":"…","message":"…","retryable":false}}`; or `{"id":"…","error":"…"}` for the whole batch. A line that is not a
//! JSON object with an id is log output.

mod answer;
mod child;
mod guard;
mod launcher;
mod reexec;
mod request;
mod request_error;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub use self::answer::{AnswerError, Line, Outcomes, read as read_answer};
use self::child::Child;
pub use self::launcher::Launcher;
pub use self::reexec::run_launcher_or_guard;
use self::request_error::RequestError;
use crate::error::Error;
use crate::scorer::{Company, ScoreError, Scorer, Scores};

/// Scores by asking a child process.
pub struct Command {
    /// The program and its arguments.
    words: Vec<String>,
    timeout: Duration,
    stopping: Arc<AtomicBool>,
    launcher: Option<Launcher>,
    /// `None` after a failure, until the next request.
    child: Option<Child>,
    /// Requests so far; the id of the next is one more.
    requests: u64,
    /// Children that failed since the last answer.
    failed_children: u32,
}

impl Command {
    /// Starts the program `words[0]` with the arguments after it. An answer may take `timeout`. Once `stopping` is set, a request
    /// fails at once. Without a `launcher`, a child that hangs may outlive a consumer that is killed.
    ///
    /// # Errors
    /// [`Error::CannotStart`].
    pub fn start(
        words: Vec<String>,
        timeout: Duration,
        stopping: Arc<AtomicBool>,
        launcher: Option<Launcher>,
    ) -> Result<Command, Error> {
        let child = Child::start(&words, launcher).map_err(|error| cannot_start(&words, error))?;
        Ok(Command { words, timeout, stopping, launcher, child: Some(child), requests: 0, failed_children: 0 })
    }

    /// Looks for the program `words[0]`, without starting it.
    ///
    /// # Errors
    /// [`Error::CannotStart`], as [`Command::start`].
    pub fn check(words: &[String]) -> Result<(), Error> {
        launcher::command(words, None).map(drop).map_err(|error| cannot_start(words, error))
    }

    /// Sends a request and waits for its answer. The timeout includes the time that the child takes to start.
    fn ask(&mut self, instances: &[&str]) -> Result<Outcomes, RequestError> {
        if self.stopping.load(Ordering::Relaxed) {
            return Err(RequestError::Stopping);
        }
        if let Some(child) = self.child.as_mut().filter(|child| child.has_ended()) {
            // It ended between two requests, so this request must not fail for it.
            tracing::warn!(scorer = self.words.join(" "), how = %child.died(), "the scorer ended while it was idle");
            self.drop_child();
        }
        let child = match &mut self.child {
            Some(child) => child,
            None => {
                child::pause_before_restart(self.failed_children, &self.stopping);
                let child = Child::start(&self.words, self.launcher).map_err(RequestError::NotStarted)?;
                tracing::info!(scorer = self.words.join(" "), failed = self.failed_children, "restarted the scorer");
                self.child.insert(child)
            }
        };
        self.requests += 1;
        let id = self.requests.to_string();
        child.send(request::line(&id, instances));
        let mut left = self.timeout;
        loop {
            let line = child.line(self.timeout, &mut left, &self.stopping)?;
            let answer = match answer::read(&line, &id, instances.len())? {
                Line::Log => {
                    child.log(&line);
                    continue;
                }
                Line::Answer(outcomes) => Ok(outcomes),
                Line::Failed(error) => Err(RequestError::Refused(error)),
            };
            child.answered();
            self.failed_children = 0;
            return answer;
        }
    }

    fn drop_child(&mut self) {
        self.child = None;
        self.failed_children = self.failed_children.saturating_add(1);
    }
}

fn cannot_start(words: &[String], error: io::Error) -> Error {
    Error::CannotStart { command: words.join(" "), error }
}

impl Scorer for Command {
    fn score(&mut self, companies: &[Company]) -> Scores {
        let instances = companies.iter().map(|company| request::instance(&company.record)).collect::<Vec<_>>();
        let valid: Vec<&str> = instances.iter().filter_map(|instance| instance.as_deref().ok()).collect();
        let mut outcomes = match if valid.is_empty() { Ok(Vec::new()) } else { self.ask(&valid) } {
            Ok(outcomes) => outcomes.into_iter(),
            Err(error) => {
                // A child that refuses a batch works; after any other error it is in an unknown state.
                if !matches!(error, RequestError::Refused(_)) {
                    tracing::warn!(
                        event = "scorer_killed",
                        scorer = self.words.join(" "),
                        id = self.requests,
                        %error,
                        "the request failed; killing the scorer"
                    );
                    self.drop_child();
                }
                return Err(error.into());
            }
        };
        let missing = || {
            let message = "expected one prediction per instance, found fewer".to_owned();
            Err(ScoreError { cause: "invalid_answer".to_owned(), message, retryable: true })
        };
        Ok(instances.into_iter().map(|instance| instance.and_then(|_| outcomes.next().unwrap_or_else(missing))).collect())
    }
}

#[cfg(test)]
mod tests;
