//! Answers queries about jobs over AMQP's direct reply-to, so that the command line needs no address but the broker's.

use std::collections::HashMap;

use lapin::message::Delivery;
use lapin::{BasicProperties, Channel};
use rollcall_shared::broker::{BrokerError, Subscription, publish_unconfirmed};
use rollcall_shared::message::{Job, JobStatus, JobsPage, Message, Query, Reply, ScaleSignal, Stall, read_json};
use rollcall_shared::topology::Topology;

use crate::jobs::{JobState, Jobs};

/// The subscription to the queue of queries.
pub(crate) struct Queries(Subscription);

impl Queries {
    /// Subscribes. `channel` must be used for nothing else.
    pub(crate) async fn open(channel: &Channel, topology: &Topology) -> Result<Queries, BrokerError> {
        // A query that is lost with this leader is worth nothing to the next: it has been repeated by then.
        Ok(Queries(Subscription::without_acks(channel, &topology.queries(), "queries").await?))
    }

    /// Waits for the next query. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Result<IncomingQuery, BrokerError> {
        Ok(IncomingQuery { delivery: self.0.next().await?, channel: self.0.channel().clone() })
    }
}

/// RabbitMQ 4.x closes the channel on a message over 16 MiB.
const MAX_REPLY_BYTES: usize = 15 << 20;

/// A query, and the channel for its reply.
pub(crate) struct IncomingQuery {
    channel: Channel,
    delivery: Delivery,
}

impl IncomingQuery {
    /// Publishes the reply, from what is counted so far; `signals` returns the scale signals.
    pub(crate) async fn answer(
        self,
        jobs: &Jobs,
        stalled: &HashMap<Job, Stall>,
        signals: impl FnOnce() -> Vec<ScaleSignal>,
    ) -> Result<(), BrokerError> {
        let Some(reply_to) = self.delivery.properties.reply_to() else { return Ok(()) };
        let reply = match read_json::<Query>(&self.delivery.data) {
            Ok(query) => reply(&query, jobs, stalled, signals),
            Err(error) => Reply::Refused(format!("expected a query for jobs, a job or its companies, found {error}")),
        };
        let mut properties = BasicProperties::default().with_content_type("application/json".into());
        if let Some(id) = self.delivery.properties.correlation_id() {
            properties = properties.with_correlation_id(id.clone());
        }
        let body = body(&reply)?;
        let message = Message { exchange: String::new(), routing_key: reply_to.as_str().to_owned(), properties, body };
        publish_unconfirmed(&self.channel, message).await
    }
}

fn body(reply: &Reply) -> Result<Vec<u8>, BrokerError> {
    let body = serde_json::to_vec(reply).map_err(BrokerError::NotJson)?;
    if body.len() <= MAX_REPLY_BYTES {
        return Ok(body);
    }
    let bytes = body.len();
    let refused = Reply::Refused(format!("expected an answer of at most {MAX_REPLY_BYTES} bytes, found {bytes}; ask for less"));
    serde_json::to_vec(&refused).map_err(BrokerError::NotJson)
}

fn reply(query: &Query, jobs: &Jobs, stalled: &HashMap<Job, Stall>, signals: impl FnOnce() -> Vec<ScaleSignal>) -> Reply {
    let status = |job: &Job, state: &JobState| {
        let status = state.status(job, jobs.running_seconds(state), jobs.next_offset());
        JobStatus { stalled: stalled.get(job).cloned(), ..status }
    };
    match query {
        Query::Jobs => Reply::Jobs(jobs.all().map(|(job, state)| status(job, state)).collect()),
        Query::Page(page) => {
            let (some, next) = some_jobs(page, jobs);
            Reply::Page { jobs: some.into_iter().map(|(job, state)| status(job, state)).collect(), next }
        }
        Query::Companies { job, which } => Reply::Companies(jobs.get(job).and_then(|state| state.companies(which))),
        Query::Scale => Reply::Scale(signals()),
        Query::Job { job } => Reply::Job(jobs.get(job).map(|state| Box::new(status(job, state)))),
    }
}

/// The jobs of a page, the newest first, and `before` of the next page.
fn some_jobs<'a>(page: &JobsPage, jobs: &'a Jobs) -> (Vec<(&'a Job, &'a JobState)>, Option<u64>) {
    let JobsPage { state, model, name_prefix, before, limit } = page;
    let mut found: Vec<(&Job, &JobState)> = jobs
        .all()
        .filter(|(job, found)| {
            before.is_none_or(|before| found.first_offset() < before)
                && state.is_none_or(|state| found.state() == state)
                && model.as_ref().is_none_or(|model| found.model() == model)
                && job.as_str().starts_with(name_prefix.as_str())
        })
        .collect();
    found.sort_unstable_by_key(|(_, found)| std::cmp::Reverse(found.first_offset()));
    let more = found.len() > *limit as usize;
    found.truncate(*limit as usize);
    let next = found.last().filter(|_| more).map(|(_, last)| last.first_offset());
    (found, next)
}
