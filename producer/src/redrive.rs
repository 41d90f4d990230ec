//! Enqueues companies of a job once more: some of one that has ended, or those that are missing of one that cannot end.

mod records;
mod selection;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::SystemTime;

use roaring::RoaringBitmap;
use rollcall_shared::broker::{BrokerArgs, Link, connect};
use rollcall_shared::lifecycle::Shutdown;
use rollcall_shared::message::{Indices, Job, JobEvent, JobStatus, Opened, Redriven, timestamp};
use serde_json::json;

use crate::ask::Asker;
use crate::cli::{Output, RedriveArgs};
use crate::enqueue::publish;
use crate::enqueue::session::{Enqueuing, Part};
use crate::orders::say;
use crate::run::Failure;
use crate::status::{print, thousands};
use crate::watch;
use records::Records;

/// Enqueues what `args` names; with `--wait`, follows the job to its end.
///
/// # Errors
/// [`Failure`]; nothing is enqueued where a company's record cannot be found.
pub async fn redrive(args: RedriveArgs, broker: &BrokerArgs, output: Output, shutdown: &Shutdown) -> Result<(), Failure> {
    let link = connect(broker, &format!("rollcall producer: redrive {}", args.job)).await?;
    let mut asker = Asker::open(&link, &broker.topology()).await?;
    let status = asker.known(&args.job).await?;
    let opened = opened(&status)?;
    let rows = records::count_rows(&args)?;
    let total = selection::total(&status, rows)?;
    let selected = selection::select(&args, &status, total, &mut asker).await?;
    let records = Records::find(&args, &selected, &status, &link, broker).await?;
    let round = match status.done_at {
        Some(_) => reopen(&link, &mut asker, broker, &status, &selected, status.sealed.or(rows)).await?,
        // Nothing that counts is taken back: whoever comes first, this or what was thought lost, counts.
        None => status.redrives,
    };
    let (job, companies) = (args.job.clone(), selected.len());
    let rows = records.rows(selected).await?;
    let enqueued = Arc::new(AtomicU64::new(0));
    let enqueuing = Enqueuing::new(opened, Part::Some { round }, rows, enqueued);
    let published = publish(enqueuing, &job, broker, shutdown).await.map_err(|error| unfinished(&job, error))?;
    if published < companies {
        let lost = format!("expected {companies} records, found {published}");
        return Err(unfinished(&job, Failure::Other(lost)));
    }
    link.close().await;
    if args.wait {
        let done = watch::follow(&job, broker, shutdown, None).await?;
        return watch::conclude(&done, output);
    }
    print(output, &json!({ "job": job, "companies": companies, "redrives": round }), || {
        format!("job {job}: enqueued {} companies once more\nfollow it with `producer watch {job}`", thousands(companies))
    })
}

/// Says in the ledger that these companies' outcomes no longer count, and returns how often the job has now been redriven.
async fn reopen(
    link: &Link,
    asker: &mut Asker,
    broker: &BrokerArgs,
    status: &JobStatus,
    selected: &RoaringBitmap,
    total: Option<u64>,
) -> Result<u32, Failure> {
    let (job, round, by) = (status.job.clone(), status.redrives + 1, Job::unique().to_string());
    let redriven = Redriven {
        job: job.clone(),
        round,
        by: by.clone(),
        indices: Indices(selected.clone()),
        companies: selected.len(),
        total,
        redriven_at: timestamp(SystemTime::now()),
    };
    say(link, &broker.topology(), JobEvent::Redriven(redriven)).await?;
    let now = asker.until(&job, |status| status.redrives >= round).await?;
    if now.redriven_by.as_ref() == Some(&by) {
        return Ok(round);
    }
    Err(Failure::Other(format!("expected to redrive job {job}, found that somebody else does so now; nothing was enqueued")))
}

fn opened(status: &JobStatus) -> Result<Opened, Failure> {
    let JobStatus { job, model, source, opened_at, settings, .. } = status.clone();
    let missing = || {
        Failure::Other(format!(
            "expected the ledger to tell of which model job {job} is, found that its beginning is gone; enqueue its file as a new job"
        ))
    };
    Ok(Opened {
        model: model.ok_or_else(missing)?,
        source: source.unwrap_or_default(),
        opened_at: opened_at.unwrap_or_default(),
        settings,
        job,
    })
}

/// The outcomes are taken back and not all companies are enqueued: that can be mended.
fn unfinished(job: &Job, error: Failure) -> Failure {
    let mend = format!("`producer redrive {job} --missing` enqueues the rest (with --file, where it was given)");
    match error {
        Failure::Interrupted(_) => Failure::Interrupted(format!("interrupted before all companies were enqueued; {mend}")),
        error => Failure::Other(format!("{error}; {mend}")),
    }
}
