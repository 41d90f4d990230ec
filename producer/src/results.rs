//! Fetches a job's results: reads the ledger from the job's first record to its done event, one row a company.
//!
//! Rows come in the order in which the companies were scored, so that memory stays flat whatever the job's size; each has its
//! `index`, the row of the company in its file.

pub(crate) mod latest_round;
pub(crate) mod replay;

mod show;

mod columns;
mod parquet;
mod write;

use std::path::Path;

use indicatif::HumanCount;
use rollcall_shared::broker::{BrokerArgs, connect};
use rollcall_shared::lifecycle::Shutdown;
use rollcall_shared::message::{Format, JobStatus, ResultBody, State};
use rollcall_shared::terminal::{escape_controls, to_stderr};
use serde_json::json;

use crate::aggregator_client::AggregatorClient;
use crate::blocking::on_a_thread;
use crate::cli::{Output, ResultsArgs};
use crate::destination::{self, Layout, is_standard_output, unless_reader_left};
use crate::error::ProducerError;
use crate::output::{print, print_on_stderr};
use crate::read_ahead::{Batch, Sender, read_ahead};
use latest_round::LatestRound;
use replay::{Replay, Replayed};
use show::Shown;
use write::{Results, Writer};

/// Writes the results of a job to a file, or shows some.
///
/// # Errors
/// [`ProducerError`]; also if the job has not ended and `--partial` is not given.
pub async fn fetch(args: ResultsArgs, broker: &BrokerArgs, output: Output, shutdown: &Shutdown) -> Result<(), ProducerError> {
    let fetched = async {
        match &args.to {
            Some(path) => match write_to(path, &args, broker).await? {
                Some((status, rows)) => conclude(path, &status, rows, output),
                None => Ok(()),
            },
            None => show_some(&args, broker, output).await,
        }
    };
    tokio::select! {
        fetched = fetched => fetched,
        () = shutdown.requested() => Err(ProducerError::Interrupted("interrupted; no file was written".to_owned())),
    }
}

async fn show_some(args: &ResultsArgs, broker: &BrokerArgs, output: Output) -> Result<(), ProducerError> {
    let (to, mut results) = read_ahead::<Results>();
    let shown = async {
        let mut shown = Shown::new(output);
        while let Some(some) = results.recv().await {
            some.iter().for_each(|(counted, body)| shown.add(&ResultBody::read(counted, body)));
        }
        shown
    };
    let (replayed, shown) = tokio::join!(replay(args, broker, to), shown);
    replayed?;
    shown.show()
}

/// How results are written to `path`.
///
/// # Errors
/// [`ProducerError::Usage`] if neither its name nor the `flag` says so.
pub(crate) fn layout_of(path: &Path, format: Option<Format>, flag: &str) -> Result<Layout, ProducerError> {
    Layout::of(path, format).ok_or_else(|| {
        let name = destination::name(path);
        ProducerError::Usage(format!(
            "expected --to with a name ending in .csv, .tsv, .jsonl, .ndjson or .parquet, then .gz or .zst if need be, found {name}; say what to write with {flag}"
        ))
    })
}

/// Writes all results of a job to `path`; returns the job's status and the number of rows, or `None` if the reader of a pipe has read
/// enough. Writes on a thread of its own, since a pipe may block while a signal has to be handled.
///
/// # Errors
/// As [`fetch`].
pub(crate) async fn write_to(
    path: &Path,
    args: &ResultsArgs,
    broker: &BrokerArgs,
) -> Result<Option<(JobStatus, u64)>, ProducerError> {
    let name = destination::name(path);
    let layout = layout_of(path, args.format, "--format")?;
    let (file, placement) = destination::open(path).await?;
    layout.refuse_terminal(&file, &name)?;
    let (to, results) = read_ahead();
    let writing = on_a_thread(move || Writer::write_all(file, layout, results));
    let (replayed, written) = tokio::join!(replay(args, broker, to), writing);
    let Some(writer) = unless_reader_left(written?, &name)? else { return Ok(None) };
    let (status, rows) = replayed?;
    refuse_incomplete(&status, rows)?;
    let finished = on_a_thread(move || writer.finish()).await?;
    Ok(unless_reader_left(finished.and_then(|()| placement.place()), &name)?.map(|()| (status, rows)))
}

/// Sends each result that counts, or only as many as are to be shown; returns the job's status, and how many companies had a result
/// that counts. Stops early if the receiver is dropped.
async fn replay(args: &ResultsArgs, broker: &BrokerArgs, to: Sender<Results>) -> Result<(JobStatus, u64), ProducerError> {
    let link = connect(broker, &format!("rollcall producer: results of {}", args.job)).await?;
    let mut aggregator = AggregatorClient::open(&link, &broker.topology()).await?;
    let status = aggregator.job(&args.job).await?;
    refuse_unfinished(&status, args.partial)?;
    let expected = status.succeeded + status.failed;
    let most = if args.to.is_some() { expected } else { expected.min(args.show.into()) };
    let mut latest = LatestRound::of(&link, &broker.topology(), &mut aggregator, &status).await?;
    let mut replay = Replay::open(&link, &broker.topology(), &status).await?;
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
    link.close().await;
    Ok((status, latest.seen()))
}

fn refuse_unfinished(status: &JobStatus, partial: bool) -> Result<(), ProducerError> {
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

fn conclude(path: &Path, status: &JobStatus, rows: u64, output: Output) -> Result<(), ProducerError> {
    let (name, job) = (destination::name(path), &status.job);
    let document = json!({ "job": job, "state": status.state, "rows": rows, "file": name });
    let ended = match status.state {
        state if status.done_at.is_none() => format!("is still {state}"),
        state @ State::Cancelled => format!("was {state}"),
        state => state.to_string(),
    };
    let line = format!("{}: {} results of job {job}, which {ended}", escape_controls(&name), HumanCount(rows));
    if !is_standard_output(path) {
        return print(output, &document, || line);
    }
    // Standard output has the rows alone.
    match output {
        Output::Text => to_stderr(line),
        Output::Json => print_on_stderr(&document),
    }
    Ok(())
}
