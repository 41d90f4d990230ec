//! Answers questions about jobs, over AMQP's direct reply-to, so that the command line needs no address but the broker's.

use std::collections::HashMap;

use lapin::message::Delivery;
use lapin::{BasicProperties, Channel};
use rollcall_shared::broker::{BrokerError, Subscription, publish_unconfirmed};
use rollcall_shared::message::{Job, JobStatus, Message, Query, Reply, Stall, read_json};
use rollcall_shared::topology::Topology;

use super::ledger::{JobCount, Ledger};

/// The questions that come in.
pub(super) struct Questions(Subscription);

impl Questions {
    /// Begins to take questions; `channel` is used for nothing else.
    pub(super) async fn open(channel: &Channel, topology: &Topology) -> Result<Questions, BrokerError> {
        // A question is worth nothing to the next aggregator: its asker has asked again by then.
        Ok(Questions(Subscription::without_acks(channel, &topology.queries(), "questions").await?))
    }

    /// Waits for the next one. Safe to cancel.
    pub(super) async fn next(&mut self) -> Result<Question, BrokerError> {
        Ok(Question { asked: self.0.next().await?, channel: self.0.channel().clone() })
    }
}

/// RabbitMQ 4.x closes the channel on a message over 16 MiB.
const LONGEST_REPLY: usize = 15 << 20;

/// A question, and the way back.
pub(super) struct Question {
    channel: Channel,
    asked: Delivery,
}

impl Question {
    /// Answers from what is counted so far.
    pub(super) async fn answer(self, ledger: &Ledger, stalled: &HashMap<Job, Stall>) -> Result<(), BrokerError> {
        let Some(reply_to) = self.asked.properties.reply_to() else { return Ok(()) };
        let reply = match read_json::<Query>(&self.asked.data) {
            Ok(query) => reply(&query, ledger, stalled),
            Err(error) => Reply::Refused(format!("expected a query for jobs, a job or its companies, found {error}")),
        };
        let mut properties = BasicProperties::default().with_content_type("application/json".into());
        if let Some(id) = self.asked.properties.correlation_id() {
            properties = properties.with_correlation_id(id.clone());
        }
        let body = body(&reply)?;
        let message = Message { exchange: String::new(), routing_key: reply_to.as_str().to_owned(), properties, body };
        publish_unconfirmed(&self.channel, message).await
    }
}

fn body(reply: &Reply) -> Result<Vec<u8>, BrokerError> {
    let body = serde_json::to_vec(reply)?;
    if body.len() <= LONGEST_REPLY {
        return Ok(body);
    }
    let bytes = body.len();
    let refused = Reply::Refused(format!("expected an answer of at most {LONGEST_REPLY} bytes, found {bytes}; ask for less"));
    Ok(serde_json::to_vec(&refused)?)
}

fn reply(query: &Query, ledger: &Ledger, stalled: &HashMap<Job, Stall>) -> Reply {
    let status = |job: &Job, count: &JobCount| JobStatus { stalled: stalled.get(job).cloned(), ..status(job, count, ledger) };
    match query {
        Query::Jobs => Reply::Jobs(ledger.jobs().map(|(job, count)| status(job, count)).collect()),
        Query::Companies { job, which } => Reply::Companies(ledger.job(job).and_then(|count| count.companies(which))),
        Query::Job { job } => Reply::Job(ledger.job(job).map(|count| Box::new(status(job, count)))),
    }
}

fn status(job: &Job, count: &JobCount, ledger: &Ledger) -> JobStatus {
    count.status(job, ledger.seconds_of(count), ledger.next_offset())
}
