//! Fetches a job's results: reads the ledger from the job's first record to its done event, one row a company.
//!
//! Rows come in the order in which the companies were scored, so that memory stays flat whatever the job's size; each has its
//! `index`, the row of the company in its file.

pub(crate) mod latest_round;
pub(crate) mod replay;

mod show;

mod columns;
mod manifest;
mod parquet;
mod write;

use indicatif::HumanCount;
use rollcall_shared::broker::{BrokerArgs, BrokerConnection, connect};
use rollcall_shared::lifecycle::Shutdown;
use rollcall_shared::message::{Format, Job, JobStatus, ResultBody, State};
use rollcall_shared::terminal::{escape_controls, to_stderr};
use rollcall_shared::topology::Topology;
use serde_json::json;

use crate::aggregator_client::AggregatorClient;
use crate::blocking::on_a_thread;
use crate::cli::{Output, ResultsArgs};
use crate::destination::{self, Layout, Sink, Written, is_standard_output, unless_reader_left};
use crate::error::ProducerError;
use crate::location::Location;
use crate::output::{print, print_on_stderr};
use crate::read_ahead::{Batch, Sender, read_ahead};
use latest_round::LatestRound;
use manifest::Manifest;
use replay::{Replay, Replayed};
use show::Shown;
use write::{Results, Writer};

/// Which results of a job to write, and how.
#[derive(Debug, Clone, Copy)]
pub struct WriteOptions {
    /// The format, if the destination's name does not tell it.
    pub format: Option<Format>,
    /// Whether to write the results so far of a job that has not ended.
    pub partial: bool,
}

/// Results that have been written.
#[derive(Debug)]
pub struct Fetched {
    /// The job's status, which the results are as many as.
    pub status: JobStatus,
    /// How many results there are.
    pub rows: u64,
    /// Where their manifest is; `None` if they went to standard output, a pipe or a device.
    pub manifest: Option<Location>,
}

/// Writes the results of a job to a file, or shows some.
///
/// # Errors
/// [`ProducerError`]; also if the job has not ended and `--partial` is not given.
pub async fn fetch(args: ResultsArgs, broker: &BrokerArgs, output: Output, shutdown: &Shutdown) -> Result<(), ProducerError> {
    let Some(to) = &args.to else {
        return tokio::select! {
            shown = show_some(&args, broker, output) => shown,
            () = shutdown.requested() => Err(interrupted()),
        };
    };
    layout_of(to, args.format, "--format")?;
    let name = format!("rollcall producer: results of {}", args.job);
    let link = tokio::select! {
        link = connect(broker, &name) => link?,
        () = shutdown.requested() => return Err(interrupted()),
    };
    let options = WriteOptions { format: args.format, partial: args.partial };
    let fetched = write_to(to, &args.job, options, &link, &broker.topology(), shutdown).await?;
    link.close().await;
    fetched.map_or(Ok(()), |fetched| conclude(to, &fetched, output))
}

fn interrupted() -> ProducerError {
    ProducerError::Interrupted("interrupted; no file was written".to_owned())
}

async fn show_some(args: &ResultsArgs, broker: &BrokerArgs, output: Output) -> Result<(), ProducerError> {
    let link = connect(broker, &format!("rollcall producer: results of {}", args.job)).await?;
    let (to, mut results) = read_ahead::<Results>();
    let shown = async {
        let mut shown = Shown::new(output);
        while let Some(some) = results.recv().await {
            some.iter().for_each(|(counted, body)| shown.add(&ResultBody::read(counted, body)));
        }
        shown
    };
    let topology = broker.topology();
    let (replayed, shown) = tokio::join!(replay(&args.job, args.partial, Some(args.show.into()), &link, &topology, to), shown);
    replayed?;
    link.close().await;
    shown.show()
}

/// How results are written to a destination.
///
/// # Errors
/// [`ProducerError::Usage`] if neither its name nor the `flag` says so, or it is a web server's.
pub(crate) fn layout_of(to: &Location, format: Option<Format>, flag: &str) -> Result<Layout, ProducerError> {
    destination::refuse_web(to)?;
    Layout::of(to, format).ok_or_else(|| {
        let name = destination::name(to);
        ProducerError::Usage(format!(
            "expected --to with a name ending in .csv, .tsv, .jsonl, .ndjson or .parquet, then .gz or .zst if need be, found {name}; say what to write with {flag}"
        ))
    })
}

/// Writes all results of a job, whole or not at all, and a manifest beside them; `None` if the reader of a pipe has read enough. An
/// upload is cleaned up before this returns an error.
///
/// # Errors
/// [`ProducerError::Interrupted`] if the process is asked to stop; otherwise as [`fetch`].
pub async fn write_to(
    to: &Location,
    job: &Job,
    options: WriteOptions,
    link: &BrokerConnection,
    topology: &Topology,
    shutdown: &Shutdown,
) -> Result<Option<Fetched>, ProducerError> {
    let layout = layout_of(to, options.format, "--format")?;
    let (sink, placement) = tokio::select! {
        opened = destination::open(to) => opened?,
        () = shutdown.requested() => return Err(interrupted()),
    };
    let name = destination::name(to);
    let written = tokio::select! {
        written = write(&name, sink, layout, job, options.partial, link, topology) => written,
        () = shutdown.requested() => Err(interrupted()),
    };
    let (status, rows, written) = match written {
        Ok(Some(written)) => written,
        Ok(None) => return Ok(None),
        Err(error) => return Err(placement.discard(error).await),
    };
    let manifest = if placement.is_kept() { manifest::place_of(to) } else { None };
    placement.place(shutdown).await?;
    if let Some(place) = &manifest {
        let file = manifest::name_of(to).unwrap_or_default();
        Manifest::of(&status, rows, &file, layout, &written).write(place, shutdown).await?;
    }
    Ok(Some(Fetched { status, rows, manifest }))
}

