//! Publishes the items that the workers have passed on, each with its disposition.

use rollcall_shared::broker::{BrokerError, COALESCE};
use tokio::sync::mpsc::UnboundedReceiver;

use super::state::Session;
use crate::results::disposition::DecidedItem;
use crate::results::publish::ResultPublisher;

impl Session<'_> {
    /// Publishes `items` that have been received, and those that have already come after them.
    pub(super) async fn publish_arrived(
        &self,
        publisher: &mut ResultPublisher,
        items: Option<Vec<DecidedItem>>,
        decided: &mut UnboundedReceiver<Vec<DecidedItem>>,
    ) -> Result<(), BrokerError> {
        let mut items = items.unwrap_or_default();
        while items.len() < COALESCE
            && let Ok(more) = decided.try_recv()
        {
            items.extend(more);
        }
        self.publish(publisher, items).await
    }

    pub(super) async fn publish(&self, publisher: &mut ResultPublisher, items: Vec<DecidedItem>) -> Result<(), BrokerError> {
        publisher.decided.extend(items);
        while !publisher.decided.is_empty() {
            publisher.wait_for_capacity().await?;
            publisher.publish_decided().await?;
        }
        Ok(())
    }
}
