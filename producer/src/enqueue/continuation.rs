//! Continues a job whose producer was killed in mid-file.

use std::fmt::Display;

use indicatif::HumanCount;
use rollcall_shared::message::{Job, JobStatus, Opened, Reading};

use crate::broker_session::BrokerAccess;
use crate::cli::EnqueueArgs;
use crate::error::ProducerError;
use crate::location::Location;
use crate::source::format_of;

/// The job's `opened` event, and the index to continue from: every company before it is enqueued.
///
/// # Errors
/// [`ProducerError::NothingToContinue`] if nothing is left to enqueue, [`ProducerError::Usage`] if the file is not the one with which
/// the job was opened.
pub(super) async fn position(
    job: &Job,
    args: &EnqueueArgs,
    content_hash: Option<&str>,
    broker: &BrokerAccess,
) -> Result<(Opened, u64), ProducerError> {
    let mut session = broker.session(&format!("rollcall producer: continue {job}")).await?;
    let status = session.aggregator().await?.job(job).await?;
    session.close().await;
    refuse_ended(&status)?;
    refuse_other_file(&status, args, content_hash)?;
    let position = status.enqueued;
    let opened = opened(status, args)?;
    Ok((opened, position))
}

fn refuse_ended(status: &JobStatus) -> Result<(), ProducerError> {
    let JobStatus { job, state, .. } = status;
    if let Some(done_at) = &status.done_at {
        return Err(ProducerError::NothingToContinue(format!(
            "{job} ended as {state} at {done_at}; `producer redrive {job} --missing --file FILE` enqueues what has no outcome"
        )));
    }
    match status.total {
        None => Ok(()),
        Some(total) => Err(ProducerError::NothingToContinue(format!(
            "all {} companies of {job} are enqueued; `producer watch {job}` follows it",
            HumanCount(total)
        ))),
    }
}

fn refuse_other_file(status: &JobStatus, args: &EnqueueArgs, content_hash: Option<&str>) -> Result<(), ProducerError> {
    let (job, file) = (&status.job, &args.file);
    let source = status.source.as_deref().unwrap_or("?");
    match (status.settings.content_hash.as_deref(), content_hash) {
        (Some(expected), Some(found)) if expected == found => Ok(()),
        (Some(expected), Some(found)) => Err(ProducerError::Usage(format!(
            "expected the file that job {job} was opened with ({source}, {expected}), found another in {file} ({found}); continue with the same file, or cancel the job"
        ))),
        (Some(_), None) => {
            Err(ProducerError::Usage(format!("expected a file that can be read twice, found {file}; give the file itself")))
        }
        (None, _) => Err(ProducerError::Usage(format!(
            "expected a job that was enqueued from a file, found that {job} came by {source}, which cannot be read again; cancel the job"
        ))),
    }
}

fn opened(status: JobStatus, args: &EnqueueArgs) -> Result<Opened, ProducerError> {
    let JobStatus { job, opening, model, source, opened_at, settings, .. } = status;
    let (Some(model), Some(source)) = (model, source) else {
        return Err(ProducerError::LedgerIncomplete(format!(
            "expected the ledger to have the opening of job {job}, found only its companies; cancel the job, and enqueue its file as a new one"
        )));
    };
    refuse_other(&job, "--model", Some(&model), args.model.as_ref())?;
    Ok(Opened { job, opening, model, source, opened_at, settings })
}

/// How to read the file: as when the job was opened, so that each row is the same company again.
///
/// # Errors
/// [`ProducerError::Usage`] if `args` ask for something else.
pub(super) fn reading(opened: &Opened, args: &EnqueueArgs) -> Result<Reading, ProducerError> {
    let (job, then) = (&opened.job, opened.settings.reading.clone());
    let now = &args.reading;
    let source = opened.source.parse().unwrap_or_else(|_| Location::Path(opened.source.clone().into()));
    let format = format_of(&source, then.format);
    refuse_other(job, "--format", format.as_ref(), now.format.as_ref())?;
    refuse_other(job, "--delimiter", then.delimiter.as_ref(), now.delimiter.as_ref())?;
    let named = |columns: &[String]| (!columns.is_empty()).then(|| columns.join(","));
    refuse_other(job, "--columns", named(&then.columns).as_ref(), named(&now.columns).as_ref())?;
    refuse_other(job, "--id-column", then.id_column.as_ref(), now.id_column.as_ref())?;
    refuse_other(job, "--max-record-bytes", Some(&then.max_record_bytes), now.max_record_bytes.as_ref())?;
    if now.allow_duplicate_ids && !then.allow_duplicate_ids {
        return Err(ProducerError::Usage(format!(
            "expected no --allow-duplicate-ids, without which job {job} was opened, found it; leave it out"
        )));
    }
    Ok(Reading { format, ..then })
}

fn refuse_other<T: Display + PartialEq>(job: &Job, flag: &str, then: Option<&T>, now: Option<&T>) -> Result<(), ProducerError> {
    let Some(other) = now.filter(|&now| then != Some(now)) else { return Ok(()) };
    let expected = match then {
        Some(then) => format!("{flag} {then}, with which job {job} was opened"),
        None => format!("no {flag}, without which job {job} was opened"),
    };
    Err(ProducerError::Usage(format!("expected {expected}, found {flag} {other}; leave it out, or cancel the job")))
}
