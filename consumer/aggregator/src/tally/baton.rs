//! The baton: leadership and the checkpoint in one message.
//!
//! It lies in a quorum queue with a single active consumer. Whoever consumes it is the active aggregator; when that one dies,
//! the broker hands the baton, and the state in it, to the next. Every aggregator puts an empty one in at its start, so that
//! the first ever has something to receive; of several, the one furthest in the ledger counts and the others are discarded.

use lapin::Channel;
use lapin::message::Delivery;
use lapin::options::BasicAckOptions;
use lapin::types::ShortString;
use rollcall_shared::broker::{BrokerError, Publisher, Subscription};
use rollcall_shared::lifecycle::Shutdown;
use rollcall_shared::message::{Job, Message, persistent};
use rollcall_shared::topology::Topology;

use crate::ledger::Ledger;

const BATON_TYPE: &str = "rollcall.baton.v1";

/// More batons than aggregators were ever started and died before the first took over.
const PREFETCH: u16 = 1_000;

/// RabbitMQ 4.x refuses messages over 16 MiB unless told otherwise; a larger state keeps its older baton and replays more.
const LARGEST_STATE: usize = 12 << 20;

/// The baton, held.
pub(super) struct Baton {
    consumer: Subscription,
    held: Delivery,
    /// The id of a fresh one that is on its way.
    renewing: Option<String>,
    queue: String,
}

impl Baton {
    /// Waits until it is this aggregator's turn; nothing where `shutdown` came first.
    pub(super) async fn take(
        channel: &Channel,
        publisher: &mut Publisher<()>,
        topology: &Topology,
        shutdown: &Shutdown,
    ) -> Result<Option<(Baton, Ledger)>, BrokerError> {
        let queue = topology.checkpoint();
        let empty = written(&Ledger::default())?;
        put(publisher, &queue, empty.clone(), String::new()).await?;
        let mut consumer = Subscription::open(channel, &queue, "aggregator", PREFETCH).await?;
        let first = tokio::select! {
            first = consumer.next() => first?,
            () = shutdown.requested() => return Ok(None),
        };
        let fence = Job::unique().to_string();
        put(publisher, &queue, empty, fence.clone()).await?;
        let mut baton = Baton { consumer, held: first, renewing: None, queue };
        let mut ledger = state(&baton.held);
        // The queue is in order: every baton that was there before the fence comes before it.
        loop {
            let other = baton.consumer.next().await?;
            let last = other.properties.message_id().as_ref().is_some_and(|id| id.as_str() == fence);
            let theirs = state(&other);
            if theirs.next_offset() > ledger.next_offset() {
                ledger = theirs;
                let older = std::mem::replace(&mut baton.held, other);
                baton.discard(older).await?;
            } else {
                baton.discard(other).await?;
            }
            if last {
                break;
            }
        }
        // A fresh message also starts the queue's count of deliveries anew.
        baton.renew(publisher, &ledger).await?;
        Ok(Some((baton, ledger)))
    }

    /// Puts the present state in the baton's place, and waits until it is there.
    pub(super) async fn renew(&mut self, publisher: &mut Publisher<()>, ledger: &Ledger) -> Result<(), BrokerError> {
        // What the broker did not store never comes back.
        publisher.flush().await?;
        self.renewed().await?;
        self.begin_to_renew(publisher, ledger).await?;
        publisher.flush().await?;
        self.renewed().await
    }

    /// Sends the present state to the baton's place, and says whether it did: it is there when it comes back, and until then
    /// nothing more is sent.
    pub(super) async fn begin_to_renew(&mut self, publisher: &mut Publisher<()>, ledger: &Ledger) -> Result<bool, BrokerError> {
        if self.renewing.is_some() {
            return Ok(false);
        }
        let fresh = Job::unique().to_string();
        let mut body = written(ledger)?;
        if body.len() > LARGEST_STATE {
            tracing::warn!(
                bytes = body.len(),
                "the counts are too large for a checkpoint; a successor will read more of the ledger"
            );
            body.clone_from(&self.held.data);
        }
        publisher.publish(vec![((), message(&self.queue, body, fresh.clone()))]).await?;
        self.renewing = Some(fresh);
        Ok(true)
    }

    async fn renewed(&mut self) -> Result<(), BrokerError> {
        while self.renewing.is_some() {
            let baton = self.next().await?;
            self.take_in(baton).await?;
        }
        Ok(())
    }

    /// Waits for a baton: the one that was sent, or one that another aggregator puts in at its start. Safe to cancel.
    pub(super) async fn next(&mut self) -> Result<Delivery, BrokerError> {
        self.consumer.next().await
    }

    /// Holds the baton that was sent in place of the older one; discards any other.
    pub(super) async fn take_in(&mut self, baton: Delivery) -> Result<(), BrokerError> {
        let id = baton.properties.message_id().as_ref().map(ShortString::as_str);
        if id.is_some() && id == self.renewing.as_deref() {
            self.renewing = None;
            let older = std::mem::replace(&mut self.held, baton);
            return self.discard(older).await;
        }
        self.discard(baton).await
    }

    /// Takes a baton that does not count out of the queue.
    async fn discard(&self, baton: Delivery) -> Result<(), BrokerError> {
        if baton.ack(BasicAckOptions::default()).await? {
            Ok(())
        } else {
            Err(BrokerError::Lost("the baton's channel was closed".to_owned()))
        }
    }
}

fn written(ledger: &Ledger) -> Result<Vec<u8>, BrokerError> {
    Ok(ledger.to_snapshot()?)
}

async fn put(publisher: &mut Publisher<()>, queue: &str, body: Vec<u8>, id: String) -> Result<(), BrokerError> {
    publisher.publish_now((), message(queue, body, id)).await?;
    Ok(())
}

fn message(queue: &str, body: Vec<u8>, id: String) -> Message {
    Message {
        exchange: String::new(),
        routing_key: queue.to_owned(),
        properties: persistent(BATON_TYPE, id).with_content_type("application/json".into()),
        body,
    }
}

fn state(baton: &Delivery) -> Ledger {
    Ledger::from_snapshot(&baton.data).unwrap_or_else(|error| {
        tracing::warn!(%error, "the checkpoint does not read; counting the ledger from its beginning");
        Ledger::default()
    })
}
