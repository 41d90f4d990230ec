//! Cancel, pause and resume: publishes the event to the ledger, and waits until the aggregator has acted on it.

use indicatif::HumanCount;
use lapin::Channel;
use rollcall_shared::broker::{BrokerConnection, BrokerError, Publisher};
use rollcall_shared::message::{Cancelled, Event, Job, JobEvent, JobStatus, Pause, State, Timestamp};
use rollcall_shared::topology::Topology;

use crate::broker_session::BrokerAccess;
use crate::cli::Output;
use crate::error::ProducerError;
use crate::output::print;
use crate::status::done_in_words;

/// Cancels a job, and waits until it has ended.
///
/// # Errors
/// [`ProducerError::JobState`] if the job has ended already.
pub(crate) async fn cancel(job: &Job, broker: &BrokerAccess, output: Output) -> Result<(), ProducerError> {
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
pub(crate) async fn end(job: &Job, reason: &str, broker: &BrokerAccess) -> Result<JobStatus, ProducerError> {
    let event = |status: &JobStatus| {
        let (reason, redrives) = (reason.to_owned(), status.redrives);
        JobEvent::Cancelled(Cancelled { job: job.clone(), reason, total: None, redrives, opening: None })
    };
    control(job, event, broker, ["cancel", "end"], |status| status.done_at.is_some()).await
}

/// Pauses a job: its companies are set aside until it is resumed.
///
/// # Errors
/// [`ProducerError::JobState`] if the job has ended.
pub(crate) async fn pause(job: &Job, broker: &BrokerAccess, output: Output) -> Result<(), ProducerError> {
    let status = set_aside(job, broker).await?;
    print(output, &status, || format!("job {job} is paused; `producer resume {job}` resumes it"))
}

/// Pauses a job, and returns its status.
///
/// # Errors
/// As [`pause`].
pub(crate) async fn set_aside(job: &Job, broker: &BrokerAccess) -> Result<JobStatus, ProducerError> {
    let event = |_: &JobStatus| JobEvent::Paused(Pause { job: job.clone(), at: Some(Timestamp::now()) });
    control(job, event, broker, ["pause", "be paused"], |status| status.state == State::Paused).await
}

/// Resumes a paused job.
///
/// # Errors
/// [`ProducerError::JobState`] if the job has ended.
pub(crate) async fn resume(job: &Job, broker: &BrokerAccess, output: Output) -> Result<(), ProducerError> {
    let status = go_on(job, broker).await?;
    print(output, &status, || format!("job {job} is {}", status.state))
}

/// Resumes a paused job, and returns its status.
///
/// # Errors
/// As [`resume`].
pub(crate) async fn go_on(job: &Job, broker: &BrokerAccess) -> Result<JobStatus, ProducerError> {
    let event = |_: &JobStatus| JobEvent::Resumed(Pause { job: job.clone(), at: Some(Timestamp::now()) });
    control(job, event, broker, ["resume", "go on"], |status| status.state != State::Paused).await
}

/// Publishes `event` of a job that has not ended, and waits until its status is as `expected`. `verb` and `words` say for errors what is
/// done to the job, and what it then does.
async fn control(
    job: &Job,
    event: impl FnOnce(&JobStatus) -> JobEvent,
    broker: &BrokerAccess,
    [verb, words]: [&str; 2],
    expected: impl Fn(&JobStatus) -> bool,
) -> Result<JobStatus, ProducerError> {
    let mut session = broker.session(&format!("rollcall producer: control {job}")).await?;
    let status = session.aggregator().await?.job(job).await?;
    if let Some(ended) = ended_in_words(&status, verb) {
        session.close().await;
        return Err(ProducerError::JobState(ended));
    }
    publish_event(session.link(), session.channel().await?, &broker.topology(), event(&status)).await?;
    let status = session.aggregator().await?.wait_until(job, words, expected).await;
    session.close().await;
    status
}

/// How a job has ended, and what may be done instead of what `verb` says; `None` if it has not ended.
fn ended_in_words(status: &JobStatus, verb: &str) -> Option<String> {
    let JobStatus { job, state, failed, cancelled, reason, .. } = status;
    let done_at = status.done_at.as_ref()?;
    let reason = reason.as_ref().map_or_else(String::new, |reason| format!(" ({reason})"));
    let mut words = format!(
        "expected a job that has not ended, found that {job} ended as {state}{reason} at {done_at}: there is nothing to {verb}"
    );
    if *failed > 0 {
        words += &format!("; `producer redrive {job}` enqueues the {} that failed once more", HumanCount(*failed));
    }
    if *cancelled > 0 {
        let redrive = format!("`producer redrive {job} --missing --file FILE`");
        words += &format!("; {redrive} enqueues the {} without an outcome", HumanCount(*cancelled));
    }
    Some(words)
}

/// Publishes an event, and returns when the ledger has it.
pub(crate) async fn publish_event(
    link: &BrokerConnection,
    channel: Channel,
    topology: &Topology,
    event: JobEvent,
) -> Result<(), BrokerError> {
    let message = Event::now(event).message(topology.events()).map_err(BrokerError::NotJson)?;
    let publisher = Publisher::on(link, channel).await?;
    publisher.with_ledger_fallback(topology).publish_now((), message).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn status(state: &str, [succeeded, failed, cancelled]: [u64; 3], done_at: &Value) -> JobStatus {
        serde_json::from_value(json!({
            "job": "j", "model": "m", "state": state, "total": succeeded + failed + cancelled, "sealed": null, "succeeded": succeeded,
            "failed": failed, "cancelled": cancelled, "duplicates": 0, "retries": 0, "opened_at": null, "done_at": done_at,
            "duration_seconds": null, "companies_per_second": null, "causes": [], "source": "c.csv", "enqueued": 0,
            "reason": if cancelled > 0 { json!("a person cancelled it") } else { Value::Null }, "first_offset": 0, "next_offset": 0,
        }))
        .unwrap()
    }

    #[test]
    fn of_a_job_that_has_ended_the_error_says_how_and_names_a_redrive_only_of_what_it_has_to_redrive() {
        let at = json!("2026-11-29T12:00:00Z");
        assert_eq!(ended_in_words(&status("running", [1, 1, 0], &Value::Null), "pause"), None);
        let words = |state, counts| ended_in_words(&status(state, counts, &at), "pause").unwrap();
        let succeeded = words("succeeded", [3, 0, 0]);
        assert!(succeeded.contains("j ended as succeeded at") && succeeded.ends_with("there is nothing to pause"), "{succeeded}");
        let failed = words("failed", [1, 2, 0]);
        assert!(failed.ends_with("; `producer redrive j` enqueues the 2 that failed once more"), "{failed}");
        let cancelled = words("cancelled", [1, 0, 1_000]);
        assert!(cancelled.contains("ended as cancelled (a person cancelled it) at"), "{cancelled}");
        assert!(
            cancelled.ends_with("to pause; `producer redrive j --missing --file FILE` enqueues the 1,000 without an outcome"),
            "{cancelled}"
        );
    }
}
