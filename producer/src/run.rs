//! From a command to an exit code.

use std::io;

use rollcall_shared::broker::BrokerError;
use rollcall_shared::lifecycle::{Exit, Shutdown};
use rollcall_shared::message::{Format, Job, State};

use crate::ask::AskError;
use crate::blocking::on_a_thread;
use crate::cli::{Command, GenerateArgs, ProducerArgs};
use crate::companies::BadInput;
use crate::destination::{self, Layout, Packed, unless_reader_left};
use crate::{enqueue, failures, generate, orders, redrive, results, status, watch};

/// Why a command ended other than well.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The command cannot work as it was given.
    #[error("{0}")]
    Usage(String),
    /// The file cannot be taken as it is.
    #[error("{0}")]
    Input(#[from] BadInput),
    /// A row further down could not be taken.
    #[error("{bad} ({left})")]
    Aborted {
        /// What is wrong with the row.
        bad: Box<BadInput>,
        /// What has come of the rows above it.
        left: String,
    },
    /// The outcomes of some companies may no longer count, and not all of these companies are enqueued.
    #[error(
        "{error}; the redrive may be under way: if `producer status {job}` shows that it has not ended, `{rest}` enqueues what is left"
    )]
    HalfRedriven {
        /// What has come between.
        error: Box<Failure>,
        /// The job.
        job: Job,
        /// The command that enqueues the rest.
        rest: String,
    },
    /// The broker cannot be reached or refuses.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// No aggregator answers.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// A job that is not there.
    #[error("expected a job in the ledger, found none named {0:?}; `producer status` lists the jobs")]
    NoSuchJob(String),
    /// A job that was there, and of which the ledger no longer knows.
    #[error(
        "job {0} is gone: it was in the ledger, and the aggregator no longer finds it there; the broker lost its data, or came back without it: enqueue the file again"
    )]
    Gone(Job),
    /// The job ended other than succeeded; that has been said already.
    #[error("the job ended as {0}")]
    Ended(State),
    /// A person interrupted the command.
    #[error("{0}")]
    Interrupted(String),
    /// A file cannot be written.
    #[error("cannot write {file}: {error}; check the path and the room on its disk")]
    Write {
        /// Which.
        file: String,
        /// What the system said.
        error: io::Error,
    },
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl Failure {
    /// The exit code that says so.
    pub fn exit(&self) -> Exit {
        match self {
            Failure::Input(bad) if bad.is_of_the_environment() => Exit::Failure,
            Failure::Aborted { bad, .. } if bad.is_of_the_environment() => Exit::Failure,
            Failure::Usage(_) | Failure::Input(_) | Failure::Aborted { .. } | Failure::NoSuchJob(_) => Exit::BadInput,
            Failure::Broker(error) | Failure::Ask(AskError::Broker(error)) => error.exit(),
            Failure::HalfRedriven { error, .. } => error.exit(),
            Failure::Interrupted(_) => Exit::Interrupted,
            Failure::Ask(AskError::NoAnswer | AskError::Refused(_))
            | Failure::Gone(_)
            | Failure::Ended(_)
            | Failure::Write { .. }
            | Failure::Other(_) => Exit::Failure,
        }
    }
}

/// Does what `args` ask for.
///
/// # Errors
/// [`Failure`].
pub async fn run(args: ProducerArgs, shutdown: Shutdown) -> Result<(), Failure> {
    let ProducerArgs { command, broker, output, .. } = args;
    match command {
        Command::Enqueue(enqueue) if enqueue.dry_run => enqueue::dry_run(&enqueue, output),
        Command::Enqueue(enqueue) => enqueue::enqueue(enqueue, broker, output, &shutdown).await,
        Command::Status { job } => status::show(job, &broker, output).await,
        Command::Watch { job } => watch::watch(job, &broker, output, &shutdown).await,
        Command::Failures { job } => failures::show(&job, &broker, output, &shutdown).await,
        Command::Redrive(redrive) => redrive::redrive(redrive, &broker, output, &shutdown).await,
        Command::Cancel { job } => orders::cancel(&job, &broker, output).await,
        Command::Pause { job } => orders::pause(&job, &broker, output).await,
        Command::Resume { job } => orders::resume(&job, &broker, output).await,
        Command::Results(results) => results::fetch(results, &broker, output, &shutdown).await,
        Command::Generate(generate) => write_synthetic(generate, &shutdown).await,
    }
}

/// Writes synthetic companies, as CSV whatever it is called.
async fn write_synthetic(args: GenerateArgs, shutdown: &Shutdown) -> Result<(), Failure> {
    let path = args.to.unwrap_or_else(|| "-".into());
    let name = destination::name(&path);
    let layout = Layout::of(&path, None).or_else(|| Layout::of(&path, Some(Format::Csv)));
    let layout = layout.filter(|layout| layout.format == Format::Csv && layout.delimiter == b',');
    let layout = layout.ok_or_else(|| {
        Failure::Usage(format!(
            "expected --to with a name ending in .csv, then .gz or .zst if need be, found {name}: companies are written as CSV"
        ))
    })?;
    let written = async {
        let (file, placement) = destination::open(&path).await?;
        layout.refuse_terminal(&file, &name)?;
        let written = on_a_thread(move || {
            let mut file = Packed::new(file, layout.compression)?;
            generate::write_companies(&mut file, args.companies, args.seed)?;
            file.finish()
        });
        unless_reader_left(written.await?.and_then(|()| placement.place()), &name)
    };
    tokio::select! {
        written = written => written.map(drop),
        () = shutdown.requested() => Err(Failure::Interrupted("interrupted; no file was written".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_between_a_redrive_keeps_its_words_and_its_exit_code_and_tells_how_to_finish() {
        let half_redriven = |error| {
            let (error, rest) = (Box::new(error), "producer redrive j --missing --file c.csv".to_owned());
            Failure::HalfRedriven { error, job: "j".parse().unwrap(), rest }
        };
        for (error, exit) in [
            (Failure::Broker(BrokerError::Lost("reset".to_owned())), Exit::Broker),
            (Failure::Ask(AskError::NoAnswer), Exit::Failure),
            (Failure::Usage("a row".to_owned()), Exit::BadInput),
            (Failure::Interrupted("interrupted".to_owned()), Exit::Interrupted),
        ] {
            let said = error.to_string();
            let failure = half_redriven(error);
            assert_eq!(failure.exit(), exit);
            let words = failure.to_string();
            assert!(words.starts_with(&said) && words.contains("`producer redrive j --missing --file c.csv`"), "{words}");
        }
    }
}
