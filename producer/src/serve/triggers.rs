//! What starts jobs by itself. Where only one gateway may act, a queue with a single active consumer decides which.

mod abandoned_uploads;
mod inbox;
mod leadership;
mod notifications;
mod schedule;
mod triggered_job;

use std::sync::Arc;

use rollcall_shared::broker::BrokerError;
use tokio::select;

use super::gateway::Gateway;

/// Runs all triggers that are configured; ends only with an error that no new connection mends.
pub(super) async fn run(gateway: &Arc<Gateway>) -> Result<(), BrokerError> {
    select! {
        ended = leadership::run(gateway) => ended,
        ended = notifications::run(gateway) => ended,
    }
}
