//! What waits in the queues of a model.

use lapin::Channel;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;

use super::Topology;
use crate::broker::error::BrokerError;
use crate::message::{Model, Priority};

/// Companies of a model that wait on the broker, held by no consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backlog {
    /// Of normal priority.
    pub normal: u32,
    /// Of high priority.
    pub express: u32,
    /// In the quarantine.
    pub quarantined: u32,
    /// Subscribed consumers.
    pub consumers: u32,
}

impl Backlog {
    /// All of them.
    pub fn waiting(&self) -> u32 {
        self.normal.saturating_add(self.express).saturating_add(self.quarantined)
    }
}

impl Topology {
    /// How many companies of a model wait on the broker, and how many consumers it has. Its queues must have been declared.
    ///
    /// # Errors
    /// [`BrokerError::Lost`].
    pub async fn backlog(&self, channel: &Channel, model: &Model) -> Result<Backlog, BrokerError> {
        let [normal, express] = [Priority::Normal, Priority::High].map(|priority| self.work_queue(model, priority));
        let (normal, _) = depth(channel, &normal).await?;
        let (express, _) = depth(channel, &express).await?;
        // A consumer has several subscriptions to the work queues, and exactly one to the quarantine.
        let (quarantined, consumers) = depth(channel, &self.quarantine_queue(model)).await?;
        Ok(Backlog { normal, express, quarantined, consumers })
    }
}

/// The number of ready messages in a queue, and of its subscriptions.
async fn depth(channel: &Channel, queue: &str) -> Result<(u32, u32), BrokerError> {
    let passive = QueueDeclareOptions { passive: true, ..Default::default() };
    let queue = channel.queue_declare(queue.into(), passive, FieldTable::default()).await?;
    Ok((queue.message_count(), queue.consumer_count()))
}