/// Writes all results of a job into a sink that is not kept, such as the answer of a request.
///
/// # Errors
/// As [`fetch`]; those of the job itself before anything is written.
pub(crate) async fn write_into(
    sink: Sink,
    layout: Layout,
    job: &Job,
    partial: bool,
    link: &BrokerConnection,
    topology: &Topology,
) -> Result<(), ProducerError> {
    write("the answer", sink, layout, job, partial, link, topology).await.map(drop)
}

/// Writes on a thread of its own, since a pipe may block while a signal has to be handled.
async fn write(
    name: &str,
    sink: Sink,
    layout: Layout,
    job: &Job,
    partial: bool,
    link: &BrokerConnection,
    topology: &Topology,
) -> Result<Option<(JobStatus, u64, Written)>, ProducerError> {
    layout.refuse_terminal(&sink, name)?;
    let (to, results) = read_ahead();
    let writing = on_a_thread(move || Writer::write_all(sink, layout, results));
    let (replayed, written) = tokio::join!(replay(job, partial, None, link, topology, to), writing);
    let Some(writer) = unless_reader_left(written?, name)? else { return Ok(None) };
    let (status, rows) = replayed?;
    refuse_incomplete(&status, rows)?;
    let finished = on_a_thread(move || writer.finish()).await?;
    Ok(unless_reader_left(finished, name)?.map(|written| (status, rows, written)))
}

/// Sends each result that counts, or only so many; returns the job's status, and how many companies had a result that counts. Stops early
/// if the receiver is dropped.
async fn replay(
    job: &Job,
    partial: bool,
    shown: Option<u64>,
    link: &BrokerConnection,
    topology: &Topology,
    to: Sender<Results>,
) -> Result<(JobStatus, u64), ProducerError> {
    let mut aggregator = AggregatorClient::open(link, topology).await?;
    let status = aggregator.job(job).await?;
    refuse_unfinished(&status, partial)?;
    let expected = status.succeeded + status.failed;
    let most = shown.map_or(expected, |shown| expected.min(shown));
    let mut latest = LatestRound::of(link, topology, &mut aggregator, &status).await?;
    let mut replay = Replay::open(link, topology, &status).await?;
    let mut batch = Batch::new();
    while latest.seen() < most && !to.is_closed() {
        let Some(replayed) = replay.next().await? else { break };
        let Replayed::Result(counted, body) = replayed else { continue };
        if latest.counts(&counted) {
            let bytes = body.len();
            batch.add((counted, body), bytes);
        }
        if batch.is_full() {
            let (results, bytes) = batch.take();
            // A receiver that was dropped reports why.
            drop(to.send(results, bytes).await);
        }
    }
    let (results, bytes) = batch.take();
    drop(to.send(results, bytes).await);
    Ok((status, latest.seen()))
}

pub(crate) fn refuse_unfinished(status: &JobStatus, partial: bool) -> Result<(), ProducerError> {
    if status.done_at.is_some() || partial {
        return Ok(());
    }
    let counted = HumanCount(status.succeeded + status.failed);
    Err(ProducerError::JobState(format!(
        "expected a job that has ended, found {} {} with {counted} results so far; wait with `producer watch {}`, or take what is there with --partial",
        status.job, status.state, status.job
    )))
}

/// Refuses a file without all results: the ledger's retention may have dropped some.
fn refuse_incomplete(status: &JobStatus, rows: u64) -> Result<(), ProducerError> {
    let expected = status.succeeded + status.failed;
    if rows >= expected {
        return Ok(());
    }
    Err(ProducerError::LedgerIncomplete(format!(
        "expected {expected} results of job {} in the ledger, found {rows}: its retention has dropped the others; no file was written",
        status.job
    )))
}

fn conclude(to: &Location, fetched: &Fetched, output: Output) -> Result<(), ProducerError> {
    let Fetched { status, rows, manifest } = fetched;
    let (name, job) = (destination::name(to), &status.job);
    let mut document = json!({ "job": job, "state": status.state, "rows": rows, "file": name });
    if let Some(manifest) = manifest {
        document["manifest"] = manifest.to_string().into();
    }
    let ended = match status.state {
        state if status.done_at.is_none() => format!("is still {state}"),
        state @ State::Cancelled => format!("was {state}"),
        state => state.to_string(),
    };
    let line = format!("{}: {} results of job {job}, which {ended}", escape_controls(&name), HumanCount(*rows));
    if !is_standard_output(to) {
        return print(output, &document, || line);
    }
    // Standard output has the rows alone.
    match output {
        Output::Text => to_stderr(line),
        Output::Json => print_on_stderr(&document),
    }
    Ok(())
}
