//! One search for companies of a model, wherever they may be: in queues, and held by consumers.
//!
//! Places are searched in the order in which a company passes them, so that one that moves on meanwhile is found at the next place. Companies
//! that move in a circle, as by retries, show in how many companies consumers have taken between two searches.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rollcall_shared::broker::{BrokerConnection, BrokerError, Publisher, query_consumers};
use rollcall_shared::message::{Job, Model, Priority, RetryPolicy, marker};
use rollcall_shared::topology::Topology;

use crate::leader::queue_depths::QueueDepths;

/// A search that takes longer is given up.
const SEARCH_WITHIN: Duration = Duration::from_secs(15);

/// What to search for.
pub(super) struct SearchPlan {
    pub(super) model: Model,
    /// The known delays after which companies are tried again: each has a queue.
    pub(super) delays: BTreeSet<Duration>,
    /// Jobs of the model that were paused and resumed: each has a queue.
    pub(super) resumed: Vec<Job>,
    /// Whether to search everywhere, or only to ask consumers for their delays.
    pub(super) everywhere: bool,
    /// The id of the marker to put into the ledger if nothing is found.
    pub(super) marker: String,
}

/// What a search has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    /// A company waits in a queue or is held by a consumer.
    Something,
    /// Not every place could be searched.
    Unknown,
    /// There are no companies anywhere, and the plan's marker is in the ledger.
    Nothing {
        /// How many companies each consumer has taken so far, sorted.
        taken: Vec<u64>,
    },
}

/// A search that has ended.
#[derive(Debug)]
pub(crate) struct Searched {
    pub(super) model: Model,
    pub(super) began: Instant,
    pub(super) everywhere: bool,
    pub(super) found: Found,
    /// The delays after which consumers try companies again, by their own account.
    pub(super) delays: BTreeSet<Duration>,
}

/// Asks consumers by `publishing`.
pub(super) async fn search(
    mut queues: QueueDepths,
    publishing: &BrokerConnection,
    topology: Topology,
    plan: SearchPlan,
) -> Searched {
    let (began, mut delays) = (Instant::now(), BTreeSet::new());
    let found = match tokio::time::timeout(SEARCH_WITHIN, find(&mut queues, publishing, &topology, &plan, &mut delays)).await {
        Ok(Ok(found)) => found,
        Ok(Err(error @ (BrokerError::Unreachable { .. } | BrokerError::Refused { .. } | BrokerError::OutOfResources(_)))) => {
            tracing::warn!(
                event = "search_without_connection",
                %error,
                model = %plan.model,
                "cannot search for lost companies, which needs a connection more; does a limit of the vhost or the user allow it?"
            );
            Found::Unknown
        }
        Ok(Err(error)) => {
            tracing::debug!(%error, model = %plan.model, "could not search for the companies of a model");
            Found::Unknown
        }
        Err(_) => Found::Unknown,
    };
    queues.close().await;
    let SearchPlan { model, everywhere, .. } = plan;
    tracing::debug!(event = "searched", %model, everywhere, ?found, ?delays, "searched for the companies of a model");
    Searched { model, began, everywhere, found, delays }
}

async fn find(
    queues: &mut QueueDepths,
    publishing: &BrokerConnection,
    topology: &Topology,
    plan: &SearchPlan,
    delays: &mut BTreeSet<Duration>,
) -> Result<Found, BrokerError> {
    let model = &plan.model;
    let quarantine = topology.quarantine_queue(model);
    if plan.everywhere {
        let paused = plan.resumed.iter().map(|job| topology.paused_queue(job));
        let work = [topology.work_queue(model, Priority::Normal), topology.work_queue(model, Priority::High)];
        for queue in paused.chain(work).chain([quarantine.clone(), topology.dead_queue(model)]) {
            if !queues.is_empty(&queue).await? {
                return Ok(Found::Something);
            }
        }
    }
    // How many will answer is unknown, so it waits for all that answer in time: a consumer that is stopping answers, and has no subscription
    // any more.
    let answers = publishing.on_own_channel(async |channel| query_consumers(channel, topology, model, None).await).await?;
    delays.extend(answers.iter().filter_map(|status| status.retry.as_ref()).flat_map(RetryPolicy::delays));
    if !plan.everywhere {
        return Ok(Found::Unknown);
    }
    if answers.iter().any(|status| status.held > 0) {
        return Ok(Found::Something);
    }
    // Each consumer has exactly one subscription to this queue.
    let consumers = queues.depth(&quarantine).await?.map_or(0, |depth| depth.consumers);
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
    put_marker(publishing, topology, &plan.marker).await?;
    Ok(Found::Nothing { taken })
}

/// Puts a marker into the ledger: when it is read, all results that were stored before it are counted.
async fn put_marker(connection: &BrokerConnection, topology: &Topology, id: &str) -> Result<(), BrokerError> {
    let message = marker(id, topology.ledger());
    connection
        .on_own_channel(async |channel| Publisher::on(connection, channel.clone()).await?.publish_now((), message).await)
        .await?;
    Ok(())
}
