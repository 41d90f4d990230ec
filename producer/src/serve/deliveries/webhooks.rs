//! Tells webhooks of jobs as they end: at least once, for up to a day.

use std::sync::Arc;

use rollcall_shared::broker::BrokerError;

use super::done_events::{Followed, Follower};
use crate::serve::gateway::Gateway;
use crate::serve::webhook::{NotSent, Webhook};

/// Events that are sent at a time to one webhook.
const AT_A_TIME: u16 = 4;

/// Tells a webhook of jobs as they end.
pub(super) async fn run(webhook: &Webhook, gateway: &Arc<Gateway>) -> Result<(), BrokerError> {
    let name = webhook.name();
    let queue = gateway.broker.topology().webhook(name);
    let follower = Follower { trigger: "webhook", queue, at_a_time: AT_A_TIME, gateway };
    follower
        .run(async |done, _, event, body, _| {
            if !webhook.concerns(done.model.as_ref()) {
                return Followed::Finished;
            }
            let sent = webhook.send(&event.id, body).await;
            let outcome = if sent.is_ok() { "delivered" } else { "failed" };
            gateway.metrics.webhook_attempts.with_label_values(&[name, outcome]).inc();
            match sent {
                Ok(()) => {
                    tracing::info!(event = "webhook_delivered", webhook = name, job = %done.job, "told a webhook");
                    Followed::Finished
                }
                Err(error @ NotSent::Refused) => Followed::Hopeless(format!("webhook {name}: {error}")),
                Err(error) => Followed::Failed(format!("webhook {name}: {error}")),
            }
        })
        .await
}
