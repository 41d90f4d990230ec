//! Selects the companies to be enqueued once more.

use indicatif::HumanCount;
use roaring::RoaringBitmap;
use rollcall_shared::message::{CompanySet, Indices, JobStatus};

use crate::aggregator_client::AggregatorClient;
use crate::cli::RedriveArgs;
use crate::error::ProducerError;

/// How many companies the job has. A job that ended before the end of its file has at least its `total`; `rows` of a
/// file is exact.
///
/// # Errors
/// [`ProducerError::Usage`] if the number is unknown, or the file contradicts it.
pub(super) fn total(status: &JobStatus, rows: Option<u64>) -> Result<u64, ProducerError> {
    let job = &status.job;
    // The producer of another job may still enqueue the rest, so what is missing is unknown.
    let is_over = status.done_at.is_some() || status.redrives > 0;
    let least = status.total.filter(|_| is_over || status.sealed.is_some());
    match (status.sealed, least, rows.filter(|_| least.is_some())) {
        (Some(total), _, Some(rows)) if rows != total => Err(ProducerError::Usage(format!(
            "expected a file with the {} companies of job {job}, found {}; its rows are known by their numbers",
            HumanCount(total),
            HumanCount(rows)
        ))),
        (_, Some(least), Some(rows)) if rows < least => Err(ProducerError::Usage(format!(
            "expected a file with at least the {} companies of job {job}, found {}; its rows are known by their numbers",
            HumanCount(least),
            HumanCount(rows)
        ))),
        (_, _, Some(rows)) => Ok(rows),
        (Some(total), _, None) | (None, Some(total), None) => Ok(total),
        (_, None, None) => Err(ProducerError::Usage(format!(
            "expected job {job} to have ended, found it {}; go on with `producer enqueue --continue {job} FILE`, or cancel it",
            status.state
        ))),
    }
}

/// The companies that `args` select.
///
/// # Errors
/// [`ProducerError::Usage`] if there are none, or the job has not ended and more than its missing companies are selected.
pub(super) async fn select(
    args: &RedriveArgs,
    status: &JobStatus,
    total: u64,
    aggregator: &mut AggregatorClient,
) -> Result<RoaringBitmap, ProducerError> {
    let only_missing = args.missing && args.cause.is_empty() && args.index.is_none();
    if status.done_at.is_none() && !only_missing {
        return Err(ProducerError::Usage(format!(
            "expected a job that has ended, found {} {}; wait with `producer watch {0}`, or enqueue what got lost with --missing",
            status.job, status.state
        )));
    }
    let mut selected = RoaringBitmap::new();
    for cause in &args.cause {
        selected |= companies(args, aggregator, CompanySet::Cause(cause.clone())).await?;
    }
    if let Some(Indices(indices)) = &args.index {
        if let Some(beyond) = indices.max().filter(|&last| u64::from(last) >= total) {
            return Err(ProducerError::Usage(format!("expected indices from 0 to {}, found {beyond}", total.saturating_sub(1))));
        }
        selected |= indices;
    }
    if args.missing {
        let expected = if status.redrives > 0 && status.done_at.is_none() {
            // The job waits for the outcomes of these companies only; outcomes of others would not count.
            companies(args, aggregator, CompanySet::Redriven).await?
        } else {
            (0..u32::try_from(total).unwrap_or(u32::MAX)).collect()
        };
        selected |= expected - companies(args, aggregator, CompanySet::Counted).await?;
    }
    if args.cause.is_empty() && args.index.is_none() && !args.missing {
        selected = companies(args, aggregator, CompanySet::Failed).await?;
    }
    if selected.is_empty() {
        let what = if args.cause.is_empty() { String::new() } else { format!(" for cause {}", args.cause.join(", ")) };
        return Err(ProducerError::Usage(format!(
            "expected companies to enqueue once more, found none{what}; `producer failures {}` shows what there is",
            args.job
        )));
    }
    Ok(selected)
}

async fn companies(
    args: &RedriveArgs,
    aggregator: &mut AggregatorClient,
    which: CompanySet,
) -> Result<RoaringBitmap, ProducerError> {
    match aggregator.companies(&args.job, which).await? {
        Some(Indices(indices)) => Ok(indices),
        None => Err(ProducerError::LedgerIncomplete(format!(
            "expected the aggregator to know the companies of job {}, found that it ended too long ago; enqueue them as a new job",
            args.job
        ))),
    }
}
