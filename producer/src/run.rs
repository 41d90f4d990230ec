//! From a command to an exit code.

use std::fs::File;
use std::io::{self, BufWriter, Write};

use rollcall_shared::broker::BrokerError;
use rollcall_shared::lifecycle::{Exit, Shutdown};
use rollcall_shared::message::{Job, State};

use crate::ask::AskError;
use crate::cli::{Command, GenerateArgs, ProducerArgs};
use crate::companies::BadInput;
use crate::status::thousands;
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
    /// A row further down could not be taken: the job is cancelled.
    #[error("{bad} (job {job} is cancelled; {} companies were enqueued before that row)", thousands(*enqueued))]
    Aborted {
        /// What is wrong with the row.
        bad: Box<BadInput>,
        /// The job.
        job: Job,
        /// Companies enqueued up to then.
        enqueued: u64,
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
            Failure::Usage(_) | Failure::Input(_) | Failure::Aborted { .. } | Failure::NoSuchJob(_) => Exit::BadInput,
            Failure::Broker(error) | Failure::Ask(AskError::Broker(error)) => error.exit(),
            Failure::Interrupted(_) => Exit::Interrupted,
            Failure::Ask(AskError::NoAnswer) | Failure::Ended(_) | Failure::Write { .. } | Failure::Other(_) => Exit::Failure,
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
        Command::Generate(generate) => write_synthetic(&generate),
    }
}

fn write_synthetic(args: &GenerateArgs) -> Result<(), Failure> {
    let file = args.to.as_ref().map_or_else(|| "standard output".to_owned(), |path| path.display().to_string());
    let write = |mut out: Box<dyn Write>| {
        generate::write_companies(&mut out, args.companies, args.seed)?;
        out.flush()
    };
    let written = match &args.to {
        Some(path) => File::create(path).and_then(|file| write(Box::new(BufWriter::new(file)))),
        None => write(Box::new(BufWriter::new(io::stdout().lock()))),
    };
    match written {
        // Whoever reads has read enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Failure::Write { file, error }),
        Ok(()) => Ok(()),
    }
}
