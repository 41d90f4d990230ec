//! Publishes the batches that the workers have scored.

use rollcall_shared::broker::{BrokerError, COALESCE};
use tokio::sync::mpsc::UnboundedReceiver;

use super::state::Session;
use crate::results::disposition::ScoredItem;
use crate::results::publish::ResultPublisher;

impl Session<'_> {
    /// Publishes a scored batch, and the batches that have already come after it.
    pub(super) async fn publish_batch(
        &self,
        publisher: &mut ResultPublisher,
        batch: Option<Vec<ScoredItem>>,
        scored: &mut UnboundedReceiver<Vec<ScoredItem>>,
    ) -> Result<(), BrokerError> {
        let mut items = batch.unwrap_or_default();
        while items.len() < COALESCE
            && let Ok(more) = scored.try_recv()
        {
            items.extend(more);
        }
        self.publish(publisher, items).await
    }

    pub(super) async fn publish(&self, publisher: &mut ResultPublisher, items: Vec<ScoredItem>) -> Result<(), BrokerError> {
        publisher.scored.extend(items);
        while !publisher.scored.is_empty() {
            publisher.wait_for_capacity().await?;
            publisher.publish_scored().await?;
        }
        Ok(())
    }
}
