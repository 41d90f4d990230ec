//! What follows from the end of a job: its results are written, and webhooks are told. Both take done events from queues of their own, which any
//! gateway serves, so that nothing is lost with one.

mod done_events;
mod exports;
mod webhooks;

use std::sync::Arc;

use futures_util::future::try_join_all;
use rollcall_shared::broker::BrokerError;

use super::gateway::Gateway;

/// Serves all of them until the gateway is asked to stop, and then ends what it has begun.
///
/// # Errors
/// One that no new connection mends.
pub(super) async fn run(gateway: &Arc<Gateway>) -> Result<(), BrokerError> {
    let webhooks = try_join_all(gateway.webhooks.iter().map(|webhook| webhooks::run(webhook, gateway)));
    tokio::try_join!(exports::run(gateway), webhooks).map(drop)
}
