//! Follows a job to its end: by its events as they come, and by querying the aggregator.

mod view;

use std::sync::Arc;
use std::time::{Duration, Instant};

use rollcall_shared::broker::{BrokerArgs, BrokerConnection, BrokerError, Subscription, connect, supervise};
use rollcall_shared::lifecycle::Shutdown;
use rollcall_shared::message::{ConsumerStatus, Done, Event, Job, JobEvent, JobStatus, Model, State, read_json};
use rollcall_shared::topology::Topology;

use crate::aggregator_client::AggregatorClient;
use crate::cli::Output;
use crate::enqueue::claim::refuse_other_opening;
use crate::enqueue::progress::EnqueueProgress;
use crate::error::ProducerError;
use crate::fleet::{FleetStatus, shortened};
use crate::output::print;
use crate::status::{done_in_words, stalled_in_words};
use view::View;

/// Anybody may have published an event, so the aggregator is queried whether it is true. It takes a moment to read back its own done
/// event, so it is queried this often, with this pause in between.
const CHECKS_OF_A_DONE_EVENT: u32 = 50;
const CHECK_AGAIN_AFTER: Duration = Duration::from_millis(20);

/// How often to check that an aggregator counts and a consumer scores.
const CHECK_PROGRESS_EVERY: Duration = Duration::from_secs(3);

/// A job that the aggregator has known is gone if this many queries in a row do not find it.
const GONE_AFTER: u32 = 2;

/// The same for a job that the aggregator has never known: it may lag behind, and not have read the opening that the broker confirmed.
const GONE_UNREAD_AFTER: u32 = 20;

/// Follows `job` to its end, and prints how it ended.
///
/// # Errors
/// [`ProducerError::JobNotSucceeded`] if it ended in another state than succeeded; otherwise as [`follow`].
pub async fn watch(job: Job, broker: &BrokerArgs, output: Output, shutdown: &Shutdown) -> Result<(), ProducerError> {
    let done = follow(&job, broker, shutdown, None).await?;
    conclude(&done, output)
}

/// Prints how a job ended.
///
/// # Errors
/// [`ProducerError::JobNotSucceeded`] if it ended in another state than succeeded.
pub fn conclude(done: &Done, output: Output) -> Result<(), ProducerError> {
    print(output, done, || done_in_words(done))?;
    if done.state == State::Succeeded { Ok(()) } else { Err(ProducerError::JobNotSucceeded(done.state)) }
}

/// Follows `job` to its end. A job that this process is enqueueing need not be in the ledger yet.
///
/// # Errors
/// If there is no such job, it is another producer's, it is gone from the ledger, or the command is interrupted.
pub async fn follow(
    job: &Job,
    broker: &BrokerArgs,
    shutdown: &Shutdown,
    enqueue: Option<EnqueueProgress>,
) -> Result<Done, ProducerError> {
    let enqueue = enqueue.map(Arc::new);
    let mut watcher = JobWatcher {
        job,
        enqueue: enqueue.clone(),
        view: View::new(job, enqueue),
        was_found: false,
        not_found: 0,
        model: None,
        is_paused: false,
        stall: None,
        without_consumer: 0,
        has_progressed: false,
        last_fault: None,
        next_check: None,
        end: None,
    };
    // A watcher only reads, so it may be dropped at any point.
    let followed = tokio::select! {
        followed = supervise(broker, shutdown, Duration::ZERO, || {}, async || watcher.session(broker).await) => followed,
        () = shutdown.requested() => Ok(()),
    };
    watcher.view.finish();
    followed?;
    match watcher.end {
        Some(end) => end,
        None => Err(ProducerError::Interrupted(format!("interrupted; job {job} goes on: `producer watch {job}` follows it"))),
    }
}

struct JobWatcher<'a> {
    job: &'a Job,
    /// Set if this process enqueues the job: the job may not be open yet.
    enqueue: Option<Arc<EnqueueProgress>>,
    view: View,
    /// Whether the aggregator has ever known the job.
    was_found: bool,
    /// How many queries in a row have since not found it.
    not_found: u32,
    model: Option<Model>,
    is_paused: bool,
    stall: Option<String>,
    /// In how many checks in a row the model had no consumer.
    without_consumer: u32,
    /// Whether a progress event has come since the last check.
    has_progressed: bool,
    /// The last reason for which a consumer of the model has ended.
    last_fault: Option<String>,
    /// When to query the aggregator about an event, and how often at most.
    next_check: Option<(Instant, u32)>,
    end: Option<Result<Done, ProducerError>>,
}

