//! Answers for companies: publishes each result, or moves the company to where it is to wait, and acknowledges the work once the
//! broker has stored that.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use lapin::Channel;
use lapin::options::BasicAckOptions;
use rollcall_shared::broker::{BrokerError, COALESCE, Publisher};
use rollcall_shared::message::{Message, Model, ScoredCompany, ScoredResult, Work};
use rollcall_shared::telemetry::ConsumerMetrics;
use rollcall_shared::topology::Topology;

use crate::acks::Acks;
use crate::batch::Scored;
use crate::intake::Taken;
use crate::settle::Settle;

/// Where a company is to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// For its next attempt, so long.
    Retry(Duration),
    /// To be scored by itself.
    Suspects,
    /// Until its job is resumed.
    Paused,
    /// Where it came from, behind the others.
    Back,
}

impl Place {
    fn as_str(self) -> &'static str {
        match self {
            Place::Retry(_) => "retry",
            Place::Suspects => "suspects",
            Place::Paused => "paused",
            Place::Back => "back",
        }
    }
}

/// The way out: results to publish, companies to move, work to acknowledge.
pub(crate) struct Answers {
    publisher: Publisher<Answered>,
    /// The channel the work came on.
    work: Channel,
    pub(crate) acks: Acks,
    topology: Topology,
    model: Model,
    /// Queues that are there only where something has to wait.
    declared: HashSet<String>,
    metrics: Arc<ConsumerMetrics>,
}

/// A message that the broker may or may not have yet.
pub(crate) struct Answered {
    tag: u64,
    suspect: bool,
    what: What,
}

enum What {
    Result { outcome: &'static str, cause: String },
    Moved(Place),
}

impl Answers {
    /// Publishes by `publisher`; acknowledges on `work`.
    pub(crate) fn open(
        publisher: Publisher<Answered>,
        work: Channel,
        topology: Topology,
        model: &Model,
        metrics: Arc<ConsumerMetrics>,
    ) -> Answers {
        Answers { publisher, work, acks: Acks::new(), topology, model: model.clone(), declared: HashSet::new(), metrics }
    }

    /// How many messages it can take now.
    pub(crate) fn room(&self) -> usize {
        self.publisher.room()
    }

    /// Messages published and not yet confirmed.
    pub(crate) fn pending(&self) -> usize {
        self.publisher.pending()
    }

    /// Waits until it can take as many messages as are published together.
    pub(crate) async fn make_room(&mut self) -> Result<(), BrokerError> {
        while self.room() < COALESCE {
            let confirmed = self.confirmed().await?;
            self.settle(confirmed).await?;
        }
        Ok(())
    }

    /// Publishes results, and moves what is to be tried again.
    pub(crate) async fn publish(&mut self, scored: impl Iterator<Item = Scored>) -> Result<(), BrokerError> {
        let mut messages = Vec::new();
        for Scored { taken, settle, scored_at, duration } in scored {
            messages.push(match settle {
                Settle::Answer(outcome) => self.result(&taken, outcome, &scored_at, duration)?,
                Settle::Retry(delay) => self.moved(taken, Place::Retry(delay)).await?,
            });
        }
        self.publisher.publish(messages).await
    }

    /// Moves companies.
    pub(crate) async fn move_to(&mut self, companies: impl IntoIterator<Item = (Taken, Place)>) -> Result<(), BrokerError> {
        let mut messages = Vec::new();
        for (taken, place) in companies {
            messages.push(self.moved(taken, place).await?);
        }
        self.publisher.publish(messages).await
    }

