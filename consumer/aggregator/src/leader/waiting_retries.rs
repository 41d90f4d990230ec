//! Counts the companies that wait for a next attempt that is not due yet: an autoscaler is to start no consumer for them before.
//!
//! Only a model without a new outcome for some seconds is counted, since the others have work anyway.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use rollcall_shared::broker::{BrokerArgs, BrokerConnection, BrokerError, query_consumers};
use rollcall_shared::message::{Model, Priority};
use rollcall_shared::topology::Topology;

use super::queue_depths::QueueDepths;
use crate::jobs::QueueCounts;

/// A model without a new outcome for so long is counted.
pub(super) const QUIET_AFTER: Duration = Duration::from_secs(5);

/// A count that takes longer is given up.
const COUNT_WITHIN: Duration = Duration::from_secs(5);

/// A retry queue that did not exist is not asked about again for so long, unless its model has had a new outcome.
const MISSING_FOR: Duration = Duration::from_secs(60);

/// After a count that failed, the next one waits so long.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(10);

const LOG_EVERY: Duration = Duration::from_secs(60);

/// A model that has had no new outcome for a while.
#[derive(Debug)]
pub(super) struct QuietModel {
    pub(super) model: Model,
    /// Companies without an outcome of jobs that are not paused.
    pub(super) unfinished: u64,
    /// The known delays after which its companies are tried again: each has a queue.
    pub(super) delays: BTreeSet<Duration>,
}

/// Where the companies of quiet models are.
pub(super) struct WaitingRetries<'a> {
    publishing: &'a BrokerConnection,
    topology: Topology,
    /// `None` while a count is under way.
    counter: Option<Counter>,
    counting: Option<LocalBoxFuture<'a, Counted>>,
    known: HashMap<Model, QueueCounts>,
}

/// Counts that have ended.
pub(super) struct Counted {
    counter: Counter,
    found: HashMap<Model, QueueCounts>,
}

impl<'a> WaitingRetries<'a> {
    pub(super) fn new(broker: &BrokerArgs, publishing: &'a BrokerConnection, topology: &Topology) -> WaitingRetries<'a> {
        let counter = Counter { queues: QueueDepths::new(broker), missing: HashMap::new(), failed: None, logged: None };
        WaitingRetries { publishing, topology: topology.clone(), counter: Some(counter), counting: None, known: HashMap::new() }
    }

    /// Where companies are, of each model of which that was counted.
    pub(super) fn counts(&self) -> &HashMap<Model, QueueCounts> {
        &self.known
    }

    /// Waits for the end of a count. Cancel-safe.
    pub(super) async fn next(&mut self) -> Counted {
        match &mut self.counting {
            Some(counting) => counting.await,
            None => std::future::pending().await,
        }
    }

    /// Notes what was counted.
    pub(super) fn note(&mut self, counted: Counted) {
        let Counted { counter, found } = counted;
        (self.counting, self.counter, self.known) = (None, Some(counter), found);
    }

    /// Begins to count, unless a count is under way.
    pub(super) fn every_second(&mut self, quiet: Vec<QuietModel>) {
        self.known.retain(|model, _| quiet.iter().any(|quiet| quiet.model == *model));
        // A broker that is short of memory would not pass on the question to consumers.
        if self.publishing.is_blocked() {
            self.known.clear();
            return;
        }
        if let Some(counter) = self.counter.take() {
            self.counting = Some(counter.count(self.publishing, self.topology.clone(), quiet).boxed_local());
        }
    }
}

struct Counter {
    queues: QueueDepths,
    /// Retry queues that did not exist, and when that was.
    missing: HashMap<(Model, String), Instant>,
    /// When a count failed last, and when that was logged last.
    failed: Option<Instant>,
    logged: Option<Instant>,
}

impl Counter {
    async fn count(mut self, publishing: &BrokerConnection, topology: Topology, quiet: Vec<QuietModel>) -> Counted {
        let is_quiet = |model: &Model| quiet.iter().any(|quiet| quiet.model == *model);
        self.missing.retain(|(model, _), at| at.elapsed() < MISSING_FOR && is_quiet(model));
        let mut found = HashMap::new();
        if self.failed.is_some_and(|failed| failed.elapsed() < PAUSE_AFTER_FAILURE) {
            return Counted { counter: self, found };
        }
        for quiet in &quiet {
            match tokio::time::timeout(COUNT_WITHIN, self.count_model(publishing, &topology, quiet)).await {
                Ok(Ok(Some(counts))) => drop(found.insert(quiet.model.clone(), counts)),
                Ok(Ok(None)) => {}
                Ok(Err(error)) => {
                    self.note_failure(&quiet.model, &error);
                    break;
                }
                // A queue that nobody can reach does not answer, and holds up what is asked on this connection.
                Err(_) => self.queues.close().await,
            }
        }
        if quiet.is_empty() {
            self.queues.close().await;
        }
        Counted { counter: self, found }
    }

