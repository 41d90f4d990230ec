//! Cancel, pause and resume: publishes the event to the ledger, and waits until the aggregator has acted on it.

use rollcall_shared::broker::{BrokerArgs, BrokerConnection, BrokerError, Publisher, connect};
use rollcall_shared::message::{Cancelled, Event, Job, JobEvent, JobStatus, Pause, State, Timestamp};
use rollcall_shared::topology::Topology;

use crate::aggregator_client::AggregatorClient;
use crate::cli::Output;
use crate::error::ProducerError;
use crate::output::print;
use crate::status::done_in_words;

/// Cancels a job, and waits until it has ended.
///
/// # Errors
/// [`ProducerError::JobState`] if the job has ended already.
pub async fn cancel(job: &Job, broker: &BrokerArgs, output: Output) -> Result<(), ProducerError> {
    let status = end(job, "a person cancelled it", broker).await?;
    if status.state != State::Cancelled {
        return Err(ProducerError::JobState(format!(
            "expected job {job} to be cancelled, found that it ended as {} in the meantime",
            status.state
        )));
    }
    match status.into_done() {
        Some(done) => print(output, &done, || done_in_words(&done)),
        None => Ok(()),
    }
}

/// Cancels a job for this `reason`, and returns its status once it has ended.
///
/// # Errors
/// [`ProducerError::JobState`] if the job has ended already.
pub(crate) async fn end(job: &Job, reason: &str, broker: &BrokerArgs) -> Result<JobStatus, ProducerError> {
    let event = |status: &JobStatus| {
        let (reason, redrives) = (reason.to_owned(), status.redrives);
        JobEvent::Cancelled(Cancelled { job: job.clone(), reason, total: None, redrives, opening: None })
    };
    control(job, event, broker, "end", |status| status.done_at.is_some()).await
}

/// Pauses a job: its companies are set aside until it is resumed.
///
/// # Errors
/// [`ProducerError::JobState`] if the job has ended.
pub async fn pause(job: &Job, broker: &BrokerArgs, output: Output) -> Result<(), ProducerError> {
    let event = |_: &JobStatus| JobEvent::Paused(Pause { job: job.clone(), at: Some(Timestamp::now()) });
    let status = control(job, event, broker, "be paused", |status| status.state == State::Paused).await?;
    print(output, &status, || format!("job {job} is paused; `producer resume {job}` resumes it"))
}

/// Resumes a paused job.
///
/// # Errors
/// [`ProducerError::JobState`] if the job has ended.
pub async fn resume(job: &Job, broker: &BrokerArgs, output: Output) -> Result<(), ProducerError> {
    let event = |_: &JobStatus| JobEvent::Resumed(Pause { job: job.clone(), at: Some(Timestamp::now()) });
    let status = control(job, event, broker, "go on", |status| status.state != State::Paused).await?;
    print(output, &status, || format!("job {job} is {}", status.state))
}

/// Publishes `event` of a job that has not ended, and waits until its status is as `expected`, which `words` describe.
async fn control(
    job: &Job,
    event: impl FnOnce(&JobStatus) -> JobEvent,
    broker: &BrokerArgs,
    words: &str,
    expected: impl Fn(&JobStatus) -> bool,
) -> Result<JobStatus, ProducerError> {
    let link = connect(broker, &format!("rollcall producer: control {job}")).await?;
    let topology = broker.topology();
    let mut aggregator = AggregatorClient::open(&link, &topology).await?;
    let status = aggregator.job(job).await?;
    if let Some(done_at) = &status.done_at {
        let (state, redrive) = (status.state, "`producer redrive` enqueues companies of it again");
        return Err(ProducerError::JobState(format!(
            "expected a job that has not ended, found that {job} ended as {state} at {done_at}; {redrive}"
        )));
    }
    publish_event(&link, &topology, event(&status)).await?;
    let status = aggregator.wait_until(job, words, expected).await?;
    link.close().await;
    Ok(status)
}

/// Publishes an event, and returns when the ledger has it.
pub(crate) async fn publish_event(link: &BrokerConnection, topology: &Topology, event: JobEvent) -> Result<(), BrokerError> {
    let message = Event::now(event).message(topology.events()).map_err(BrokerError::NotJson)?;
    let publisher = Publisher::on(link, link.channel().await?).await?;
    publisher.with_ledger_fallback(topology).publish_now((), message).await?;
    Ok(())
}
