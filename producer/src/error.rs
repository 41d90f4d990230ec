//! Why a command failed: one line for people, an exit code, and a stable code for scripts.

use std::io;

use rollcall_shared::broker::{BrokerError, QueryError};
use rollcall_shared::lifecycle::Exit;
use rollcall_shared::message::{Job, State};

use crate::companies::BadInput;

/// Why a command failed. Shows as one line: what was expected, what was found, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ProducerError {
    /// The command cannot work as it was given.
    #[error("{0}")]
    Usage(String),
    /// The file is refused; nothing was enqueued from it.
    #[error(transparent)]
    BadInput(#[from] BadInput),
    /// A row further down the file is refused, after others were enqueued.
    #[error("{bad} ({left})")]
    Aborted {
        /// What is wrong with the row.
        bad: Box<BadInput>,
        /// What became of the job, and of the rows above this one.
        left: String,
    },
    /// Another job has this name.
    #[error("expected a new name for --job, found {job}, {taken}; choose another, or leave --job out")]
    JobNameTaken {
        /// The name.
        job: Job,
        /// A clause that says which job has it.
        taken: String,
    },
    /// The ledger has no such job.
    #[error("expected a job in the ledger, found none named {:?}; `producer status` lists the jobs", .0.as_str())]
    NoSuchJob(Job),
    /// The ledger has no such job, so there is nothing to redrive.
    #[error(
        "expected a job in the ledger, found none named {0}: it never existed, or the ledger no longer has its opening (retention, or a broker that lost its data), and nothing is known of its companies; `producer enqueue FILE --model MODEL` enqueues its file as a new job"
    )]
    NoJobToRedrive(Job),
    /// The job that is to be continued does not wait for the rest of its file.
    #[error("expected a job that waits for the rest of its file, found that {0}")]
    NothingToContinue(String),
    /// The job's state does not allow the command.
    #[error("{0}")]
    JobState(String),
    /// The ledger had the job, and no longer has it.
    #[error(
        "job {0} is gone: it was in the ledger, and the aggregator no longer finds it there; the broker lost its data, or came back without it: enqueue the file again"
    )]
    JobGone(Job),
    /// The job ended in another state than succeeded; its document has been printed.
    #[error("the job ended as {0}")]
    JobNotSucceeded(State),
    /// The outcomes of some companies may no longer count, and not all of these companies are enqueued.
    #[error(
        "{error}; the redrive may be under way: if `producer status {job}` shows that it has not ended, `{rest}` enqueues what is left"
    )]
    RedriveIncomplete {
        /// What stopped the redrive.
        error: Box<ProducerError>,
        /// The job that is redriven.
        job: Job,
        /// The command that enqueues the rest.
        rest: String,
    },
    /// The ledger or the aggregator no longer has what the command needs.
    #[error("{0}")]
    LedgerIncomplete(String),
    /// No aggregator answers in time.
    #[error(
        "no aggregator answers: none runs, or one is still reading the ledger; jobs wait, and lose nothing, until one does: start `aggregator`, or see its log"
    )]
    NoAggregator,
    /// The aggregator does not answer this query.
    #[error("the aggregator refuses to answer: {0}")]
    AggregatorRefused(String),
    /// The aggregator's reply has a form that this version does not know.
    #[error("expected a reply that this version can read, found {0}; run the same version of producer and aggregator")]
    UnreadableReply(String),
    /// A process that this command has started ended by itself.
    #[error("{program} has ended by itself: {reason}")]
    ChildProcessEnded {
        /// Its name.
        program: &'static str,
        /// Its error, or how it ended.
        reason: String,
        /// Whether it ended for the broker.
        is_for_broker: bool,
    },
    /// The broker cannot be reached, or refuses; or its URL is bad, or this machine cannot open a connection.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// A person or a signal interrupted the command.
    #[error("{0}")]
    Interrupted(String),
    /// A file cannot be written.
    #[error("cannot write {file}: {error}; check the path and the room on its disk")]
    Write {
        /// The file's name.
        file: String,
        /// What the system says.
        error: io::Error,
    },
    /// An object cannot be written.
    #[error("cannot write {name}: {reason}")]
    Upload {
        /// The object's URL.
        name: String,
        /// What was expected, what was found, and what to do.
        reason: String,
    },
    /// This machine fails: a disk, a limit of the system, or a crashed thread.
    #[error("{0}")]
    System(String),
}

impl From<QueryError> for ProducerError {
    fn from(error: QueryError) -> ProducerError {
        match error {
            QueryError::NoAnswer => ProducerError::NoAggregator,
            QueryError::Unreadable(found) => ProducerError::UnreadableReply(found),
            QueryError::Broker(error) => ProducerError::Broker(error),
        }
    }
}

