//! Which of several gateways watches the inbox, keeps the schedules and cancels abandoned uploads: the one that holds a token, a message of a queue with a single active
//! consumer. The broker gives it to another gateway when the connection of the first one ends.

use std::sync::Arc;
use std::time::Duration;

use lapin::options::BasicAckOptions;
use rollcall_shared::broker::{BrokerConnection, BrokerError, Publisher, Subscription, connect, supervise};
use rollcall_shared::lifecycle::Shutdown;
use rollcall_shared::message::{Message, persistent};

use super::{abandoned_uploads, inbox, schedule};
use crate::serve::gateway::Gateway;

/// Tokens that the broker may send: one of each gateway that has started since.
const TOKENS: u16 = 100;

/// Does what one gateway does for all while this gateway leads.
pub(super) async fn run(gateway: &Arc<Gateway>) -> Result<(), BrokerError> {
    supervise(&gateway.broker, &Shutdown::never(), Duration::ZERO, || {}, async || session(gateway).await).await
}

async fn session(gateway: &Arc<Gateway>) -> Result<(), BrokerError> {
    let link = connect(&gateway.broker, "rollcall gateway: token").await?;
    let channel = link.channel().await?;
    let topology = gateway.broker.topology();
    topology.declare_gateway(&channel).await?;
    let queue = topology.gateway_leader();
    publish_token(&link, queue.clone()).await?;
    let mut tokens = Subscription::open(&channel, &queue, "leader", TOKENS).await?;
    // Not acknowledged: it goes to the next gateway when this connection ends.
    let _token = tokens.next().await?;
    gateway.metrics.leads.set(1);
    tracing::info!(event = "gateway_leads", "this gateway watches the inbox, keeps the schedules and cancels abandoned uploads");
    let leads_no_more = scopeguard::guard((), |()| gateway.metrics.leads.set(0));
    let lost = async {
        loop {
            // Those of other gateways. One is enough.
            tokens.next().await?.acker.ack(BasicAckOptions::default()).await?;
        }
    };
    let ended = tokio::select! {
        ended = lost => ended,
        never = inbox::watch(gateway) => match never {},
        never = schedule::keep_all(gateway) => match never {},
        never = abandoned_uploads::cancel_all(gateway) => match never {},
    };
    drop(leads_no_more);
    ended
}

/// Each gateway adds a token, so that there is one also where the queue was deleted.
async fn publish_token(link: &BrokerConnection, queue: String) -> Result<(), BrokerError> {
    let properties = persistent("rollcall.gateway.leader", String::new());
    let message = Message { exchange: String::new(), routing_key: queue, properties, body: Vec::new() };
    Publisher::on(link, link.channel().await?).await?.publish_now((), message).await?;
    Ok(())
}