    fn result(
        &self,
        taken: &Taken,
        scored: ScoredCompany,
        scored_at: &str,
        duration: Duration,
    ) -> Result<(Answered, Message), BrokerError> {
        let duration_ms = (duration.as_secs_f64() * 1e6).round() / 1e3;
        let result = ScoredResult { work: &taken.work, model: &self.model, scored: &scored, scored_at, duration_ms };
        let message = Message {
            exchange: self.topology.results(),
            routing_key: result.routing_key(),
            properties: result.properties(),
            body: result.body().map_err(|error| BrokerError::Lost(error.to_string()))?,
        };
        let outcome = scored.outcome().as_str();
        let cause = if let ScoredCompany::Error { cause, .. } = scored { cause } else { String::new() };
        Ok((Answered { tag: taken.tag, suspect: taken.suspect, what: What::Result { outcome, cause } }, message))
    }

    async fn moved(&mut self, taken: Taken, place: Place) -> Result<(Answered, Message), BrokerError> {
        let queue = self.queue(&taken, place).await?;
        let answered = Answered { tag: taken.tag, suspect: taken.suspect, what: What::Moved(place) };
        let work = match place {
            // A new attempt has killed nobody yet.
            Place::Retry(_) => Work { attempt: taken.work.attempt.saturating_add(1), deliveries: 0, ..taken.work },
            _ => Work { deliveries: taken.deliveries, ..taken.work },
        };
        let message = Message { exchange: String::new(), routing_key: queue, properties: work.properties(), body: work.record };
        Ok((answered, message))
    }

    /// The queue of that place, declared where it may not be there yet.
    async fn queue(&mut self, taken: &Taken, place: Place) -> Result<String, BrokerError> {
        let Work { job, priority, .. } = &taken.work;
        let (name, declared) = match place {
            Place::Back if taken.suspect => return Ok(self.topology.suspect_queue(&self.model)),
            Place::Back => return Ok(self.topology.work_queue(&self.model, *priority)),
            Place::Suspects => return Ok(self.topology.suspect_queue(&self.model)),
            Place::Retry(delay) => {
                let name = self.topology.retry_queue(&self.model, *priority, delay);
                if self.declared.contains(&name) {
                    return Ok(name);
                }
                (name, self.topology.declare_retry(&self.work, &self.model, *priority, delay).await)
            }
            // Each time: the aggregator deletes it when the job has ended, and the job may be redriven.
            Place::Paused => {
                return self.topology.declare_paused(&self.work, job).await.map(|()| self.topology.paused_queue(job));
            }
        };
        declared?;
        self.declared.insert(name.clone());
        Ok(name)
    }

    /// Waits until the oldest message is confirmed. Safe to cancel.
    pub(crate) async fn confirmed(&mut self) -> Result<Option<Answered>, BrokerError> {
        self.publisher.confirmed().await
    }

    /// Notes that the work behind a confirmed message is finished, and behind all that have been confirmed after it by now;
    /// acknowledges what is due.
    pub(crate) async fn settle(&mut self, oldest: Option<Answered>) -> Result<(), BrokerError> {
        let mut answered: Vec<Answered> = oldest.into_iter().collect();
        self.publisher.confirmed_by_now(&mut answered)?;
        for Answered { tag, suspect, what } in answered {
            match what {
                What::Result { outcome, cause } => self.metrics.count_result(outcome, &cause),
                What::Moved(place) => self.metrics.moved.with_label_values(&[place.as_str()]).inc(),
            }
            if suspect {
                // The next suspect waits for this one's acknowledgement, whatever else is open.
                self.acks.settle(tag);
                self.work.basic_ack(tag, BasicAckOptions::default()).await?;
            } else {
                self.acks.finish(tag);
            }
        }
        self.acknowledge().await
    }

    /// Forgets a company that nobody wants an answer for.
    pub(crate) fn forget(&mut self, tag: u64) {
        self.metrics.dropped.inc();
        self.acks.finish(tag);
    }

    /// Sends the acknowledgements that are due.
    pub(crate) async fn acknowledge(&mut self) -> Result<(), BrokerError> {
        for ack in self.acks.due(self.publisher.pending() == 0) {
            self.work.basic_ack(ack.tag, BasicAckOptions { multiple: ack.multiple }).await?;
        }
        Ok(())
    }
}
