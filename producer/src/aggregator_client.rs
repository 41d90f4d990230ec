//! Queries the active aggregator about jobs, over AMQP's direct reply-to.

use std::time::Duration;

use lapin::options::{BasicPublishOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel};
use rollcall_shared::broker::{BrokerConnection, BrokerError, DIRECT_REPLY_TO, Subscription};
use rollcall_shared::message::{CompanySet, Indices, Job, JobStatus, Query, Reply, read_json};
use rollcall_shared::topology::Topology;
use tokio::time::{sleep, timeout};

use crate::error::ProducerError;

/// A standby takes over within five seconds of the active aggregator's death; this waits a little longer.
const ANSWER_WITHIN: Duration = Duration::from_secs(8);

/// A query is repeated this often: the aggregator that took it may have died.
const REPEAT_EVERY: Duration = Duration::from_secs(1);

/// An event that was just published takes a moment to be read back from the ledger.
const POLL_EVERY: Duration = Duration::from_millis(50);

/// Sends queries to the aggregator on a channel of its own.
pub struct AggregatorClient {
    channel: Channel,
    replies: Subscription,
    queue: String,
    /// How many queries were sent; the number of each is its correlation id.
    queries: u64,
}

impl AggregatorClient {
    /// Opens a channel and subscribes to replies.
    ///
    /// # Errors
    /// If the broker refuses or the connection is lost.
    pub async fn open(link: &BrokerConnection, topology: &Topology) -> Result<AggregatorClient, BrokerError> {
        let channel = link.channel().await?;
        topology.declare(&channel).await?;
        topology.declare_queries(&channel).await?;
        let replies = Subscription::without_acks(&channel, DIRECT_REPLY_TO, "").await?;
        Ok(AggregatorClient { channel, replies, queue: topology.queries(), queries: 0 })
    }

    /// The status of one job; `None` if the ledger has no such job.
    ///
    /// # Errors
    /// If no aggregator answers, or the broker fails.
    pub async fn find_job(&mut self, job: &Job) -> Result<Option<JobStatus>, ProducerError> {
        match self.query(&Query::Job { job: job.clone() }).await? {
            Reply::Job(status) => Ok(status.map(|status| *status)),
            other => Err(unexpected(other)),
        }
    }

    /// The status of one job.
    ///
    /// # Errors
    /// [`ProducerError::NoSuchJob`] if the ledger has no such job; otherwise as [`AggregatorClient::find_job`].
    pub async fn job(&mut self, job: &Job) -> Result<JobStatus, ProducerError> {
        self.find_job(job).await?.ok_or_else(|| ProducerError::NoSuchJob(job.clone()))
    }

    /// The status of every job.
    ///
    /// # Errors
    /// If no aggregator answers, or the broker fails.
    pub async fn jobs(&mut self) -> Result<Vec<JobStatus>, ProducerError> {
        match self.query(&Query::Jobs).await? {
            Reply::Jobs(jobs) => Ok(jobs),
            other => Err(unexpected(other)),
        }
    }

    /// The companies of a job that `which` selects; `None` if the aggregator no longer knows the job's companies.
    ///
    /// # Errors
    /// If no aggregator answers, or the broker fails.
    pub async fn companies(&mut self, job: &Job, which: CompanySet) -> Result<Option<Indices>, ProducerError> {
        match self.query(&Query::Companies { job: job.clone(), which }).await? {
            Reply::Companies(indices) => Ok(indices),
            other => Err(unexpected(other)),
        }
    }

    /// Polls the job until its status is as `expected`, and returns that status. `words` describe it for the error.
    ///
    /// # Errors
    /// [`ProducerError::JobState`] if the status is another when time is up; otherwise as [`AggregatorClient::job`].
    pub async fn wait_until(
        &mut self,
        job: &Job,
        words: &str,
        expected: impl Fn(&JobStatus) -> bool,
    ) -> Result<JobStatus, ProducerError> {
        let (mut last, mut is_answered) = (None, false);
        let polled = async {
            loop {
                last = self.find_job(job).await?;
                is_answered = true;
                if let Some(status) = last.take_if(|status| expected(status)) {
                    return Ok(status);
                }
                sleep(POLL_EVERY).await;
            }
        };
        match (timeout(ANSWER_WITHIN, polled).await, last) {
            (Ok(polled), _) => polled,
            (Err(_), Some(status)) => Err(not_as_expected(&status, words)),
            (Err(_), None) if is_answered => Err(ProducerError::NoSuchJob(job.clone())),
            (Err(_), None) => Err(ProducerError::NoAggregator),
        }
    }

    /// Whether an aggregator takes queries now. During a takeover, for some seconds, none does.
    ///
    /// # Errors
    /// If the broker fails.
    pub async fn is_aggregator_up(&self) -> Result<bool, BrokerError> {
        let passive = QueueDeclareOptions { passive: true, ..Default::default() };
        let queue = self.channel.queue_declare(self.queue.as_str().into(), passive, FieldTable::default()).await?;
        Ok(queue.consumer_count() > 0)
    }

    async fn query(&mut self, query: &Query) -> Result<Reply, ProducerError> {
        let body = serde_json::to_vec(query).map_err(BrokerError::NotJson)?;
        self.queries += 1;
        let id = self.queries.to_string();
        let answered = async {
            loop {
                self.send(&body, &id).await?;
                if let Ok(reply) = timeout(REPEAT_EVERY, self.reply(&id)).await {
                    return reply;
                }
            }
        };
        timeout(ANSWER_WITHIN, answered).await.unwrap_or(Err(ProducerError::NoAggregator))
    }

    async fn send(&self, body: &[u8], id: &str) -> Result<(), BrokerError> {
        let expiration = ANSWER_WITHIN.as_millis().to_string();
        let properties = BasicProperties::default()
            .with_reply_to(DIRECT_REPLY_TO.into())
            .with_content_type("application/json".into())
            .with_correlation_id(id.into())
            .with_expiration(expiration.into());
        let options = BasicPublishOptions::default();
        self.channel.basic_publish("".into(), self.queue.as_str().into(), options, body, properties).await?;
        Ok(())
    }

    async fn reply(&mut self, id: &str) -> Result<Reply, ProducerError> {
        loop {
            let reply = self.replies.next().await?;
            // An earlier query that was sent twice may be answered twice.
            if reply.properties.correlation_id().as_ref().is_some_and(|found| found.as_str() == id) {
                return read_json(&reply.data).map_err(|error| ProducerError::UnreadableReply(error.to_string()));
            }
        }
    }
}

fn not_as_expected(status: &JobStatus, words: &str) -> ProducerError {
    let JobStatus { job, state, .. } = status;
    ProducerError::JobState(format!(
        "expected job {job} to {words} within {} s, found it {state}; `producer status {job}` shows whether it has in the meantime",
        ANSWER_WITHIN.as_secs()
    ))
}

fn unexpected(reply: Reply) -> ProducerError {
    match reply {
        Reply::Refused(why) => ProducerError::AggregatorRefused(why),
        Reply::Job(_) | Reply::Jobs(_) | Reply::Companies(_) => {
            ProducerError::UnreadableReply("a reply to another query".to_owned())
        }
    }
}
