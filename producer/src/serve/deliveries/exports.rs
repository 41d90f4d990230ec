//! Writes the results of jobs that have ended to where their `results_to` says.

use std::sync::Arc;
use std::time::Duration;

use rollcall_shared::broker::{BrokerError, connect};
use rollcall_shared::message::{Done, ExportFailed, Exported, Job, JobEvent, JobStatus};

use super::done_events::{Follower, Outcome, Proof};
use crate::blocking::on_a_thread_of_its_own;
use crate::error::ProducerError;
use crate::job_control::publish_event;
use crate::location::Location;
use crate::results::{self, WriteOptions};
use crate::serve::gateway::Gateway;

/// Exports at a time.
const AT_A_TIME: u16 = 2;

/// Writes results as jobs end.
pub(super) async fn run(gateway: &Arc<Gateway>) -> Result<(), BrokerError> {
    let queue = gateway.broker.topology().exports();
    let concerns = |done: &Done| done.results_to.is_some();
    let follower = Follower { trigger: "export", queue, at_a_time: AT_A_TIME, concerns: &concerns, gateway };
    follower
        .run(async |done, proof, _, _, delay| match proof {
            Proof::Ended(status) => follow(done, *status, delay, gateway).await,
            Proof::EndedBefore | Proof::Missing => Outcome::Hopeless(
                "expected a job that the aggregator knows, found one that it has forgotten: fetch its results with `producer results`"
                    .to_owned(),
            ),
        })
        .await
}

async fn follow(done: Done, status: JobStatus, delay: Option<Duration>, gateway: &Arc<Gateway>) -> Outcome {
    // Of a job that has been redriven since, the next done event follows.
    let Some(to) = status.settings.results_to.clone().filter(|_| status.redrives == done.redrives) else {
        return Outcome::Finished;
    };
    let (own, own_to) = (Arc::clone(gateway), to.clone());
    let exporting = on_a_thread_of_its_own(async move || export(&status, own_to, &own).await);
    let (word, outcome, retry) = match exporting.await {
        Ok(Ok(())) => ("written", Outcome::Finished, None),
        Ok(Err(error)) | Err(error) if is_hopeless(&error) => {
            ("refused", Outcome::Hopeless(error.to_string()), Some((error, None)))
        }
        Ok(Err(error)) | Err(error) => ("failed", Outcome::Failed(error.to_string()), Some((error, delay))),
    };
    gateway.metrics.exports.with_label_values(&[word]).inc();
    if let Some((error, delay)) = retry {
        let retry_in_seconds = delay.map(|delay| delay.as_secs());
        let failed = ExportFailed { job: done.job, to, reason: error.to_string(), retry_in_seconds };
        if let Err(error) = publish(JobEvent::ExportFailed(failed), gateway).await {
            tracing::debug!(%error, "a failed export is not told");
        }
    }
    outcome
}

fn is_hopeless(error: &ProducerError) -> bool {
    matches!(error, ProducerError::Usage(_) | ProducerError::LedgerIncomplete(_) | ProducerError::NoSuchJob(_))
}

async fn export(status: &JobStatus, to: String, gateway: &Gateway) -> Result<(), ProducerError> {
    let job: &Job = &status.job;
    if !gateway.export_places.allow(&to) {
        return Err(ProducerError::Usage(format!(
            "expected a place that the gateway's configuration allows, found {to}; add it to [exports] allow, or fetch the results with `producer results {job}`"
        )));
    }
    let place: Location = to.parse().map_err(|error| ProducerError::Usage(format!("{error}")))?;
    let link = connect(&gateway.broker, &format!("rollcall gateway: results of {job}")).await?;
    let options = WriteOptions { format: None, partial: false };
    let written = results::write_to(&place, job, options, &link, &gateway.broker.topology(), &gateway.grace_over).await;
    link.close().await;
    let rows = written?.map_or(0, |fetched| fetched.rows);
    tracing::info!(event = "exported", %job, to, rows, "wrote the results of a job");
    let exported = Exported { job: job.clone(), to, rows, redrives: status.redrives };
    publish(JobEvent::Exported(exported), gateway).await
}

async fn publish(event: JobEvent, gateway: &Gateway) -> Result<(), ProducerError> {
    let session = gateway.queries.session("rollcall gateway: an event").await?;
    publish_event(session.link(), session.channel().await?, &gateway.broker.topology(), event).await?;
    session.close().await;
    Ok(())
}
