//! Runs a command.

use rollcall_shared::broker::wait_for_broker;
use rollcall_shared::lifecycle::Shutdown;
use rollcall_shared::message::Format;

use crate::blocking::on_a_thread;
use crate::broker_session::BrokerAccess;
use crate::cli::{Command, GenerateArgs, ProducerArgs};
use crate::destination::{self, Layout, Packed, unless_reader_left};
use crate::error::ProducerError;
use crate::location::Location;
use crate::{enqueue, failures, generate, job_control, redrive, results, score, serve, status, watch};

/// Runs the command that `args` name.
///
/// # Errors
/// As the command.
pub async fn run(args: ProducerArgs, shutdown: Shutdown) -> Result<(), ProducerError> {
    let ProducerArgs { command, broker, output, .. } = args;
    if command.uses_broker() {
        wait_for_broker(&broker, &shutdown).await?;
    }
    match command {
        Command::Enqueue(enqueue) if enqueue.dry_run => enqueue::dry_run(enqueue, output).await,
        Command::Enqueue(enqueue) => enqueue::enqueue(enqueue, BrokerAccess::Direct(broker), output, &shutdown).await,
        Command::Score(score) => score::score(score, broker, output, &shutdown).await,
        Command::Status { job } => status::show(job, &broker, output).await,
        Command::Watch { job } => watch::watch(job, &broker, output, &shutdown).await,
        Command::Failures { job } => failures::show(&job, &broker, output, &shutdown).await,
        Command::Redrive(redrive) => redrive::redrive(redrive, &broker, output, &shutdown).await,
        Command::Cancel { job } => job_control::cancel(&job, &BrokerAccess::Direct(broker), output).await,
        Command::Pause { job } => job_control::pause(&job, &BrokerAccess::Direct(broker), output).await,
        Command::Resume { job } => job_control::resume(&job, &BrokerAccess::Direct(broker), output).await,
        Command::Results(results) => results::fetch(results, &broker, output, &shutdown).await,
        Command::Serve(serve) => serve::serve(serve, broker, &shutdown).await,
        Command::Generate(generate) => write_synthetic(generate, &shutdown).await,
    }
}

/// Writes synthetic companies as CSV.
async fn write_synthetic(args: GenerateArgs, shutdown: &Shutdown) -> Result<(), ProducerError> {
    let to = args.to.unwrap_or(Location::Standard);
    let name = destination::name(&to);
    let layout = Layout::of(&to, None).or_else(|| Layout::of(&to, Some(Format::Csv)));
    let layout = layout.filter(|layout| layout.format == Format::Csv && layout.delimiter == b',');
    let layout = layout.ok_or_else(|| {
        ProducerError::Usage(format!(
            "expected --to with a name ending in .csv, then .gz or .zst if need be, found {name}: companies are written as CSV"
        ))
    })?;
    let interrupted = || ProducerError::Interrupted("interrupted; no file was written".to_owned());
    let (sink, placement) = tokio::select! {
        opened = destination::open(&to) => opened?,
        () = shutdown.requested() => return Err(interrupted()),
    };
    let write = async {
        layout.refuse_terminal(&sink, &name)?;
        let written = on_a_thread(move || {
            let mut file = Packed::new(sink, layout.compression)?;
            generate::write_companies(&mut file, args.companies, args.seed)?;
            file.finish()
        });
        unless_reader_left(written.await?, &name)
    };
    let written = tokio::select! {
        written = write => written,
        () = shutdown.requested() => Err(interrupted()),
    };
    match written {
        Ok(Some(_)) => placement.place(shutdown).await,
        Ok(None) => Ok(()),
        Err(error) => Err(placement.discard(error).await),
    }
}
