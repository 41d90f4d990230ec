//! Companies whose delivery killed consumers too often: each becomes a failed result, so that its job can end.

use std::collections::HashSet;
use std::time::SystemTime;

use futures_util::StreamExt;
use futures_util::stream::{BoxStream, SelectAll};
use lapin::Consumer;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use rollcall_shared::broker::{BrokerError, Link};
use rollcall_shared::message::{Message, Model, ScoredCompany, ScoredResult, Work, timestamp};
use rollcall_shared::topology::Topology;

/// There are few of them, and each is turned into a result before the next.
const PREFETCH: u16 = 100;

/// The subscriptions to the dead queues of every model that has a job under way.
#[derive(Default)]
pub(super) struct DeadLetters {
    deliveries: SelectAll<BoxStream<'static, (Model, Option<lapin::Result<Delivery>>)>>,
    models: HashSet<Model>,
}

/// A company from a dead queue.
pub(super) struct Dead {
    model: Model,
    delivery: Delivery,
}

impl DeadLetters {
    /// Subscribes to the dead queue of each model that is new here.
    pub(super) async fn subscribe(
        &mut self,
        link: &Link,
        topology: &Topology,
        models: impl Iterator<Item = &Model>,
    ) -> Result<(), BrokerError> {
        for model in models {
            if !self.models.insert(model.clone()) {
                continue;
            }
            match consume(link, topology, model).await {
                Ok(consumer) => {
                    let (of, end) = (model.clone(), (model.clone(), None));
                    let end = futures_util::stream::once(std::future::ready(end));
                    self.deliveries.push(consumer.map(move |delivery| (of.clone(), Some(delivery))).chain(end).boxed());
                }
                // One model's queues are no reason not to count the others.
                Err(error @ BrokerError::Topology { .. }) => {
                    tracing::error!(%error, %model, "its dead companies are not answered for");
                }
                Err(error) => return Err(error),
            }
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

async fn consume(link: &Link, topology: &Topology, model: &Model) -> Result<Consumer, BrokerError> {
    let channel = link.channel().await?;
    topology.declare_model(&channel, model).await?;
    channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
    let (queue, options) = (topology.dead_queue(model), BasicConsumeOptions::default());
    Ok(channel.basic_consume(queue.into(), "dead".into(), options, FieldTable::default()).await?)
}

impl Dead {
    /// The failed result that it becomes; nothing where the message is no work, which nobody can answer for.
    pub(super) fn result(&mut self, topology: &Topology) -> Option<Message> {
        match Work::read(&self.delivery.properties, std::mem::take(&mut self.delivery.data)) {
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
        message: "it was delivered too often without an answer: consumers died of it, or while they held it; look at its record and at their logs".to_owned(),
    };
    let scored_at = timestamp(SystemTime::now());
    let result = ScoredResult { work, model, scored: &scored, scored_at: &scored_at, duration_ms: 0.0 };
    tracing::warn!(job = %work.job, index = %work.index, "a company was delivered too often without an answer; it is failed");
    Some(Message {
        exchange: topology.results(),
        routing_key: result.routing_key(),
        properties: result.properties(),
        body: result.body().ok()?,
    })
}
