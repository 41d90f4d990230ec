//! Going on with a job whose producer was killed.

use rollcall_shared::broker::{BrokerArgs, connect};
use rollcall_shared::message::{Job, JobStatus, Opened};

use crate::ask::Asker;
use crate::cli::EnqueueArgs;
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
    eprintln!("job {job}: going on after the {} companies that are enqueued", thousands(position));
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
    let JobStatus { job, model, source, opened_at, settings, .. } = status;
    let (Some(model), Some(source), Some(opened_at)) = (model, source, opened_at) else {
        return Err(Failure::Other(format!(
            "expected job {job} to have been opened, found companies and no opening in the ledger"
        )));
    };
    if let Some(other) = args.model.as_ref().filter(|other| **other != model) {
        return Err(Failure::Usage(format!("expected model {model}, with which job {job} was opened, found --model {other}")));
    }
    Ok(Opened { job, model, source, opened_at, settings })
}
