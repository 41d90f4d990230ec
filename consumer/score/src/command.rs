//! The `command` scorer: a long-lived child process that reads one JSON line a batch and answers with one.
//!
//! In: `{"id":"…","instances":[{…},…]}`. Out: `{"id":"…","predictions":[…]}`, of the same length and order, where an entry may
//! be `{"error":{"cause":"…","message":"…","retryable":false}}`; or `{"id":"…","error":"…"}` for the whole batch. Any other line that is
//! no JSON object with an id is taken for log.

mod answer;
mod child;
mod guard;
mod launch;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::value::RawValue;

pub use self::answer::{BadAnswer, Line, Outcomes, read as read_answer};
use self::child::{Child, ChildError};
pub use self::launch::{Launcher, launch};
use super::{Blame, CallError, Company, ScoreError, Scorer, Scores};

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

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
enum AskError {
    #[error("it does not start: {0}")]
    NotStarted(std::io::Error),
    #[error(transparent)]
    Child(#[from] ChildError),
    #[error(transparent)]
    BadAnswer(#[from] BadAnswer),
    /// It says so itself.
    #[error("{0}")]
    Refused(String),
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

    /// Asks a child that lives. The time it takes to start counts.
    fn ask(&mut self, instances: &[&str]) -> Result<Outcomes, AskError> {
        if self.abandon.load(Ordering::Relaxed) {
            return Err(ChildError::Abandoned.into());
        }
        if let Some(child) = self.child.as_mut().filter(|child| child.has_ended()) {
            // It was asked for nothing meanwhile, so nobody pays for it.
            tracing::warn!(scorer = self.words.join(" "), how = %child.died(), "the scorer ended while it had nothing to do");
            self.bury();
        }
        let child = match &mut self.child {
            Some(child) => child,
            None => {
                child::pause(self.deaths, &self.abandon);
                let child = Child::start(&self.words, self.launcher).map_err(AskError::NotStarted)?;
                tracing::info!(scorer = self.words.join(" "), deaths = self.deaths, "started the scorer anew");
                self.child.insert(child)
            }
        };
        self.calls += 1;
        let id = self.calls.to_string();
        child.send(request(&id, instances));
        let mut left = self.timeout;
        loop {
            let line = child.line(self.timeout, &mut left, &self.abandon)?;
            let answered = match answer::read(&line, &id, instances.len())? {
                Line::Log => {
                    child.log(&line);
                    continue;
                }
                Line::Answer(outcomes) => Ok(outcomes),
                Line::Failed(error) => Err(AskError::Refused(error)),
            };
            child.answered();
            self.deaths = 0;
            return answered;
        }
    }

    fn bury(&mut self) {
        self.child = None;
        self.deaths = self.deaths.saturating_add(1);
    }
}

impl Scorer for Command {
    fn score(&mut self, companies: &[Company]) -> Scores {
        let instances = companies.iter().map(|company| instance(&company.record)).collect::<Vec<_>>();
        let valid: Vec<&str> = instances.iter().filter_map(|instance| instance.as_deref().ok()).collect();
        let mut outcomes = match if valid.is_empty() { Ok(Vec::new()) } else { self.ask(&valid) } {
            Ok(outcomes) => outcomes.into_iter(),
            Err(error) => {
                // A child that says so itself is well, only the batch was not.
                if !matches!(error, AskError::Refused(_)) {
                    tracing::warn!(scorer = self.words.join(" "), id = self.calls, %error, "the scorer is ended");
                    self.bury();
                }
                return Err(error.into());
            }
        };
        let missing = || Err(invalid_answer("fewer predictions than instances"));
        Ok(instances.into_iter().map(|instance| instance.and_then(|_| outcomes.next().unwrap_or_else(missing))).collect())
    }
}

impl From<AskError> for CallError {
    fn from(error: AskError) -> CallError {
        let (cause, blame) = match &error {
            AskError::NotStarted(_) | AskError::Child(ChildError::Died { had_read: false, .. }) => {
                ("scorer_crashed", Blame::Scorer)
            }
            AskError::Child(ChildError::Died { .. }) => ("scorer_crashed", Blame::Either),
            AskError::Child(ChildError::Abandoned) => ("scorer_crashed", Blame::Nobody),
            AskError::Child(ChildError::TimedOut { .. }) => ("timeout", Blame::Either),
            AskError::Child(ChildError::TooLong) | AskError::BadAnswer(BadAnswer::Nonsense(_)) => {
                ("invalid_answer", Blame::Either)
            }
            // It was printed before the child had seen this request.
            AskError::BadAnswer(BadAnswer::Repeated { .. }) => ("invalid_answer", Blame::Scorer),
            AskError::Refused(_) => ("scorer_error", Blame::Companies),
        };
        let error = ScoreError { cause: cause.to_owned(), message: error.to_string(), retryable: true };
        CallError { error, blame }
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

fn invalid_answer(message: &str) -> ScoreError {
    ScoreError { cause: "invalid_answer".to_owned(), message: message.to_owned(), retryable: true }
}

#[cfg(test)]
mod tests;
