//! Queries the leader among the aggregators about jobs.

use std::time::Duration;

use rollcall_shared::broker::{BrokerConnection, BrokerError, LeaderClient};
use rollcall_shared::message::{CompanySet, Indices, Job, JobStatus, JobsPage, Model, Query, Reply, ScaleSignal};
use rollcall_shared::topology::Topology;
use tokio::time::{sleep, timeout};

use crate::error::ProducerError;

/// A standby takes over within five seconds of the active aggregator's death; this waits a little longer.
const ANSWER_WITHIN: Duration = Duration::from_secs(8);

/// An event that was just published takes a moment to be read back from the ledger.
const POLL_EVERY: Duration = Duration::from_millis(50);

/// Queries the aggregator about jobs.
pub struct AggregatorClient {
    leader: LeaderClient,
}

impl AggregatorClient {
    /// Opens a channel of its own and subscribes to replies.
    ///
    /// # Errors
    /// If the broker refuses or the connection is lost.
    pub async fn open(link: &BrokerConnection, topology: &Topology) -> Result<AggregatorClient, BrokerError> {
        Ok(AggregatorClient { leader: LeaderClient::open(link, topology).await? })
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

    /// The status of some jobs, the newest first, and `before` of the next page if there are more.
    ///
    /// # Errors
    /// If no aggregator answers, or the broker fails.
    pub async fn page(&mut self, page: JobsPage) -> Result<(Vec<JobStatus>, Option<u64>), ProducerError> {
        match self.query(&Query::Page(page)).await? {
            Reply::Page { jobs, next } => Ok((jobs, next)),
            other => Err(unexpected(other)),
        }
    }

    /// The work that is left of every model that has a job.
    ///
    /// # Errors
    /// If no aggregator answers, or the broker fails.
    pub async fn work_left(&mut self) -> Result<Vec<ScaleSignal>, ProducerError> {
        match self.query(&Query::Scale).await? {
            Reply::Scale(signals) => Ok(signals),
            other => Err(unexpected(other)),
        }
    }

    /// Companies of a model whose next attempt is not due yet; 0 if no aggregator says so.
    pub async fn due_later(&mut self, model: &Model) -> u64 {
        let signals = self.work_left().await.unwrap_or_default();
        signals.into_iter().find(|signal| signal.model == *model).map_or(0, |signal| signal.due_later)
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
        self.leader.is_leader_up().await
    }

    /// Whether its channel is open.
    pub fn is_connected(&self) -> bool {
        self.leader.is_connected()
    }

    /// Closes its channel.
    pub fn close(&self) -> impl Future<Output = ()> + use<> {
        self.leader.close()
    }

    async fn query(&mut self, query: &Query) -> Result<Reply, ProducerError> {
        Ok(self.leader.ask(query, ANSWER_WITHIN).await?)
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
        Reply::Job(_) | Reply::Jobs(_) | Reply::Page { .. } | Reply::Companies(_) | Reply::Scale(_) => {
            ProducerError::UnreadableReply("a reply to another query".to_owned())
        }
    }
}