    fn note_failure(&mut self, model: &Model, error: &BrokerError) {
        self.failed = Some(Instant::now());
        if self.logged.is_none_or(|logged| logged.elapsed() >= LOG_EVERY) {
            self.logged = self.failed;
            tracing::warn!(
                event = "retries_not_counted",
                %error,
                %model,
                "cannot count the companies that wait for a later retry, which needs a connection more; an autoscaler sees them as work now"
            );
        }
    }

    /// `None` if all companies may be ready or held. Queues are asked against the direction in which a company moves back to its work queue:
    /// one that becomes due meanwhile is not counted at all, and so is work.
    async fn count_model(
        &mut self,
        publishing: &BrokerConnection,
        topology: &Topology,
        quiet: &QuietModel,
    ) -> Result<Option<QueueCounts>, BrokerError> {
        let QuietModel { model, unfinished, delays } = quiet;
        let mut known = self.ready_or_held(publishing, topology, quiet).await?;
        if known.is_none() {
            // A consumer that has just stopped was still counted, and could not answer any more.
            known = self.ready_or_held(publishing, topology, quiet).await?;
        }
        let Some(ready_or_held) = known.filter(|count| count < unfinished) else { return Ok(None) };
        let mut in_retry = 0;
        for &delay in delays {
            for priority in [Priority::Normal, Priority::High] {
                in_retry += u64::from(self.retry_depth(model, topology.retry_queue(model, priority, delay)).await?);
            }
        }
        Ok(Some(QueueCounts { ready_or_held, in_retry }))
    }

    /// Companies in the work queues and the quarantine, or held by consumers; `None` if a consumer has not answered. Where that makes no
    /// difference, since they are all that are unfinished, not all are counted.
    async fn ready_or_held(
        &mut self,
        publishing: &BrokerConnection,
        topology: &Topology,
        QuietModel { model, unfinished, .. }: &QuietModel,
    ) -> Result<Option<u64>, BrokerError> {
        let (mut ready_or_held, mut consumers) = (0, 0);
        let work = [Priority::Normal, Priority::High].map(|priority| topology.work_queue(model, priority));
        // Each consumer has exactly one subscription to the quarantine, the last.
        for queue in work.into_iter().chain([topology.quarantine_queue(model)]) {
            let depth = self.queues.depth_from_queue(&queue).await?.unwrap_or_default();
            ready_or_held += u64::from(depth.messages);
            consumers = depth.consumers;
        }
        if ready_or_held >= *unfinished {
            return Ok(Some(ready_or_held));
        }
        // How many will answer is unknown: a consumer that is stopping answers, and has no subscription any more.
        let ask = async |channel: &_| query_consumers(channel, topology, model, None).await;
        let answers = publishing.on_own_channel(ask).await?;
        ready_or_held += answers.iter().map(|status| status.held).sum::<u64>();
        let have_all_answered = answers.len() >= usize::try_from(consumers).unwrap_or(usize::MAX);
        Ok((have_all_answered || ready_or_held >= *unfinished).then_some(ready_or_held))
    }

    async fn retry_depth(&mut self, model: &Model, queue: String) -> Result<u32, BrokerError> {
        let key = (model.clone(), queue);
        if self.missing.contains_key(&key) {
            return Ok(0);
        }
        let depth = self.queues.depth(&key.1).await?;
        if depth.is_none() {
            self.missing.insert(key, Instant::now());
        }
        Ok(depth.unwrap_or_default().messages)
    }
}
