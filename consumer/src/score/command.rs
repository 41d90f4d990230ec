//! The `command` scorer: a long-lived child process that reads one JSON line a batch and answers with one.
//!
//! In: `{"id":"…","instances":[{…},…]}`. Out: `{"id":"…","predictions":[…]}`, of the same length and order, where an entry may
//! be `{"error":{"cause":"…","message":"…","retryable":false}}`; or `{"id":"…","error":"…"}` for the whole batch.

mod answer;
mod child;
mod launch;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::value::RawValue;

pub use self::answer::read as read_answer;
use self::child::{Child, ChildError};
pub use self::launch::{Launcher, launch};
use super::{Company, ScoreError, Scorer, Scores};

/// Scores by asking a child process.
pub struct Command {
    words: Vec<String>,
    timeout: Duration,
    abandon: Arc<AtomicBool>,
    launcher: Option<Launcher>,
    child: Option<Child>,
    calls: u64,
    deaths: u32,
}

impl Command {
    /// Starts the program `words[0]` with the arguments after it. An answer may take `timeout`; when `abandon` is set, the
    /// child is given up at once. Without a `launcher`, a child that hangs may outlive a consumer that is killed.
    ///
    /// # Errors
    /// Where the program cannot be started; names it.
    pub fn start(
        words: Vec<String>,
        timeout: Duration,
        abandon: Arc<AtomicBool>,
        launcher: Option<Launcher>,
    ) -> Result<Command, String> {
        let child = Child::start(&words, launcher).map_err(|error| {
            format!("cannot start the scorer {:?}: {error}; check the program after 'command:'", words.join(" "))
        })?;
        Ok(Command { words, timeout, abandon, launcher, child: Some(child), calls: 0, deaths: 0 })
    }

    fn ask(&mut self, id: &str, request: Vec<u8>) -> Result<String, ScoreError> {
        if self.abandon.load(Ordering::Relaxed) {
            return Err(fault("scorer_crashed", "the consumer is stopping"));
        }
        let child = match &mut self.child {
            Some(child) => child,
            None => {
                child::pause(self.deaths, &self.abandon);
                let child = Child::start(&self.words, self.launcher)
                    .map_err(|error| fault("scorer_crashed", &format!("it does not start: {error}")))?;
                tracing::info!(scorer = self.words.join(" "), deaths = self.deaths, "started the scorer anew");
                self.child.insert(child)
            }
        };
        child.ask(request, self.timeout, &self.abandon).map_err(|error| {
            let cause = match error {
                ChildError::TimedOut(_) => "timeout",
                ChildError::Died(_) | ChildError::Abandoned => "scorer_crashed",
                ChildError::TooLong | ChildError::NotText => "invalid_answer",
            };
            tracing::warn!(scorer = self.words.join(" "), id, %error, "the scorer is killed");
            fault(cause, &error.to_string())
        })
    }

    fn bury(&mut self) {
        self.child = None;
        self.deaths = self.deaths.saturating_add(1);
    }
}

impl Scorer for Command {
    fn score(&mut self, companies: &[Company]) -> Scores {
        self.calls += 1;
        let id = self.calls.to_string();
        let instances = companies.iter().map(|company| instance(&company.record)).collect::<Vec<_>>();
        let valid: Vec<&str> = instances.iter().filter_map(|instance| instance.as_deref().ok()).collect();
        let answer = if valid.is_empty() {
            Ok(Vec::new())
        } else {
            self.ask(&id, request(&id, &valid)).and_then(|line| answer::read(&line, &id, valid.len()))
        };
        match answer {
            Ok(scores) => {
                self.deaths = 0;
                let mut scores = scores.into_iter();
                let missing = || Err(fault("invalid_answer", "fewer predictions than instances"));
                Ok(instances.into_iter().map(|instance| instance.and_then(|_| scores.next().unwrap_or_else(missing))).collect())
            }
            // The child said so itself: it is well, only the batch was not.
            Err(error) if error.cause == answer::BATCH_ERROR => Err(error),
            Err(error) => {
                self.bury();
                Err(error)
            }
        }
    }
}

/// A record as it goes into the request: one JSON object on one line.
fn instance(record: &[u8]) -> Result<String, ScoreError> {
    let invalid = |found: String| ScoreError {
        cause: "invalid_record".to_owned(),
        message: format!("expected a JSON object as the company's record, found {found}"),
        retryable: false,
    };
    let raw: &RawValue = serde_json::from_slice(record).map_err(|error| invalid(error.to_string()))?;
    if !raw.get().starts_with('{') {
        return Err(invalid(raw.get().chars().take(40).collect()));
    }
    // Between the tokens of valid JSON a line break is as good as a space; inside a string there is none.
    Ok(raw.get().replace(['\n', '\r'], " "))
}

fn request(id: &str, instances: &[&str]) -> Vec<u8> {
    let mut line = format!("{{\"id\":\"{id}\",\"instances\":[");
    line.push_str(&instances.join(","));
    line.push_str("]}\n");
    line.into_bytes()
}

fn fault(cause: &str, message: &str) -> ScoreError {
    ScoreError { cause: cause.to_owned(), message: message.to_owned(), retryable: true }
}

#[cfg(test)]
mod tests;