impl ProducerError {
    /// The code that `--output json` shows. Codes are part of the interface; README lists them.
    pub fn code(&self) -> &'static str {
        match self {
            ProducerError::BadInput(bad) if bad.is_of_the_environment() => "system",
            ProducerError::Aborted { bad, .. } if bad.is_of_the_environment() => "system",
            ProducerError::Usage(_) => "usage",
            ProducerError::BadInput(_) | ProducerError::Aborted { .. } => "bad_input",
            ProducerError::JobNameTaken { .. } => "job_name_taken",
            ProducerError::NoSuchJob(_) | ProducerError::NoJobToRedrive(_) => "no_such_job",
            ProducerError::NothingToContinue(_) => "nothing_to_continue",
            ProducerError::JobState(_) => "job_state",
            ProducerError::JobGone(_) => "job_gone",
            ProducerError::JobNotSucceeded(_) => "job_not_succeeded",
            ProducerError::RedriveIncomplete { .. } => "redrive_incomplete",
            ProducerError::LedgerIncomplete(_) => "ledger_incomplete",
            ProducerError::ChildProcessEnded { is_for_broker: true, .. } => "broker",
            ProducerError::ChildProcessEnded { .. } => "scoring_failed",
            ProducerError::NoAggregator => "no_aggregator",
            ProducerError::AggregatorRefused(_) | ProducerError::UnreadableReply(_) => "aggregator_refused",
            // A code has one exit code.
            ProducerError::Broker(error) => match error.exit() {
                Exit::BadInput => "usage",
                Exit::Broker => "broker",
                Exit::Success | Exit::Failure | Exit::Interrupted => "system",
            },
            ProducerError::Interrupted(_) => "interrupted",
            ProducerError::Write { .. } | ProducerError::Upload { .. } => "cannot_write",
            ProducerError::System(_) => "system",
        }
    }

    /// The process's exit code.
    pub fn exit(&self) -> Exit {
        match self {
            ProducerError::BadInput(bad) if bad.is_of_the_environment() => Exit::Failure,
            ProducerError::Aborted { bad, .. } if bad.is_of_the_environment() => Exit::Failure,
            ProducerError::Usage(_)
            | ProducerError::BadInput(_)
            | ProducerError::Aborted { .. }
            | ProducerError::JobNameTaken { .. }
            | ProducerError::NoSuchJob(_)
            | ProducerError::NoJobToRedrive(_)
            | ProducerError::NothingToContinue(_) => Exit::BadInput,
            ProducerError::Broker(error) => error.exit(),
            ProducerError::ChildProcessEnded { is_for_broker: true, .. } => Exit::Broker,
            ProducerError::RedriveIncomplete { error, .. } => error.exit(),
            ProducerError::Interrupted(_) => Exit::Interrupted,
            ProducerError::JobState(_)
            | ProducerError::JobGone(_)
            | ProducerError::JobNotSucceeded(_)
            | ProducerError::LedgerIncomplete(_)
            | ProducerError::ChildProcessEnded { .. }
            | ProducerError::NoAggregator
            | ProducerError::AggregatorRefused(_)
            | ProducerError::UnreadableReply(_)
            | ProducerError::Write { .. }
            | ProducerError::Upload { .. }
            | ProducerError::System(_) => Exit::Failure,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_between_a_redrive_keeps_its_words_and_its_exit_code_and_tells_how_to_finish() {
        let incomplete = |error| {
            let (error, rest) = (Box::new(error), "producer redrive j --missing --file c.csv".to_owned());
            ProducerError::RedriveIncomplete { error, job: "j".parse().unwrap(), rest }
        };
        for (error, exit) in [
            (ProducerError::Broker(BrokerError::Lost("reset".to_owned())), Exit::Broker),
            (ProducerError::NoAggregator, Exit::Failure),
            (ProducerError::Usage("a row".to_owned()), Exit::BadInput),
            (ProducerError::Interrupted("interrupted".to_owned()), Exit::Interrupted),
        ] {
            let said = error.to_string();
            let failure = incomplete(error);
            assert_eq!((failure.exit(), failure.code()), (exit, "redrive_incomplete"));
            let words = failure.to_string();
            assert!(words.starts_with(&said) && words.contains("`producer redrive j --missing --file c.csv`"), "{words}");
        }
    }

    #[test]
    fn every_code_has_its_row_in_readme() {
        let readme = include_str!("../../README.md");
        let job: Job = "j".parse().unwrap();
        let text = String::new;
        let errors = [
            ProducerError::Usage(text()),
            ProducerError::JobNameTaken { job: job.clone(), taken: text() },
            ProducerError::NoSuchJob(job.clone()),
            ProducerError::NoJobToRedrive(job.clone()),
            ProducerError::NothingToContinue(text()),
            ProducerError::JobState(text()),
            ProducerError::JobGone(job.clone()),
            ProducerError::JobNotSucceeded(State::Failed),
            ProducerError::RedriveIncomplete { error: Box::new(ProducerError::NoAggregator), job, rest: text() },
            ProducerError::LedgerIncomplete(text()),
            ProducerError::ChildProcessEnded { program: "p", reason: text(), is_for_broker: false },
            ProducerError::ChildProcessEnded { program: "p", reason: text(), is_for_broker: true },
            ProducerError::NoAggregator,
            ProducerError::AggregatorRefused(text()),
            ProducerError::UnreadableReply(text()),
            ProducerError::Broker(BrokerError::Lost(text())),
            ProducerError::Broker(BrokerError::BadUrl { found: text() }),
            ProducerError::Broker(BrokerError::OutOfResources(text())),
            ProducerError::Broker(BrokerError::NotJson(serde_json::from_str::<u8>("").unwrap_err())),
            ProducerError::Interrupted(text()),
            ProducerError::Write { file: text(), error: io::ErrorKind::StorageFull.into() },
            ProducerError::Upload { name: text(), reason: text() },
            ProducerError::System(text()),
        ];
        let bad_input = ("bad_input", "2".to_owned());
        let documented = errors.iter().map(|error| {
            let code = error.code();
            let exit = match error {
                ProducerError::RedriveIncomplete { .. } => "as its cause".to_owned(),
                _ => error.exit().code().to_string(),
            };
            (code, exit)
        });
        for (code, exit) in documented.chain([bad_input]) {
            assert!(readme.contains(&format!("| `{code}` | {exit} |")), "{code} {exit}");
        }
    }
}
