//! One look at everything where a company of a model may be: the queues, and what consumers hold.
//!
//! The order is that of a company's way, so that one that moves on meanwhile is seen further on; what goes round in circles shows by
//! what consumers have taken between two looks.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use lapin::options::{BasicGetOptions, BasicNackOptions, QueueDeclareOptions};
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::FieldTable;
use lapin::{Channel, ErrorKind};
use rollcall_shared::broker::{BrokerConnection, BrokerError, Publisher, close, query_consumers};
use rollcall_shared::message::{Job, Model, Priority, RetryPolicy, marker};
use rollcall_shared::topology::Topology;

/// A look that takes longer tells nothing.
const WITHIN: Duration = Duration::from_secs(15);

/// What is to be looked at.
pub(super) struct Plan {
    pub(super) model: Model,
    /// After which companies may be tried again, as far as is known.
    pub(super) delays: BTreeSet<Duration>,
    /// Jobs of the model that were paused and go on.
    pub(super) resumed: Vec<Job>,
    /// Whether to look at everything, or to ask consumers only after which delays they try again.
    pub(super) everything: bool,
    /// What to put into the ledger where nothing is found.
    pub(super) marker: String,
}

/// What a look has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    /// Something waits, is held or is due.
    Something,
    /// Not everything could be seen.
    Unknown,
    /// Nothing is anywhere. That stands in the ledger as the look's marker.
    Nothing {
        /// How many companies each consumer has taken so far, in order.
        taken: Vec<u64>,
    },
}

/// A look that is over.
#[derive(Debug)]
pub(in super::super) struct Looked {
    pub(super) model: Model,
    pub(super) began: Instant,
    pub(super) everything: bool,
    pub(super) found: Found,
    /// After which consumers say that they try companies again.
    pub(super) delays: BTreeSet<Duration>,
}

/// The connections to look by.
#[derive(Clone, Copy)]
pub(super) struct Links<'a> {
    pub(super) reading: &'a BrokerConnection,
    pub(super) publishing: &'a BrokerConnection,
}

/// Looks.
pub(super) async fn look(links: Links<'_>, topology: Topology, plan: Plan) -> Looked {
    let (began, mut delays) = (Instant::now(), BTreeSet::new());
    let mut queues = Queues { link: links.reading, channel: None };
    let looked = find(links, &mut queues, &topology, &plan, &mut delays);
    let found = match tokio::time::timeout(WITHIN, looked).await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => {
            tracing::debug!(%error, model = %plan.model, "could not look where its companies are");
            Found::Unknown
        }
        Err(_) => Found::Unknown,
    };
    queues.close().await;
    tracing::debug!(event = "looked", model = %plan.model, everything = plan.everything, ?found, ?delays, "looked where its companies are");
    Looked { model: plan.model, began, everything: plan.everything, found, delays }
}

async fn find(
    links: Links<'_>,
    queues: &mut Queues<'_>,
    topology: &Topology,
    plan: &Plan,
    delays: &mut BTreeSet<Duration>,
) -> Result<Found, BrokerError> {
    let model = &plan.model;
    let suspects = topology.quarantine_queue(model);
    if plan.everything {
        let paused = plan.resumed.iter().map(|job| topology.paused_queue(job));
        let work = [topology.work_queue(model, Priority::Normal), topology.work_queue(model, Priority::High)];
        for queue in paused.chain(work).chain([suspects.clone(), topology.dead_queue(model)]) {
            if !queues.is_empty(&queue).await? {
                return Ok(Found::Something);
            }
        }
    }
    // One that is leaving answers, and is no longer counted: so all are waited for that answer in time.
    let answers = links.publishing.on_own_channel(async |channel| query_consumers(channel, topology, model, None).await).await?;
    delays.extend(answers.iter().filter_map(|status| status.retry.as_ref()).flat_map(RetryPolicy::delays));
    if !plan.everything {
        return Ok(Found::Unknown);
    }
    if answers.iter().any(|status| status.held > 0) {
        return Ok(Found::Something);
    }
    // A consumer has exactly one subscription to this queue.
    let consumers = queues.depth(&suspects).await?.map_or(0, |depth| depth.consumers);
    if answers.len() < usize::try_from(consumers).unwrap_or(usize::MAX) {
        return Ok(Found::Unknown);
    }
    for delay in plan.delays.union(delays) {
        for priority in [Priority::Normal, Priority::High] {
            if !queues.is_empty(&topology.retry_queue(model, priority, *delay)).await? {
                return Ok(Found::Something);
            }
        }
    }
    let mut taken: Vec<u64> = answers.iter().map(|status| status.taken).collect();
    taken.sort_unstable();
    mark(links.publishing, topology, &plan.marker).await?;
    Ok(Found::Nothing { taken })
}

/// Puts a marker into the ledger: when it is read back, all that was stored before has been counted.
async fn mark(link: &BrokerConnection, topology: &Topology, id: &str) -> Result<(), BrokerError> {
    let message = marker(id, topology.ledger());
    link.on_own_channel(async |channel| Publisher::on(link, channel.clone()).await?.publish_now((), message).await).await?;
    Ok(())
}

/// Asks about queues; one that is not there costs the channel.
struct Queues<'a> {
    link: &'a BrokerConnection,
    channel: Option<Channel>,
}

/// What a queue says of itself.
struct Depth {
    messages: u32,
    consumers: u32,
}

impl Queues<'_> {
    async fn channel(&mut self) -> Result<Channel, BrokerError> {
        if let Some(channel) = self.channel.as_ref().filter(|channel| channel.status().connected()) {
            return Ok(channel.clone());
        }
        Ok(self.channel.insert(self.link.channel().await?).clone())
    }

    /// Nothing where there is no such queue.
    async fn depth(&mut self, queue: &str) -> Result<Option<Depth>, BrokerError> {
        let passive = QueueDeclareOptions { passive: true, ..Default::default() };
        match self.channel().await?.queue_declare(queue.into(), passive, FieldTable::default()).await {
            Ok(queue) => Ok(Some(Depth { messages: queue.message_count(), consumers: queue.consumer_count() })),
            Err(error) if is_not_found(&error) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn is_empty(&mut self, queue: &str) -> Result<bool, BrokerError> {
        match self.depth(queue).await? {
            None => Ok(true),
            Some(Depth { messages: 0, consumers: 0 }) => self.is_empty_indeed(queue).await,
            Some(Depth { messages, .. }) => Ok(messages == 0),
        }
    }

    /// RabbitMQ says that a queue which it cannot ask is empty and has no consumers. One that is asked for a message answers itself,
    /// or not at all.
    async fn is_empty_indeed(&mut self, queue: &str) -> Result<bool, BrokerError> {
        let channel = self.channel().await?;
        match channel.basic_get(queue.into(), BasicGetOptions::default()).await? {
            None => Ok(true),
            Some(message) => {
                let back = BasicNackOptions { multiple: false, requeue: true };
                channel.basic_nack(message.delivery.delivery_tag, back).await?;
                Ok(false)
            }
        }
    }

    async fn close(self) {
        if let Some(channel) = self.channel {
            close(&channel).await;
        }
    }
}

fn is_not_found(error: &lapin::Error) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(error) if *error.kind() == AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND))
}
