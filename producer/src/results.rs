//! Fetches a job's results: replays the ledger from the job's first record to its done event, one row a company.
//!
//! Rows come in the order in which the companies were answered for, so that memory stays flat whatever the job's size; each
//! has its `index`, the row of the company in its file.

pub(crate) mod newest;
pub(crate) mod replay;
mod show;
mod write;

use rollcall_shared::broker::{BrokerArgs, connect};
use rollcall_shared::lifecycle::Shutdown;
use rollcall_shared::message::{Counted, JobStatus};
use serde_json::json;

use crate::ask::Asker;
use crate::cli::{Output, ResultsArgs};
use crate::run::Failure;
use crate::status::{print, thousands};
use newest::Newest;
use replay::{Replay, Replayed, ResultBody};
use write::Writer;

/// Writes the results of a job to a file, or shows some.
///
/// # Errors
/// [`Failure`]; also where the job has not ended and `--partial` is not given.
pub async fn fetch(args: ResultsArgs, broker: &BrokerArgs, output: Output, shutdown: &Shutdown) -> Result<(), Failure> {
    let mut writer = args.to.as_deref().map(Writer::create).transpose()?;
    let Fetched { status, rows, shown } = tokio::select! {
        fetched = replay(&args, broker, writer.as_mut()) => fetched?,
        () = shutdown.requested() => return Err(Failure::Interrupted("interrupted; nothing was written".to_owned())),
    };
    match writer {
        Some(writer) => conclude(writer, &status, rows, output),
        None => show::show(&shown, output),
    }
}

struct Fetched {
    status: JobStatus,
    /// How many companies had a result that counts.
    rows: u64,
    /// Their results, where no file takes them.
    shown: Vec<(Counted, Vec<u8>)>,
}

/// Hands each result that counts to `writer`, or keeps the few that are to be shown.
async fn replay(args: &ResultsArgs, broker: &BrokerArgs, mut writer: Option<&mut Writer>) -> Result<Fetched, Failure> {
    let link = connect(broker, &format!("rollcall producer: results of {}", args.job)).await?;
    let mut asker = Asker::open(&link, &broker.topology()).await?;
    let status = asker.known(&args.job).await?;
    refuse_unfinished(&status, args.partial)?;
    let expected = status.succeeded + status.failed;
    let most = if writer.is_some() { expected } else { expected.min(args.show.into()) };
    let mut newest = Newest::of(&link, &broker.topology(), &mut asker, &status).await?;
    let mut replay = Replay::open(link.channel().await?, &broker.topology(), &status).await?;
    let mut shown = Vec::new();
    while newest.seen() < most {
        let Some(replayed) = replay.next().await? else { break };
        let Replayed::Result(counted, body) = replayed else { continue };
        if !newest.wins(&counted) {
            continue;
        }
        match &mut writer {
            Some(writer) => writer.write(&ResultBody::read(&counted, &body))?,
            None => shown.push((counted, body)),
        }
    }
    link.close().await;
    Ok(Fetched { status, rows: newest.seen(), shown })
}

fn refuse_unfinished(status: &JobStatus, partial: bool) -> Result<(), Failure> {
    if status.done_at.is_some() || partial {
        return Ok(());
    }
    let counted = thousands(status.succeeded + status.failed);
    Err(Failure::Other(format!(
        "expected a job that has ended, found {} {} with {counted} results so far; wait with `producer watch {}`, or take what is there with --partial",
        status.job, status.state, status.job
    )))
}

fn conclude(writer: Writer, status: &JobStatus, rows: u64, output: Output) -> Result<(), Failure> {
    let expected = status.succeeded + status.failed;
    if rows < expected {
        return Err(Failure::Other(format!(
            "expected {expected} results of job {} in the ledger, found {rows}: its retention has dropped the others; nothing was written",
            status.job
        )));
    }
    let file = writer.finish()?;
    let name = file.display().to_string();
    print(output, &json!({ "job": status.job, "state": status.state, "rows": rows, "file": name }), || {
        format!("{name}: {} results of job {}, which {}", thousands(rows), status.job, ended(status))
    })
}

fn ended(status: &JobStatus) -> String {
    if status.done_at.is_some() { status.state.to_string() } else { format!("is still {}", status.state) }
}
