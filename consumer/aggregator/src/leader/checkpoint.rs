//! The checkpoint: leadership and the leader's state in one message.
//!
//! It is in a quorum queue with a single active consumer. The aggregator to which it is delivered is the leader. If that one dies, the
//! broker delivers the message, with the state in it, to a standby. Every aggregator publishes an empty checkpoint at its start, so that the
//! first one ever receives something. Of several checkpoints, the one furthest in the ledger counts, and the others are discarded.

use std::time::{Duration, Instant};

use lapin::Channel;
use lapin::message::Delivery;
use lapin::options::BasicAckOptions;
use lapin::types::ShortString;
use rollcall_shared::broker::{BrokerError, Publisher, Subscription};
use rollcall_shared::lifecycle::Shutdown;
use rollcall_shared::message::{Job, Message, persistent};
use rollcall_shared::topology::Topology;

use crate::jobs::Jobs;

const CHECKPOINT_TYPE: &str = "rollcall.checkpoint.v1";

/// While the counts change, the checkpoint is saved this often: a successor reads at most so much of the ledger again.
const SAVE_EVERY: Duration = Duration::from_secs(5);

/// While they do not change and jobs are unfinished: a successor continues their deadlines from the checkpoint.
const SAVE_UNFINISHED_EVERY: Duration = Duration::from_secs(30);

/// While there are no such jobs: the broker takes back a message that is not acknowledged for half an hour.
const SAVE_IDLE_EVERY: Duration = Duration::from_secs(300);

/// More than all aggregators that start and die before the first one leads.
const PREFETCH: u16 = 1_000;

/// RabbitMQ 4.x refuses messages over 16 MiB unless it is told otherwise. If the state is larger, the older checkpoint is kept, and a
/// successor reads more of the ledger.
const MAX_BYTES: usize = 12 << 20;

/// The checkpoint that makes this aggregator the leader: delivered, and not acknowledged.
pub(super) struct Checkpoint {
    consumer: Subscription,
    held: Delivery,
    /// The id of a new one that was published and has not been delivered yet.
    saving: Option<String>,
    saved: Instant,
    saved_offset: u64,
    queue: String,
}

impl Checkpoint {
    /// Waits until this aggregator is the leader, and returns the saved state; `None` if `shutdown` comes first.
    pub(super) async fn wait_to_lead(
        channel: &Channel,
        publisher: &mut Publisher<()>,
        topology: &Topology,
        shutdown: &Shutdown,
    ) -> Result<Option<(Checkpoint, Jobs)>, BrokerError> {
        let queue = topology.checkpoint();
        let empty = to_bytes(&Jobs::default())?;
        publisher.publish_now((), message(&queue, empty.clone(), String::new())).await?;
        let mut consumer = Subscription::open(channel, &queue, "aggregator", PREFETCH).await?;
        let held = tokio::select! {
            first = consumer.next() => first?,
            () = shutdown.requested() => return Ok(None),
        };
        let fence = Job::unique().to_string();
        publisher.publish_now((), message(&queue, empty, fence.clone())).await?;
        let mut checkpoint = Checkpoint { consumer, held, saving: None, saved: Instant::now(), saved_offset: 0, queue };
        let jobs = checkpoint.keep_furthest_before(&fence).await?;
        // A new message also resets the delivery count by which the queue would drop it one day.
        checkpoint.save(publisher, &jobs).await?;
        Ok(Some((checkpoint, jobs)))
    }

    /// Receives all checkpoints up to the one with the id `fence`, and keeps the one furthest in the ledger. The queue is in order: all that
    /// were in it before the fence come before it.
    async fn keep_furthest_before(&mut self, fence: &str) -> Result<Jobs, BrokerError> {
        let mut furthest = from_bytes(&self.held.data);
        loop {
            let other = self.next().await?;
            let is_fence = other.properties.message_id().as_ref().is_some_and(|id| id.as_str() == fence);
            let jobs = from_bytes(&other.data);
            if jobs.next_offset() > furthest.next_offset() {
                furthest = jobs;
                let older = std::mem::replace(&mut self.held, other);
                discard(older).await?;
            } else {
                discard(other).await?;
            }
            if is_fence {
                return Ok(furthest);
            }
        }
    }

