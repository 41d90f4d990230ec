//! Cancel, pause, resume: an event in the ledger, which the aggregator acts on, and the answer that it did.

use rollcall_shared::broker::{BrokerArgs, BrokerConnection, BrokerError, Publisher, connect};
use rollcall_shared::message::{Cancelled, Event, Job, JobEvent, JobStatus, Pause, State, Timestamp};
use rollcall_shared::topology::Topology;

use crate::ask::Asker;
use crate::cli::Output;
use crate::run::Failure;
use crate::status::{done_in_words, print};

/// Ends a job, and waits until it has ended.
///
/// # Errors
/// [`Failure`]; also where it had ended before.
pub async fn cancel(job: &Job, broker: &BrokerArgs, output: Output) -> Result<(), Failure> {
    let event = |status: &JobStatus| {
        let (reason, redrives) = ("a person cancelled it".to_owned(), status.redrives);
        JobEvent::Cancelled(Cancelled { job: job.clone(), reason, total: None, redrives, opening: None })
    };
    let status = order(job, event, broker, "end", |status| status.done_at.is_some()).await?;
    if status.state != State::Cancelled {
        return Err(Failure::Other(format!(
            "expected job {job} to be cancelled, found that it ended as {} in the meantime",
            status.state
        )));
    }
    match status.into_done() {
        Some(done) => print(output, &done, || done_in_words(&done)),
        None => Ok(()),
    }
}

/// Sets a job's companies aside.
///
/// # Errors
/// [`Failure`]; also where the job has ended.
pub async fn pause(job: &Job, broker: &BrokerArgs, output: Output) -> Result<(), Failure> {
    let event = |_: &JobStatus| JobEvent::Paused(Pause { job: job.clone(), at: Timestamp::now() });
    let status = order(job, event, broker, "be paused", |status| status.state == State::Paused).await?;
    print(output, &status, || format!("job {job} is paused; `producer resume {job}` goes on with it"))
}

/// Goes on with a paused job.
///
/// # Errors
/// [`Failure`]; also where the job has ended.
pub async fn resume(job: &Job, broker: &BrokerArgs, output: Output) -> Result<(), Failure> {
    let event = |_: &JobStatus| JobEvent::Resumed(Pause { job: job.clone(), at: Timestamp::now() });
    let status = order(job, event, broker, "go on", |status| status.state != State::Paused).await?;
    print(output, &status, || format!("job {job} is {}", status.state))
}

/// Says `event` of a job that has not ended, and waits until the job stands as `expected`, which is what `words` say.
async fn order(
    job: &Job,
    event: impl FnOnce(&JobStatus) -> JobEvent,
    broker: &BrokerArgs,
    words: &str,
    expected: impl Fn(&JobStatus) -> bool,
) -> Result<JobStatus, Failure> {
    let link = connect(broker, &format!("rollcall producer: an order about {job}")).await?;
    let topology = broker.topology();
    let mut asker = Asker::open(&link, &topology).await?;
    let status = asker.known(job).await?;
    if let Some(done_at) = &status.done_at {
        let (state, redrive) = (status.state, "`producer redrive` enqueues companies of it again");
        return Err(Failure::Other(format!(
            "expected a job that has not ended, found that {job} ended as {state} at {done_at}; {redrive}"
        )));
    }
    say(&link, &topology, event(&status)).await?;
    let status = asker.until(job, words, expected).await?;
    link.close().await;
    Ok(status)
}

/// Puts an event into the ledger.
pub(crate) async fn say(link: &BrokerConnection, topology: &Topology, event: JobEvent) -> Result<(), BrokerError> {
    let message = Event::now(event).message(topology.events())?;
    let publisher = Publisher::on(link, link.channel().await?).await?;
    publisher.with_ledger_fallback(topology).publish_now((), message).await?;
    Ok(())
}
