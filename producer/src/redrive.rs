//! Enqueues companies of a job once more: some of one that has ended, or those that are missing of one that cannot end.

mod records;
mod same_companies;
mod selection;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use roaring::RoaringBitmap;
use rollcall_shared::broker::{BrokerArgs, BrokerConnection, connect};
use rollcall_shared::lifecycle::Shutdown;
use rollcall_shared::message::{Indices, Job, JobEvent, JobStatus, Opened, Redriven, Timestamp};
use serde_json::json;

use crate::ask::Asker;
use crate::cli::{Output, RedriveArgs};
use crate::enqueue::publish;
use crate::enqueue::rows::Rows;
use crate::enqueue::session::{Enqueuing, Part};
use crate::orders::say;
use crate::run::Failure;
use crate::status::{print, thousands};
use crate::watch;
use records::Records;

/// What is to be enqueued once more; nothing has changed yet.
struct Prepared {
    link: BrokerConnection,
    asker: Asker,
    status: JobStatus,
    opened: Opened,
    /// How many companies the job has, where that is known.
    total: Option<u64>,
    selected: RoaringBitmap,
    rows: Rows,
}

/// Enqueues what `args` names; with `--wait`, follows the job to its end.
///
/// # Errors
/// [`Failure`]; nothing is enqueued where a company's record cannot be found. [`Failure::HalfRedriven`] from where on something
/// may have changed.
pub async fn redrive(args: RedriveArgs, broker: &BrokerArgs, output: Output, shutdown: &Shutdown) -> Result<(), Failure> {
    let mut prepared = tokio::select! {
        prepared = prepare(&args, broker) => prepared?,
        () = shutdown.requested() => return Err(Failure::Interrupted("interrupted; nothing was redriven".to_owned())),
    };
    let round = match prepared.status.done_at {
        Some(_) => reopen(&mut prepared, &args, broker, shutdown).await?,
        // Nothing that counts is taken back: whoever comes first, this or what was thought lost, counts.
        None => prepared.status.redrives,
    };
    let Prepared { link, opened, selected, rows, .. } = prepared;
    let (job, companies) = (args.job.clone(), selected.len());
    let enqueuing = Enqueuing::new(opened, Part::Some { round }, rows, Arc::new(AtomicU64::new(0)));
    let published = publish(enqueuing, broker, shutdown).await.map_err(|error| half_redriven(&args, error))?;
    if published < companies {
        let lost = format!("expected {companies} records, found {published}");
        return Err(half_redriven(&args, Failure::Other(lost)));
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

/// Finds the companies and their records; changes nothing.
async fn prepare(args: &RedriveArgs, broker: &BrokerArgs) -> Result<Prepared, Failure> {
    let link = connect(broker, &format!("rollcall producer: redrive {}", args.job)).await?;
    let mut asker = Asker::open(&link, &broker.topology()).await?;
    let status = asker.job(&args.job).await?.ok_or_else(|| unknown(&args.job))?;
    let opened = opened(&status)?;
    let rows = records::count_rows(args, &status.settings.reading).await?;
    let at_least = selection::total(&status, rows)?;
    let total = status.sealed.or(rows);
    let selected = selection::select(args, &status, at_least, &mut asker).await?;
    let records = Records::find(args, &selected, &status, &link, broker).await?;
    let rows = records.rows(selected.clone()).await?;
    Ok(Prepared { link, asker, status, opened, total, selected, rows })
}

/// Says in the ledger that these companies' outcomes no longer count, and returns how often the job has now been redriven.
async fn reopen(prepared: &mut Prepared, args: &RedriveArgs, broker: &BrokerArgs, shutdown: &Shutdown) -> Result<u32, Failure> {
    let Prepared { link, asker, status, total, selected, .. } = prepared;
    let (job, round, by) = (status.job.clone(), status.redrives + 1, Job::unique().to_string());
    let redriven = Redriven {
        job: job.clone(),
        round,
        by: by.clone(),
        indices: Indices(selected.clone()),
        companies: selected.len(),
        total: *total,
        redriven_at: Timestamp::now(),
        opening: status.opening,
    };
    let reopened = async {
        say(link, &broker.topology(), JobEvent::Redriven(redriven)).await?;
        asker.until(&job, "be redriven", |status| status.redrives >= round).await
    };
    let now = tokio::select! {
        now = reopened => now,
        () = shutdown.requested() => Err(Failure::Interrupted("interrupted before anything was enqueued".to_owned())),
    };
    let now = now.map_err(|error| half_redriven(args, error))?;
    if now.redriven_by.as_ref() == Some(&by) {
        return Ok(round);
    }
    Err(Failure::Other(format!("expected to redrive job {job}, found that somebody else does so now; nothing was enqueued")))
}

fn unknown(job: &Job) -> Failure {
    Failure::Usage(format!(
        "expected a job in the ledger, found none named {job}: there never was one, or its opening is gone from the ledger (retention, or a broker that lost its data), and with it what is known of its companies; `producer enqueue FILE --model MODEL` enqueues its file as a new job"
    ))
}

fn opened(status: &JobStatus) -> Result<Opened, Failure> {
    let JobStatus { job, opening, model, source, opened_at, settings, .. } = status.clone();
    let missing = || {
        Failure::Other(format!(
            "expected the ledger to tell of which model job {job} is, found that its beginning is gone; enqueue its file as a new job"
        ))
    };
    Ok(Opened {
        opening,
        model: model.ok_or_else(missing)?,
        source: source.unwrap_or_default(),
        opened_at: opened_at.ok_or_else(missing)?,
        settings,
        job,
    })
}

/// Whatever went wrong, the outcomes may have been taken back while not all companies are enqueued: that can be mended.
fn half_redriven(args: &RedriveArgs, error: Failure) -> Failure {
    let job = args.job.clone();
    let mut rest = vec!["producer".to_owned(), "redrive".to_owned(), job.to_string(), "--missing".to_owned()];
    let file = args.file.as_ref().map(|file| file.display().to_string());
    let format = args.format.map(|format| format.to_string());
    let delimiter = args.delimiter.map(|delimiter| delimiter.to_string());
    let columns = (!args.columns.is_empty()).then(|| args.columns.join(","));
    let flags = [
        ("--file", file),
        ("--format", format),
        ("--delimiter", delimiter),
        ("--columns", columns),
        ("--id-column", args.id_column.clone()),
    ];
    for (flag, value) in flags {
        rest.extend(value.into_iter().flat_map(|value| [flag.to_owned(), value]));
    }
    Failure::HalfRedriven { error: Box::new(error), rest: shell_words::join(rest), job }
}
