//! Cancels uploads whose gateway has gone away before their end: nobody else has the rest of the file.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::convert::Infallible;
use std::time::{Duration, Instant};

use rollcall_shared::broker::{BrokerError, Publisher};
use rollcall_shared::message::{Job, JobsPage, Message, State, persistent};
use uuid::Uuid;

use crate::error::ProducerError;
use crate::job_control;
use crate::serve::gateway::Gateway;

/// How often to look.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// A gateway that has been away for so long has gone: one that has lost its connection makes a new one within ten seconds, and goes on.
const GONE_AFTER: Duration = Duration::from_secs(20);

/// Jobs that are looked at: more than are uploaded at once.
const LOOKED_AT: u32 = 1_000;

/// Cancels such uploads as long as this gateway leads.
pub(super) async fn cancel_all(gateway: &Gateway) -> Infallible {
    let mut away_since = BTreeMap::new();
    loop {
        if let Err(error) = look(&mut away_since, gateway).await {
            tracing::debug!(%error, "whether uploads are abandoned is not known");
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn look(away_since: &mut BTreeMap<Job, Instant>, gateway: &Gateway) -> Result<(), ProducerError> {
    let away = uploads_without_gateway(gateway).await?;
    away_since.retain(|job, _| away.contains(job));
    for job in away {
        if away_since.entry(job.clone()).or_insert_with(Instant::now).elapsed() < GONE_AFTER {
            continue;
        }
        match job_control::end(&job, "the gateway that received the upload has gone away", &gateway.queries).await {
            Ok(_) => {
                tracing::warn!(event = "upload_abandoned", %job, "cancelled the job of an upload whose gateway has gone away");
            }
            // Somebody else was faster.
            Err(ProducerError::JobState(_) | ProducerError::NoSuchJob(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The jobs whose upload has not come to its end, and whose gateway is not connected now.
async fn uploads_without_gateway(gateway: &Gateway) -> Result<Vec<Job>, ProducerError> {
    let mut session = gateway.queries.session("rollcall gateway: abandoned uploads").await?;
    let mut unsealed = Vec::new();
    for state in [State::Unsealed, State::Paused] {
        let page = JobsPage { state: Some(state), model: None, name_prefix: String::new(), before: None, limit: LOOKED_AT };
        unsealed.extend(session.aggregator().await?.page(page).await?.0.into_iter().filter(|status| status.sealed.is_none()));
    }
    let mut publisher = Publisher::on(session.link(), session.channel().await?).await?;
    let (mut asked, mut away) = (BTreeMap::new(), Vec::new());
    for status in unsealed {
        // Anybody may have published it.
        let receiver = status.settings.received_by.as_deref().and_then(|id| Uuid::parse_str(id).ok());
        let Some(receiver) = receiver else { continue };
        let is_away = match asked.entry(receiver) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(unknown) => *unknown.insert(!is_connected(receiver, &mut publisher, gateway).await?),
        };
        if is_away {
            away.push(status.job);
        }
    }
    session.close().await;
    Ok(away)
}

/// Whether a gateway is connected: a message that expires at once reaches its queue, or comes back.
async fn is_connected(id: Uuid, publisher: &mut Publisher<()>, gateway: &Gateway) -> Result<bool, BrokerError> {
    let properties = persistent("rollcall.gateway.presence", String::new()).with_expiration("0".into());
    let routing_key = gateway.broker.topology().gateway_presence(id);
    match publisher.publish_now((), Message { exchange: String::new(), routing_key, properties, body: Vec::new() }).await {
        Ok(_) => Ok(true),
        Err(BrokerError::Unroutable { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}
