//! Asks the active aggregator how jobs stand, over AMQP's direct reply-to.

use std::time::Duration;

use lapin::options::{BasicPublishOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel};
use rollcall_shared::broker::{BrokerConnection, BrokerError, DIRECT_REPLY_TO, Subscription};
use rollcall_shared::message::{CompanySet, Indices, Job, JobStatus, Query, Reply, read_json};
use rollcall_shared::topology::Topology;

use crate::run::Failure;

/// A standby takes over within five seconds of the active aggregator's death; this waits a little longer.
const ANSWER_WITHIN: Duration = Duration::from_secs(8);

/// A question is repeated this often: the aggregator that took it may have died.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// The ledger takes a moment to say what was just said to it.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The way to the broker is broken.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// Nobody answered in time.
    #[error(
        "no aggregator answers: none runs, or one is still reading the ledger; jobs wait, and lose nothing, until one does: start `aggregator`, or see its log"
    )]
    NoAnswer,
    /// The aggregator does not answer this.
    #[error("the aggregator refuses to answer: {0}")]
    Refused(String),
}

impl From<lapin::Error> for AskError {
    fn from(error: lapin::Error) -> Self {
        AskError::Broker(error.into())
    }
}

/// A line to the aggregator.
pub struct Asker {
    channel: Channel,
    replies: Subscription,
    queue: String,
    questions: u64,
}

impl Asker {
    /// Opens it.
    ///
    /// # Errors
    /// [`BrokerError`].
    pub async fn open(link: &BrokerConnection, topology: &Topology) -> Result<Asker, BrokerError> {
        let channel = link.channel().await?;
        topology.declare(&channel).await?;
        topology.declare_queries(&channel).await?;
        let replies = Subscription::without_acks(&channel, DIRECT_REPLY_TO, "").await?;
        Ok(Asker { channel, replies, queue: topology.queries(), questions: 0 })
    }

    /// How one job stands; nothing where the ledger has no such job.
    ///
    /// # Errors
    /// [`AskError`].
    pub async fn job(&mut self, job: &Job) -> Result<Option<JobStatus>, AskError> {
        match self.ask(&Query::Job { job: job.clone() }).await? {
            Reply::Job(status) => Ok(status.map(|status| *status)),
            other => Err(unexpected(other)),
        }
    }

    /// How one job stands.
    ///
    /// # Errors
    /// [`Failure`]; [`Failure::NoSuchJob`] where the ledger has no such job.
    pub async fn known(&mut self, job: &Job) -> Result<JobStatus, Failure> {
        self.job(job).await?.ok_or_else(|| Failure::NoSuchJob(job.to_string()))
    }

    /// The companies of a job that have come to `which`; nothing where the aggregator no longer knows.
    ///
    /// # Errors
    /// [`AskError`].
    pub async fn companies(&mut self, job: &Job, which: CompanySet) -> Result<Option<Indices>, AskError> {
        match self.ask(&Query::Companies { job: job.clone(), which }).await? {
            Reply::Companies(indices) => Ok(indices),
            other => Err(unexpected(other)),
        }
    }

    /// Asks until the job stands as `expected`, which is what `words` say, and returns how.
    ///
    /// # Errors
    /// [`AskError`]; [`Failure::Other`] where the job stands otherwise to the end.
    pub async fn until(&mut self, job: &Job, words: &str, expected: impl Fn(&JobStatus) -> bool) -> Result<JobStatus, Failure> {
        let (mut otherwise, mut answered) = (None, false);
        let asked = async {
            loop {
                otherwise = self.job(job).await?;
                answered = true;
                if let Some(status) = otherwise.take_if(|status| expected(status)) {
                    return Ok(status);
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        match (tokio::time::timeout(ANSWER_WITHIN, asked).await, otherwise) {
            (Ok(answered), _) => answered,
            (Err(_), Some(status)) => Err(stands_otherwise(&status, words)),
            (Err(_), None) if answered => Err(Failure::NoSuchJob(job.to_string())),
            (Err(_), None) => Err(AskError::NoAnswer.into()),
        }
    }

    /// How every job stands.
    ///
    /// # Errors
    /// [`AskError`].
    pub async fn jobs(&mut self) -> Result<Vec<JobStatus>, AskError> {
        match self.ask(&Query::Jobs).await? {
            Reply::Jobs(jobs) => Ok(jobs),
            other => Err(unexpected(other)),
        }
    }

    /// Whether an aggregator takes questions now. During a takeover, for some seconds, none does.
    ///
    /// # Errors
    /// [`BrokerError`].
    pub async fn somebody_answers(&self) -> Result<bool, BrokerError> {
        let passive = QueueDeclareOptions { passive: true, ..Default::default() };
        let queue = self.channel.queue_declare(self.queue.as_str().into(), passive, FieldTable::default()).await?;
        Ok(queue.consumer_count() > 0)
    }

    async fn ask(&mut self, query: &Query) -> Result<Reply, AskError> {
        let body = serde_json::to_vec(query).map_err(BrokerError::from)?;
        self.questions += 1;
        let question = self.questions.to_string();
        let answered = async {
            loop {
                self.send(&body, &question).await?;
                if let Ok(reply) = tokio::time::timeout(ASK_EVERY, self.answer(&question)).await {
                    return reply;
                }
            }
        };
        tokio::time::timeout(ANSWER_WITHIN, answered).await.unwrap_or(Err(AskError::NoAnswer))
    }

    async fn answer(&mut self, question: &str) -> Result<Reply, AskError> {
        loop {
            let reply = self.replies.next().await?;
            // An earlier question that was asked twice may be answered twice.
            if reply.properties.correlation_id().as_ref().is_some_and(|id| id.as_str() == question) {
                return read_json(&reply.data)
                    .map_err(|error| AskError::Refused(format!("expected an answer to what was asked, found {error}")));
            }
        }
    }

    async fn send(&self, body: &[u8], question: &str) -> Result<(), AskError> {
        let expiration = ANSWER_WITHIN.as_millis().to_string();
        let properties = BasicProperties::default()
            .with_reply_to(DIRECT_REPLY_TO.into())
            .with_content_type("application/json".into())
            .with_correlation_id(question.into())
            .with_expiration(expiration.into());
        let options = BasicPublishOptions::default();
        self.channel.basic_publish("".into(), self.queue.as_str().into(), options, body, properties).await?;
        Ok(())
    }
}

fn stands_otherwise(status: &JobStatus, words: &str) -> Failure {
    let JobStatus { job, state, .. } = status;
    Failure::Other(format!(
        "expected job {job} to {words} within {} s, found it {state}; `producer status {job}` shows whether it has in the meantime",
        ANSWER_WITHIN.as_secs()
    ))
}

fn unexpected(reply: Reply) -> AskError {
    match reply {
        Reply::Refused(why) => AskError::Refused(why),
        other => AskError::Refused(format!("expected an answer to what was asked, found {other:?}")),
    }
}