    /// Whether the state should be saved now.
    pub(super) fn is_due(&self, jobs: &Jobs) -> bool {
        let has_changed = jobs.next_offset() != self.saved_offset;
        let since = self.saved.elapsed();
        since >= SAVE_EVERY
            && (has_changed || since >= SAVE_IDLE_EVERY || (since >= SAVE_UNFINISHED_EVERY && jobs.any_unfinished()))
    }

    /// Saves the state, and waits until it is delivered in place of the older checkpoint.
    pub(super) async fn save(&mut self, publisher: &mut Publisher<()>, jobs: &Jobs) -> Result<(), BrokerError> {
        // A checkpoint that the broker did not store is never delivered.
        publisher.flush().await?;
        self.saved().await?;
        self.begin_to_save(publisher, jobs).await?;
        publisher.flush().await?;
        self.saved().await
    }

    /// Publishes the state, and does not wait until it is delivered. Does nothing while an earlier one is on its way.
    pub(super) async fn begin_to_save(&mut self, publisher: &mut Publisher<()>, jobs: &Jobs) -> Result<(), BrokerError> {
        if self.saving.is_some() {
            return Ok(());
        }
        let id = Job::unique().to_string();
        let mut body = to_bytes(jobs)?;
        if body.len() > MAX_BYTES {
            tracing::warn!(
                event = "checkpoint_too_large",
                bytes = body.len(),
                "the counts are too large for a checkpoint; a successor will read more of the ledger"
            );
            body.clone_from(&self.held.data);
        }
        publisher.publish(vec![((), message(&self.queue, body, id.clone()))]).await?;
        self.saving = Some(id);
        (self.saved, self.saved_offset) = (Instant::now(), jobs.next_offset());
        Ok(())
    }

    /// Waits until the checkpoint that was published is delivered.
    async fn saved(&mut self) -> Result<(), BrokerError> {
        while self.saving.is_some() {
            let message = self.next().await?;
            self.receive(message).await?;
        }
        Ok(())
    }

    /// Waits for a checkpoint: the one that was published, or an empty one of another aggregator that starts. Cancel-safe.
    pub(super) async fn next(&mut self) -> Result<Delivery, BrokerError> {
        self.consumer.next().await
    }

    /// Holds the checkpoint that was published in place of the older one; discards any other.
    pub(super) async fn receive(&mut self, message: Delivery) -> Result<(), BrokerError> {
        let id = message.properties.message_id().as_ref().map(ShortString::as_str);
        if id.is_some() && id == self.saving.as_deref() {
            self.saving = None;
            let older = std::mem::replace(&mut self.held, message);
            return discard(older).await;
        }
        discard(message).await
    }
}

/// Removes a checkpoint that does not count from the queue.
async fn discard(message: Delivery) -> Result<(), BrokerError> {
    if message.ack(BasicAckOptions::default()).await? {
        Ok(())
    } else {
        Err(BrokerError::Lost("the channel of the checkpoint was closed".to_owned()))
    }
}

fn message(queue: &str, body: Vec<u8>, id: String) -> Message {
    Message {
        exchange: String::new(),
        routing_key: queue.to_owned(),
        properties: persistent(CHECKPOINT_TYPE, id).with_content_type("application/json".into()),
        body,
    }
}

fn to_bytes(jobs: &Jobs) -> Result<Vec<u8>, BrokerError> {
    jobs.to_checkpoint().map_err(BrokerError::NotJson)
}

/// A checkpoint of another version, or a damaged one, counts as an empty one: the ledger has all that was in it.
fn from_bytes(bytes: &[u8]) -> Jobs {
    Jobs::from_checkpoint(bytes).unwrap_or_else(|error| {
        tracing::warn!(
            event = "checkpoint_unreadable",
            %error,
            "expected a checkpoint of this version; if there is no other, the ledger is counted from its beginning"
        );
        Jobs::default()
    })
}
