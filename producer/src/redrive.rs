//! Enqueues companies of a job once more: some of a job that has ended, or the missing ones of a job that cannot end.

mod records;
mod selection;
mod verify_ids;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use indicatif::HumanCount;
use roaring::RoaringBitmap;
use rollcall_shared::broker::{BrokerArgs, BrokerConnection, connect};
use rollcall_shared::lifecycle::Shutdown;
use rollcall_shared::message::{Indices, Job, JobEvent, JobStatus, Model, Opened, Redriven, Timestamp};
use serde_json::json;

use crate::aggregator_client::AggregatorClient;
use crate::broker_session::BrokerAccess;
use crate::cli::{Output, RedriveArgs};
use crate::enqueue::content_hash::pin;
use crate::enqueue::job_publisher::{JobPublisher, Scope};
use crate::enqueue::rows::Rows;
use crate::enqueue::warn_if_nobody_scores;
use crate::error::ProducerError;
use crate::job_control::publish_event;
use crate::output::print;
use crate::watch;
use records::Records;

/// The companies to be enqueued once more, with their records. Nothing has changed yet.
struct Prepared {
    link: BrokerConnection,
    aggregator: AggregatorClient,
    status: JobStatus,
    opened: Opened,
    /// How many companies the job has, if that is known.
    total: Option<u64>,
    selected: RoaringBitmap,
    rows: Rows,
}

/// Companies that were enqueued once more.
pub(crate) struct EnqueuedAgain {
    pub(crate) model: Model,
    pub(crate) companies: u64,
    /// How often the job has been redriven now.
    pub(crate) round: u32,
}

/// Enqueues the companies that `args` select; with `--wait`, follows the job to its end.
///
/// # Errors
/// Nothing is enqueued if a company's record cannot be found. Once something may have changed, every error is
/// [`ProducerError::RedriveIncomplete`].
pub async fn redrive(args: RedriveArgs, broker: &BrokerArgs, output: Output, shutdown: &Shutdown) -> Result<(), ProducerError> {
    let EnqueuedAgain { model, companies, round } = enqueue_again(&args, broker, shutdown).await?;
    let job = args.job;
    if args.wait {
        let done = watch::follow(&job, broker, shutdown, None).await?;
        return watch::conclude(&done, output);
    }
    warn_if_nobody_scores(&job, &model, &BrokerAccess::Direct(broker.clone())).await;
    print(output, &json!({ "job": job, "companies": companies, "redrives": round }), || {
        format!("job {job}: enqueued {} companies once more\nfollow it with `producer watch {job}`", HumanCount(companies))
    })
}

/// Enqueues the companies that `args` select.
///
/// # Errors
/// As [`redrive`].
pub(crate) async fn enqueue_again(
    args: &RedriveArgs,
    broker: &BrokerArgs,
    shutdown: &Shutdown,
) -> Result<EnqueuedAgain, ProducerError> {
    let mut prepared = tokio::select! {
        prepared = prepare(args, broker) => prepared?,
        () = shutdown.requested() => return Err(ProducerError::Interrupted("interrupted; nothing was redriven".to_owned())),
    };
    let round = match prepared.status.done_at {
        Some(_) => reopen(&mut prepared, args, broker, shutdown).await?,
        // No outcome is revoked: the first result of a company counts, of this enqueuing or of one that was thought lost.
        None => prepared.status.redrives,
    };
    let Prepared { link, opened, selected, rows, .. } = prepared;
    let (model, companies) = (opened.model.clone(), selected.len());
    let access = BrokerAccess::Direct(broker.clone());
    let publisher = JobPublisher::new(opened, Scope::Redriven { round }, rows, Arc::new(AtomicU64::new(0)));
    let published = publisher.publish_all(&access, shutdown).await.map_err(|error| incomplete(args, error))?;
    if published < companies {
        let lost = format!("expected {companies} records, found {published}");
        return Err(incomplete(args, ProducerError::LedgerIncomplete(lost)));
    }
    link.close().await;
    Ok(EnqueuedAgain { model, companies, round })
}

/// Finds the companies and their records; changes nothing.
async fn prepare(args: &RedriveArgs, broker: &BrokerArgs) -> Result<Prepared, ProducerError> {
    let file = match args.file.clone() {
        Some(file) => Some(pin(file).await?),
        None => None,
    };
    let args = &RedriveArgs { file, ..args.clone() };
    let link = connect(broker, &format!("rollcall producer: redrive {}", args.job)).await?;
    let mut aggregator = AggregatorClient::open(&link, &broker.topology()).await?;
    let status = aggregator.find_job(&args.job).await?.ok_or_else(|| ProducerError::NoJobToRedrive(args.job.clone()))?;
    let opened = opened(&status)?;
    let rows = records::count_rows(args, &status.settings.reading).await?;
    let at_least = selection::total(&status, rows)?;
    let total = status.sealed.or(rows);
    let selected = selection::select(args, &status, at_least, &mut aggregator).await?;
    let records = Records::find(args, &selected, &status, &link, broker).await?;
    let rows = records.rows(selected.clone()).await?;
    Ok(Prepared { link, aggregator, status, opened, total, selected, rows })
}

fn opened(status: &JobStatus) -> Result<Opened, ProducerError> {
    let JobStatus { job, opening, model, source, opened_at, settings, .. } = status.clone();
    let missing = || {
        ProducerError::LedgerIncomplete(format!(
            "expected the ledger to have the opening of job {job}, found none; enqueue its file as a new job"
        ))
    };
    Ok(Opened { opening, model: model.ok_or_else(missing)?, source: source.unwrap_or_default(), opened_at, settings, job })
}

/// Publishes that the outcomes of these companies no longer count; returns the number of the redrive.
async fn reopen(
    prepared: &mut Prepared,
    args: &RedriveArgs,
    broker: &BrokerArgs,
    shutdown: &Shutdown,
) -> Result<u32, ProducerError> {
    let Prepared { link, aggregator, status, total, selected, .. } = prepared;
    let (job, round, by) = (status.job.clone(), status.redrives + 1, Job::unique().to_string());
    let redriven = Redriven {
        job: job.clone(),
        round,
        by: by.clone(),
        indices: Indices(selected.clone()),
        companies: selected.len(),
        total: *total,
        redriven_at: Some(Timestamp::now()),
        opening: status.opening,
    };
    let reopened = async {
        publish_event(link, link.channel().await?, &broker.topology(), JobEvent::Redriven(redriven)).await?;
        aggregator.wait_until(&job, "be redriven", |status| status.redrives >= round).await
    };
    let now = tokio::select! {
        now = reopened => now,
        () = shutdown.requested() => Err(ProducerError::Interrupted("interrupted before anything was enqueued".to_owned())),
    };
    let now = now.map_err(|error| incomplete(args, error))?;
    if now.redriven_by.as_ref() == Some(&by) {
        return Ok(round);
    }
    Err(ProducerError::JobState(format!(
        "expected to redrive job {job}, found that another producer redrives it now; nothing was enqueued"
    )))
}

/// Outcomes may have been revoked while not all companies are enqueued. The error names the command that enqueues the rest.
fn incomplete(args: &RedriveArgs, error: ProducerError) -> ProducerError {
    let job = args.job.clone();
    let mut rest = vec!["producer".to_owned(), "redrive".to_owned(), job.to_string(), "--missing".to_owned()];
    let file = args.file.as_ref().map(ToString::to_string);
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
    ProducerError::RedriveIncomplete { error: Box::new(error), rest: shell_words::join(rest), job }
}
