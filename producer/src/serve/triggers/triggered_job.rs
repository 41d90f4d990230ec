//! Makes the one job of a trigger. Its name is derived from what has triggered it, so that whoever is told of the same thing again, here or at
//! another gateway, finds the job that was made of it, and goes on with it if its gateway was killed in the middle.

use std::sync::Arc;
use std::time::Duration;

use rollcall_shared::broker::{Backoff, BrokerError};
use rollcall_shared::message::{Job, JobStatus, State};

use crate::blocking::on_a_thread_of_its_own;
use crate::cli::EnqueueArgs;
use crate::enqueue;
use crate::error::ProducerError;
use crate::job_control;
use crate::serve::config::with_option_names;
use crate::serve::gateway::Gateway;

/// What became of a trigger.
#[derive(Debug)]
pub(super) enum Made {
    /// Its job is wholly enqueued, now or before.
    Sealed { job: Job, total: Option<u64> },
    /// No job can be made of it.
    Refused(String),
}

/// Makes the job, however long the broker, the aggregator or the file's server is away; `args` has its name.
pub(super) async fn make(args: &EnqueueArgs, gateway: &Arc<Gateway>) -> Made {
    let mut backoff = Backoff::new();
    loop {
        match try_to_make(args, gateway).await {
            Ok(made) => return made,
            Err(error) => {
                tracing::warn!(event = "trigger_waits", job = args.job.as_ref().map(Job::as_str), %error, "a job cannot be made now; trying again");
            }
        }
        tokio::time::sleep(backoff.pause().max(LEAST_PAUSE)).await;
    }
}

/// A server that is away is not asked more often.
const LEAST_PAUSE: Duration = Duration::from_secs(1);

/// Makes the job, or goes on with it.
///
/// # Errors
/// One that may pass.
pub(super) async fn try_to_make(args: &EnqueueArgs, gateway: &Arc<Gateway>) -> Result<Made, ProducerError> {
    let (own, args) = (Arc::clone(gateway), args.clone());
    on_a_thread_of_its_own(async move || make_once(args, &own).await).await?
}

async fn make_once(args: EnqueueArgs, gateway: &Gateway) -> Result<Made, ProducerError> {
    let Some(job) = args.job.clone() else { return Ok(Made::Refused("expected a job's name".to_owned())) };
    let mut session = gateway.queries.session("rollcall gateway: a trigger's job").await?;
    let found = session.aggregator().await?.find_job(&job).await;
    session.close().await;
    let args = match found? {
        None => args,
        Some(status) => match made_before(&status) {
            Some(made) => return Ok(made),
            None => EnqueueArgs { job: None, continue_job: Some(job.clone()), ..args },
        },
    };
    let is_continued = args.continue_job.is_some();
    let enqueued = async {
        let prepared = enqueue::prepare(&args, &gateway.triggers).await?;
        // A gateway that is asked to stop leaves the rest to the next one.
        prepared.keep_open_if_unreadable().publish(&gateway.triggers, &rollcall_shared::lifecycle::Shutdown::never()).await
    };
    match enqueued.await {
        Ok((total, progress)) => {
            for remark in progress.remarks() {
                tracing::warn!(event = "job_remark", %job, remark, "a file was read differently from how it is written");
            }
            Ok(Made::Sealed { job, total: Some(total) })
        }
        Err(error) => {
            let reason = refused(error)?;
            if is_continued {
                end(&job, &reason, gateway).await?;
            }
            Ok(Made::Refused(reason))
        }
    }
}

/// Ends a job that nobody can go on with: its file is another one now, or gone.
///
/// # Errors
/// One that may pass.
pub(super) async fn end(job: &Job, reason: &str, gateway: &Gateway) -> Result<(), ProducerError> {
    match job_control::end(job, reason, &gateway.queries).await {
        Ok(_) | Err(ProducerError::JobState(_) | ProducerError::NoSuchJob(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// What the job of this status says of its trigger; `None` if it is to go on.
fn made_before(status: &JobStatus) -> Option<Made> {
    let JobStatus { job, state, sealed, reason, total, .. } = status;
    match (sealed, state) {
        (Some(_), _) => Some(Made::Sealed { job: job.clone(), total: *total }),
        (None, State::Unsealed | State::Running | State::Paused) => None,
        // It ended before the end of its file: its file was bad, or a person cancelled it, or its deadline passed.
        (None, _) => {
            let reason = reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
            Some(Made::Refused(format!("job {job} ended as {state} before all of it was enqueued{reason}")))
        }
    }
}

/// The reason if trying again does not help.
fn refused(error: ProducerError) -> Result<String, ProducerError> {
    match &error {
        ProducerError::BadInput(bad) if bad.may_pass() => Err(error),
        ProducerError::Aborted { bad, .. } if bad.may_pass() => Err(error),
        ProducerError::Usage(_) | ProducerError::BadInput(_) | ProducerError::Aborted { .. } => {
            Ok(with_option_names(&error.to_string()))
        }
        ProducerError::Broker(BrokerError::BadUrl { .. } | BrokerError::NotJson(_)) => Ok(error.to_string()),
        _ => Err(error),
    }
}
