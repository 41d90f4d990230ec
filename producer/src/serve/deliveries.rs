//! What follows from the end of a job: its results are written, and webhooks are told. Both take done events from queues of their own, which any
//! gateway serves, so that nothing is lost with one.

mod done_events;
mod exports;
mod webhooks;

use std::sync::Arc;

use futures_util::future::join_all;
use rollcall_shared::broker::BrokerError;

use super::gateway::Gateway;

/// Serves all of them; ends only with an error that no new connection mends.
pub(super) async fn run(gateway: &Arc<Gateway>) -> Result<(), BrokerError> {
    let webhooks = join_all(gateway.webhooks.iter().map(|webhook| webhooks::run(webhook, gateway)));
    tokio::select! {
        ended = exports::run(gateway) => ended,
        ended = webhooks, if !gateway.webhooks.is_empty() => ended.into_iter().collect(),
    }
}