impl JobWatcher<'_> {
    async fn session(&mut self, broker: &BrokerArgs) -> Result<(), BrokerError> {
        let link = connect(broker, &format!("rollcall producer: watch {}", self.job)).await?;
        let topology = broker.topology();
        let mut aggregator = AggregatorClient::open(&link, &topology).await?;
        let channel = link.channel().await?;
        let queue = topology.declare_watcher(&channel, self.job).await?;
        let mut events = Subscription::without_acks(&channel, &queue, "events").await?;
        let mut progress_check = tokio::time::interval(CHECK_PROGRESS_EVERY);
        let mut receives_faults = false;
        while self.end.is_none() {
            tokio::select! {
                event = events.next() => self.on_event(&event?),
                () = until(self.next_check) => self.check_event(&mut aggregator).await?,
                _ = progress_check.tick() => self.check_progress(&mut aggregator, &topology, &link).await?,
            }
            if let Some(model) = self.model.as_ref().filter(|_| !receives_faults) {
                topology.bind_consumer_faults(&channel, &queue, model).await?;
                receives_faults = true;
            }
        }
        link.close().await;
        Ok(())
    }

    fn on_event(&mut self, event: &lapin::message::Delivery) {
        match Event::read(&event.data).map(|event| event.event) {
            Ok(JobEvent::Progress(progress)) => {
                let (done, failed) = (progress.succeeded + progress.failed, progress.failed);
                self.has_progressed = true;
                self.view.progress(progress.total, done, failed, progress.companies_per_second);
            }
            Ok(JobEvent::Done(_)) => self.next_check = Some((Instant::now(), CHECKS_OF_A_DONE_EVENT)),
            Ok(_) => {
                self.next_check.get_or_insert((Instant::now(), 1));
            }
            Err(error) => match read_json::<ConsumerStatus>(&event.data).ok().and_then(|status| status.fault) {
                // A consumer that is restarted ends again for the same reason; that is shown once.
                Some(fault) if self.last_fault.as_ref() != Some(&fault) => {
                    self.view.note(&format!("a consumer has ended: {}", shortened(&fault)));
                    self.last_fault = Some(fault);
                }
                Some(_) => {}
                None => tracing::debug!(%error, "ignoring an event in an unknown format"),
            },
        }
    }

    /// Queries the aggregator about an event.
    async fn check_event(&mut self, aggregator: &mut AggregatorClient) -> Result<(), BrokerError> {
        let Some((_, checks_left)) = self.next_check.take() else { return Ok(()) };
        if aggregator.is_aggregator_up().await? {
            self.query_job(aggregator).await?;
        }
        if checks_left > 1 {
            self.next_check = Some((Instant::now() + CHECK_AGAIN_AFTER, checks_left - 1));
        }
        Ok(())
    }

    /// Checks whether the job can make progress, and shows why if it cannot.
    async fn check_progress(
        &mut self,
        aggregator: &mut AggregatorClient,
        topology: &Topology,
        link: &BrokerConnection,
    ) -> Result<(), BrokerError> {
        let has_progressed = std::mem::take(&mut self.has_progressed);
        if !aggregator.is_aggregator_up().await? {
            self.view.note("no aggregator is counting: none is running, or one is still reading the ledger");
            return Ok(());
        }
        self.query_job(aggregator).await?;
        let Some(model) = &self.model else { return Ok(()) };
        let note = if let Some(stall) = &self.stall {
            stall.clone()
        } else if self.is_paused {
            format!("the job is paused: `producer resume {}` resumes it", self.job)
        } else if has_progressed {
            self.without_consumer = 0;
            String::new()
        } else {
            let fleet = FleetStatus::query(link, topology, model).await?;
            let without_consumer = if fleet.has_consumers() { 0 } else { self.without_consumer.saturating_add(1) };
            self.without_consumer = without_consumer;
            match without_consumer {
                0 => fleet.fault_in_words(model).unwrap_or_default(),
                // A fleet is about to start one.
                1 => String::new(),
                _ => nobody_scores(model, aggregator.due_later(model).await),
            }
        };
        self.view.note(&note);
        Ok(())
    }

    async fn query_job(&mut self, aggregator: &mut AggregatorClient) -> Result<(), BrokerError> {
        match aggregator.find_job(self.job).await {
            Ok(Some(status)) => {
                (self.was_found, self.not_found) = (true, 0);
                if let Err(other) = self.refuse_other_opening(&status) {
                    self.end = Some(Err(other));
                    return Ok(());
                }
                self.model.clone_from(&status.model);
                self.is_paused = status.state == State::Paused;
                self.stall = stalled_in_words(&status);
                if let Some(total) = status.total {
                    self.view.sealed(total);
                }
                self.end = status.into_done().map(Ok);
            }
            Ok(None) => self.end = self.on_not_found().map(Err),
            Err(ProducerError::NoAggregator) => {}
            Err(ProducerError::Broker(error)) => return Err(error),
            Err(refused) => self.end = Some(Err(refused)),
        }
        Ok(())
    }

    /// The error if the aggregator does not find the job; `None` while it may still find it.
    fn on_not_found(&mut self) -> Option<ProducerError> {
        self.not_found += 1;
        let is_opened = self.enqueue.as_ref().is_some_and(|enqueue| enqueue.enqueued() > 0);
        match &self.enqueue {
            _ if self.was_found => (self.not_found >= GONE_AFTER).then(|| ProducerError::JobGone(self.job.clone())),
            None => Some(ProducerError::NoSuchJob(self.job.clone())),
            Some(_) => (is_opened && self.not_found >= GONE_UNREAD_AFTER).then(|| ProducerError::JobGone(self.job.clone())),
        }
    }

    /// Another producer may have taken the name while no aggregator answered.
    fn refuse_other_opening(&self, status: &JobStatus) -> Result<(), ProducerError> {
        match &self.enqueue {
            Some(enqueue) => refuse_other_opening(status, enqueue.opening, enqueue.enqueued()),
            None => Ok(()),
        }
    }
}

/// What whoever waits is told while the model has no consumer.
fn nobody_scores(model: &Model, due_later: u64) -> String {
    match due_later {
        0 => format!("no consumer takes work of model {model}: the job waits until one is started"),
        due_later => format!("{due_later} companies of model {model} wait until their next attempt is due"),
    }
}

async fn until(check: Option<(Instant, u32)>) {
    match check {
        Some((at, _)) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
