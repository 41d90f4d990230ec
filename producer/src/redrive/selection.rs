//! Which companies are enqueued once more.

use roaring::RoaringBitmap;
use rollcall_shared::message::{CompanySet, Indices, JobStatus};

use crate::ask::Asker;
use crate::cli::RedriveArgs;
use crate::run::Failure;
use crate::status::thousands;

/// How many companies the job has: of one that was cut short before the end of its file, how many at least, unless a file tells.
///
/// # Errors
/// Where nobody can tell, or the file says otherwise.
pub(super) fn total(status: &JobStatus, rows: Option<u64>) -> Result<u64, Failure> {
    let job = &status.job;
    // Of a job whose producer may still come back, nobody knows what is missing.
    let is_over = status.done_at.is_some() || status.redrives > 0;
    let least = status.total.filter(|_| is_over || status.sealed.is_some());
    match (status.sealed, least, rows.filter(|_| least.is_some())) {
        (Some(total), _, Some(rows)) if rows != total => Err(Failure::Usage(format!(
            "expected a file with the {} companies of job {job}, found {}; its rows are known by their numbers",
            thousands(total),
            thousands(rows)
        ))),
        (_, Some(least), Some(rows)) if rows < least => Err(Failure::Usage(format!(
            "expected a file with at least the {} companies of job {job}, found {}; its rows are known by their numbers",
            thousands(least),
            thousands(rows)
        ))),
        (_, _, Some(rows)) => Ok(rows),
        (Some(total), _, None) | (None, Some(total), None) => Ok(total),
        (_, None, None) => Err(Failure::Usage(format!(
            "expected job {job} to have ended, found it {}; go on with `producer enqueue --resume {job} FILE`, or cancel it",
            status.state
        ))),
    }
}

/// The companies that `args` names.
///
/// # Errors
/// [`Failure::Usage`] where they are none, or the job has not ended and more is asked for than what is missing.
pub(super) async fn select(
    args: &RedriveArgs,
    status: &JobStatus,
    total: u64,
    asker: &mut Asker,
) -> Result<RoaringBitmap, Failure> {
    let only_missing = args.missing && args.cause.is_empty() && args.index.is_none();
    if status.done_at.is_none() && !only_missing {
        return Err(Failure::Usage(format!(
            "expected a job that has ended, found {} {}; wait with `producer watch {0}`, or enqueue what got lost with --missing",
            status.job, status.state
        )));
    }
    let mut selected = RoaringBitmap::new();
    for cause in &args.cause {
        selected |= known(args, asker, CompanySet::Cause(cause.clone())).await?;
    }
    if let Some(Indices(indices)) = &args.index {
        if let Some(beyond) = indices.max().filter(|&last| u64::from(last) >= total) {
            return Err(Failure::Usage(format!("expected indices from 0 to {}, found {beyond}", total.saturating_sub(1))));
        }
        selected |= indices;
    }
    if args.missing {
        let expected = if status.redrives > 0 && status.done_at.is_none() {
            // Outcomes of others would not count, and theirs is what the job waits for.
            known(args, asker, CompanySet::Redriven).await?
        } else {
            (0..u32::try_from(total).unwrap_or(u32::MAX)).collect()
        };
        selected |= expected - known(args, asker, CompanySet::Counted).await?;
    }
    if args.cause.is_empty() && args.index.is_none() && !args.missing {
        selected = known(args, asker, CompanySet::Failed).await?;
    }
    if selected.is_empty() {
        let what = if args.cause.is_empty() { String::new() } else { format!(" for cause {}", args.cause.join(", ")) };
        return Err(Failure::Usage(format!(
            "expected companies to enqueue once more, found none{what}; `producer failures {}` shows what there is",
            args.job
        )));
    }
    Ok(selected)
}

async fn known(args: &RedriveArgs, asker: &mut Asker, which: CompanySet) -> Result<RoaringBitmap, Failure> {
    match asker.companies(&args.job, which).await? {
        Some(Indices(indices)) => Ok(indices),
        None => Err(Failure::Other(format!(
            "expected the aggregator to know the companies of job {}, found that it ended too long ago; enqueue them as a new job",
            args.job
        ))),
    }
}
