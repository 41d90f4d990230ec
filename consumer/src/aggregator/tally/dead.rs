//! Companies whose delivery killed consumers too often: each becomes a failed result, so that its job can end.

use std::collections::HashSet;
use std::time::SystemTime;

use futures_util::StreamExt;
use futures_util::stream::{BoxStream, SelectAll};
use lapin::Channel;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use rollcall_shared::broker::BrokerError;
use rollcall_shared::message::{Message, Model, ScoredCompany, ScoredResult, Work, timestamp};
use rollcall_shared::topology::Topology;

/// There are few of them, and each is turned into a result before the next.
const PREFETCH: u16 = 100;

/// The subscription to the dead queues of every model that has a job under way.
pub(super) struct DeadLetters {
    channel: Channel,
    deliveries: SelectAll<BoxStream<'static, (Model, Option<lapin::Result<Delivery>>)>>,
    models: HashSet<Model>,
}

/// A company from a dead queue.
pub(super) struct Dead {
    model: Model,
    delivery: Delivery,
}

impl DeadLetters {
    /// No subscription yet; `channel` is used for nothing else.
    pub(super) async fn open(channel: Channel) -> Result<DeadLetters, BrokerError> {
        channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
        Ok(DeadLetters { channel, deliveries: SelectAll::new(), models: HashSet::new() })
    }

    /// Subscribes to the dead queue of each model that is new here.
    pub(super) async fn subscribe(
        &mut self,
        topology: &Topology,
        models: impl Iterator<Item = &Model>,
    ) -> Result<(), BrokerError> {
        for model in models {
            if self.models.contains(model) {
                continue;
            }
            topology.declare_model(&self.channel, model).await?;
            let (queue, tag) = (topology.dead_queue(model), model.as_str());
            let options = BasicConsumeOptions::default();
            let consumer = self.channel.basic_consume(queue.into(), tag.into(), options, FieldTable::default()).await?;
            let (of, end) = (model.clone(), (model.clone(), None));
            let end = futures_util::stream::once(std::future::ready(end));
            self.deliveries.push(consumer.map(move |delivery| (of.clone(), Some(delivery))).chain(end).boxed());
            self.models.insert(model.clone());
        }
        Ok(())
    }

    /// Waits for the next one. Safe to cancel.
    pub(super) async fn next(&mut self) -> Result<Dead, BrokerError> {
        match self.deliveries.next().await {
            Some((model, Some(delivery))) => Ok(Dead { model, delivery: delivery? }),
            Some((model, None)) => {
                Err(BrokerError::Lost(format!("the broker cancelled the consumer of model {model}'s dead queue")))
            }
            None => std::future::pending().await,
        }
    }
}

impl Dead {
    /// The failed result that it becomes; nothing where the message is no work, which nobody can answer for.
    pub(super) fn result(&self, topology: &Topology) -> Option<Message> {
        match Work::read(&self.delivery.properties, Vec::new()) {
            Ok(work) => failed(&work, &self.model, topology),
            Err(error) => {
                tracing::error!(%error, model = %self.model, "a message on the dead queue is no work; it is dropped");
                None
            }
        }
    }

    /// Takes it out of the queue.
    pub(super) async fn acknowledge(self) -> Result<(), BrokerError> {
        if self.delivery.ack(BasicAckOptions::default()).await? {
            Ok(())
        } else {
            Err(BrokerError::Lost("the dead queues' channel was closed".to_owned()))
        }
    }
}

fn failed(work: &Work, model: &Model, topology: &Topology) -> Option<Message> {
    let scored = ScoredCompany::Error {
        cause: "consumer_crashed".to_owned(),
        message: "every consumer that it was delivered to died; look at its record, and at the consumers' logs".to_owned(),
    };
    let scored_at = timestamp(SystemTime::now());
    let result = ScoredResult { work, model, scored: &scored, scored_at: &scored_at, duration_ms: 0.0 };
    tracing::warn!(job = %work.job, index = %work.index, "a company killed every consumer that it was delivered to; it is failed");
    Some(Message {
        exchange: topology.results(),
        routing_key: result.routing_key(),
        properties: result.properties(),
        body: result.body().ok()?,
    })
}
