//! Tells webhooks of jobs as they end: at least once, for up to a day.

use std::sync::Arc;

use rollcall_shared::broker::BrokerError;
use rollcall_shared::message::Done;

use super::done_events::{Follower, Outcome, Proof};
use crate::serve::gateway::Gateway;
use crate::serve::webhook::{NotSent, Webhook};

/// Events that are sent at a time to one webhook.
const AT_A_TIME: u16 = 4;

/// Tells a webhook of jobs as they end.
pub(super) async fn run(webhook: &Webhook, gateway: &Arc<Gateway>) -> Result<(), BrokerError> {
    let name = webhook.name();
    let queue = gateway.broker.topology().webhook(name);
    let concerns = |done: &Done| webhook.concerns(done.model.as_ref());
    let follower = Follower { trigger: "webhook", queue, at_a_time: AT_A_TIME, concerns: &concerns, gateway };
    follower
        .run(async |done, proof, event, body, _| {
            if matches!(proof, Proof::Missing) {
                return Outcome::Hopeless(
                    "expected the done event of a job that has ended, found one that the aggregator does not know".to_owned(),
                );
            }
            let sent = webhook.send(&event.id, body).await;
            let outcome = if sent.is_ok() { "delivered" } else { "failed" };
            gateway.metrics.webhook_attempts.with_label_values(&[name, outcome]).inc();
            match sent {
                Ok(()) => {
                    tracing::info!(event = "webhook_delivered", webhook = name, job = %done.job, "told a webhook");
                    Outcome::Finished
                }
                Err(error @ NotSent::Refused) => Outcome::Hopeless(format!("webhook {name}: {error}")),
                Err(error) => Outcome::Failed(format!("webhook {name}: {error}")),
            }
        })
        .await
}
