//! Answers for companies: publishes each result, and acknowledges the work once the broker has stored the result.

use std::sync::Arc;

use lapin::Channel;
use lapin::options::BasicAckOptions;
use rollcall_shared::broker::{BrokerError, Publisher};
use rollcall_shared::message::{Message, Model, ScoredCompany, ScoredResult};
use rollcall_shared::telemetry::ConsumerMetrics;
use rollcall_shared::topology::Topology;

use crate::acks::Acks;
use crate::batch::Scored;

/// The way out: results to publish, work to acknowledge.
pub(crate) struct Answers {
    publisher: Publisher<Answered>,
    /// The channel the work came on.
    work: Channel,
    pub(crate) acks: Acks,
    exchange: String,
    model: Model,
    metrics: Arc<ConsumerMetrics>,
}

/// A result that the broker may or may not have yet.
pub(crate) struct Answered {
    tag: u64,
    outcome: &'static str,
    cause: String,
}

impl Answers {
    /// Publishes by `publisher`; acknowledges on `work`.
    pub(crate) async fn open(
        publishing: Channel,
        work: Channel,
        topology: &Topology,
        model: &Model,
        prefetch: u16,
        metrics: Arc<ConsumerMetrics>,
    ) -> Result<Answers, BrokerError> {
        Ok(Answers {
            publisher: Publisher::on(publishing).await?,
            work,
            acks: Acks::new(usize::from(prefetch) / 2),
            exchange: topology.results(),
            model: model.clone(),
            metrics,
        })
    }

    /// How many results it can take now.
    pub(crate) fn room(&self) -> usize {
        self.publisher.room()
    }

    /// Results published and not yet confirmed.
    pub(crate) fn pending(&self) -> usize {
        self.publisher.pending()
    }

    /// Publishes results.
    pub(crate) async fn publish(&mut self, scored: impl Iterator<Item = Scored>) -> Result<(), BrokerError> {
        let messages = scored.map(|scored| self.message(scored)).collect::<Result<_, _>>();
        self.publisher.publish(messages.map_err(|error| BrokerError::Lost(error.to_string()))?).await
    }

    fn message(&self, scored: Scored) -> Result<(Answered, Message), serde_json::Error> {
        let Scored { taken, outcome, scored_at, duration } = scored;
        let duration_ms = (duration.as_secs_f64() * 1e6).round() / 1e3;
        let result = ScoredResult { work: &taken.work, model: &self.model, scored: &outcome, scored_at: &scored_at, duration_ms };
        let message = Message {
            exchange: self.exchange.clone(),
            routing_key: result.routing_key(),
            properties: result.properties(),
            body: result.body()?,
        };
        let word = outcome.outcome().as_str();
        let cause = if let ScoredCompany::Error { cause, .. } = outcome { cause } else { String::new() };
        Ok((Answered { tag: taken.tag, outcome: word, cause }, message))
    }

    /// Waits until the oldest result is confirmed. Safe to cancel.
    pub(crate) async fn confirmed(&mut self) -> Result<Option<Answered>, BrokerError> {
        self.publisher.confirmed().await
    }

    /// Acknowledges the work of a confirmed result, and of all that have been confirmed behind it by now.
    pub(crate) async fn settle(&mut self, oldest: Option<Answered>) -> Result<(), BrokerError> {
        let mut answered: Vec<Answered> = oldest.into_iter().collect();
        self.publisher.confirmed_by_now(&mut answered)?;
        for Answered { tag, outcome, cause } in answered {
            self.acks.finish(tag);
            self.metrics.count_result(outcome, &cause);
        }
        for ack in self.acks.due() {
            self.work.basic_ack(ack.tag, BasicAckOptions { multiple: ack.multiple }).await?;
        }
        Ok(())
    }
}
