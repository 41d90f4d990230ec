//! Going on with a job whose producer was killed.

use std::fmt::Display;
use std::path::Path;

use rollcall_shared::broker::{BrokerArgs, connect};
use rollcall_shared::message::{Job, JobStatus, Opened, Reading};
use rollcall_shared::terminal::to_stderr;

use crate::ask::Asker;
use crate::cli::EnqueueArgs;
use crate::companies::format_of;
use crate::run::Failure;
use crate::status::thousands;

/// What the job was opened with, and the index to go on from: every company before it is enqueued.
///
/// # Errors
/// [`Failure`], where there is nothing to go on with, or the file is not the one that the job was opened with.
pub(super) async fn position(
    job: &Job,
    args: &EnqueueArgs,
    content_hash: Option<&str>,
    broker: &BrokerArgs,
) -> Result<(Opened, u64), Failure> {
    let link = connect(broker, &format!("rollcall producer: resume {job}")).await?;
    let status = Asker::open(&link, &broker.topology()).await?.known(job).await?;
    link.close().await;
    refuse_ended(&status)?;
    refuse_other_file(&status, args, content_hash)?;
    let position = status.enqueued;
    let opened = opened(status, args)?;
    to_stderr(format_args!("job {job}: going on after the {} companies that are enqueued", thousands(position)));
    Ok((opened, position))
}

fn refuse_ended(status: &JobStatus) -> Result<(), Failure> {
    let JobStatus { job, state, .. } = status;
    if let Some(done_at) = &status.done_at {
        return Err(Failure::Usage(format!(
            "expected a job that waits for the rest of its file, found that {job} ended as {state} at {done_at}; `producer redrive {job} --missing --file FILE` enqueues what has no outcome"
        )));
    }
    match status.total {
        None => Ok(()),
        Some(total) => Err(Failure::Usage(format!(
            "expected a job that waits for the rest of its file, found that all {} companies of {job} are enqueued; `producer watch {job}` follows it",
            thousands(total)
        ))),
    }
}

fn refuse_other_file(status: &JobStatus, args: &EnqueueArgs, content_hash: Option<&str>) -> Result<(), Failure> {
    let (job, file) = (&status.job, args.file.display());
    let source = status.source.as_deref().unwrap_or("?");
    match (status.settings.content_hash.as_deref(), content_hash) {
        (Some(expected), Some(found)) if expected == found => Ok(()),
        (Some(expected), Some(found)) => Err(Failure::Usage(format!(
            "expected the file that job {job} was opened with ({source}, {expected}), found another in {file} ({found}); resume with the same file, or cancel the job"
        ))),
        (Some(_), None) => {
            Err(Failure::Usage(format!("expected a file that can be read twice, found {file}; give the file itself")))
        }
        (None, _) => Err(Failure::Usage(format!(
            "expected a job that was enqueued from a file, found that {job} came by {source}, which cannot be read again; cancel the job"
        ))),
    }
}

fn opened(status: JobStatus, args: &EnqueueArgs) -> Result<Opened, Failure> {
    let JobStatus { job, opening, model, source, opened_at, settings, .. } = status;
    let (Some(model), Some(source), Some(opened_at)) = (model, source, opened_at) else {
        return Err(Failure::Other(format!(
            "expected job {job} to have been opened, found companies and no opening in the ledger"
        )));
    };
    refuse_other(&job, "--model", Some(&model), args.model.as_ref())?;
    Ok(Opened { job, opening, model, source, opened_at, settings })
}

/// How the file is read: as it was when the job was opened, or its rows would not come to the same companies.
///
/// # Errors
/// [`Failure::Usage`], where `args` ask for something else.
pub(super) fn reading(opened: &Opened, args: &EnqueueArgs) -> Result<Reading, Failure> {
    let (job, as_then) = (&opened.job, opened.settings.reading.clone());
    let format = format_of(Path::new(&opened.source), as_then.format);
    refuse_other(job, "--format", format.as_ref(), args.format.as_ref())?;
    refuse_other(job, "--delimiter", as_then.delimiter.as_ref(), args.delimiter.as_ref())?;
    let named = |columns: &[String]| (!columns.is_empty()).then(|| columns.join(","));
    refuse_other(job, "--columns", named(&as_then.columns).as_ref(), named(&args.columns).as_ref())?;
    refuse_other(job, "--id-column", as_then.id_column.as_ref(), args.id_column.as_ref())?;
    refuse_other(job, "--max-record-bytes", Some(&as_then.max_record_bytes), args.max_record_bytes.as_ref())?;
    if args.allow_duplicate_ids && !as_then.allow_duplicate_ids {
        return Err(Failure::Usage(format!(
            "expected no --allow-duplicate-ids, without which job {job} was opened, found it; leave it out"
        )));
    }
    Ok(Reading { format, ..as_then })
}

fn refuse_other<T: Display + PartialEq>(job: &Job, flag: &str, then: Option<&T>, now: Option<&T>) -> Result<(), Failure> {
    let Some(other) = now.filter(|&now| then != Some(now)) else { return Ok(()) };
    let expected = match then {
        Some(then) => format!("{flag} {then}, with which job {job} was opened"),
        None => format!("no {flag}, without which job {job} was opened"),
    };
    Err(Failure::Usage(format!("expected {expected}, found {flag} {other}; leave it out, or cancel the job")))
}
