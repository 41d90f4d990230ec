//! Follows a job to its end: by its events as they come, and by asking where it stood before the first of them.

mod view;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lapin::Channel;
use lapin::options::{QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use rollcall_shared::broker::{BrokerArgs, BrokerConnection, BrokerError, Subscription, connect, supervise};
use rollcall_shared::lifecycle::Shutdown;
use rollcall_shared::message::{ConsumerStatus, Done, Event, Job, JobEvent, JobStatus, Model, Opening, State, read_json};
use rollcall_shared::topology::Topology;

use crate::ask::{AskError, Asker};
use crate::cli::Output;
use crate::companies::Progress;
use crate::enqueue::claim::refuse_other;
use crate::fleet::{FleetStatus, bounded};
use crate::run::Failure;
use crate::status::{done_in_words, print, stalled_in_words};
use view::View;

/// What an event says, anybody may have made up: the aggregator is asked. It takes a moment to read back what it said itself, so it
/// is asked so often, with this between.
const ASKED_OF_AN_END: u32 = 50;
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// How often to look whether anybody scores and anybody counts.
const LOOK_EVERY: Duration = Duration::from_secs(3);

/// A job of which the aggregator has known is gone when it is asked so often in a row, and does not.
const GONE_AFTER: u32 = 2;

/// The same of a job whose opening the broker has confirmed, and which an aggregator that lags behind may not have read yet.
const GONE_UNREAD_AFTER: u32 = 20;

/// Follows `job` to its end and tells how it ended.
///
/// # Errors
/// [`Failure`]; [`Failure::Ended`] where the job did not succeed.
pub async fn watch(job: Job, broker: &BrokerArgs, output: Output, shutdown: &Shutdown) -> Result<(), Failure> {
    let done = follow(&job, broker, shutdown, None).await?;
    conclude(&done, output)
}

/// Tells how a job ended.
///
/// # Errors
/// [`Failure::Ended`] where it did not succeed.
pub fn conclude(done: &Done, output: Output) -> Result<(), Failure> {
    print(output, done, || done_in_words(done))?;
    if done.state == State::Succeeded { Ok(()) } else { Err(Failure::Ended(done.state)) }
}

/// How far this process is with enqueueing the job that it follows.
#[derive(Debug)]
pub struct Enqueued {
    /// Its opening of the job.
    pub opening: Option<Opening>,
    /// Companies that the broker has.
    pub companies: Arc<AtomicU64>,
    /// How far the file has been read.
    pub progress: Arc<Progress>,
}

/// Follows `job` to its end. A job that is being `enqueued` need not be in the ledger yet.
///
/// # Errors
/// [`Failure`].
pub async fn follow(job: &Job, broker: &BrokerArgs, shutdown: &Shutdown, enqueued: Option<Enqueued>) -> Result<Done, Failure> {
    let enqueued = enqueued.map(Arc::new);
    let mut following = Following {
        job,
        enqueued: enqueued.clone(),
        view: View::new(job, enqueued),
        known: false,
        unknown: 0,
        model: None,
        paused: false,
        stall: None,
        moves: false,
        last_fault: None,
        doubt: None,
        end: None,
    };
    // Nothing is lost by leaving in the middle: a watcher only listens.
    let followed = tokio::select! {
        followed = supervise(broker, shutdown, Duration::ZERO, || {}, async || following.session(broker).await) => followed,
        () = shutdown.requested() => Ok(()),
    };
    following.view.finish();
    followed?;
    match following.end {
        Some(end) => end,
        None => Err(Failure::Interrupted(format!("interrupted; job {job} goes on: `producer watch {job}` follows it"))),
    }
}

struct Following<'a> {
    job: &'a Job,
    /// Where the same process enqueues the job: it may still be about to be opened.
    enqueued: Option<Arc<Enqueued>>,
    view: View,
    /// Whether the aggregator has known of the job.
    known: bool,
    /// How often in a row it has since not.
    unknown: u32,
    model: Option<Model>,
    paused: bool,
    stall: Option<String>,
    /// Whether it has made progress since the last look.
    moves: bool,
    /// Why a consumer of its model has ended, as it was told last.
    last_fault: Option<String>,
    /// An event says what only the aggregator can say: when it is to be asked, and how often at most.
    doubt: Option<(Instant, u32)>,
    end: Option<Result<Done, Failure>>,
}

impl Following<'_> {
    async fn session(&mut self, broker: &BrokerArgs) -> Result<(), BrokerError> {
        let link = connect(broker, &format!("rollcall producer: watch {}", self.job)).await?;
        let topology = broker.topology();
        let mut asker = Asker::open(&link, &topology).await?;
        let channel = link.channel().await?;
        let mut events = subscribe(&channel, &topology, self.job).await?;
        let mut look = tokio::time::interval(LOOK_EVERY);
        let mut hears_consumers = false;
        while self.end.is_none() {
            tokio::select! {
                event = events.next() => self.hear(&event?),
                () = until(self.doubt) => self.resolve(&mut asker).await?,
                _ = look.tick() => self.look(&mut asker, &topology, &link).await?,
            }
            if let Some(model) = self.model.as_ref().filter(|_| !hears_consumers) {
                topology.bind_consumer_faults(&channel, &events.queue(), model).await?;
                hears_consumers = true;
            }
        }
        link.close().await;
        Ok(())
    }

    fn hear(&mut self, event: &lapin::message::Delivery) {
        match Event::read(&event.data).map(|event| event.event) {
            Ok(JobEvent::Progress(progress)) => {
                let (done, failed) = (progress.succeeded + progress.failed, progress.failed);
                self.moves = true;
                self.view.progress(progress.total, done, failed, progress.companies_per_second);
            }
            Ok(JobEvent::Done(_)) => self.doubt = Some((Instant::now(), ASKED_OF_AN_END)),
            Ok(_) => {
                self.doubt.get_or_insert((Instant::now(), 1));
            }
            Err(error) => match read_json::<ConsumerStatus>(&event.data).ok().and_then(|status| status.fault) {
                // One that is started again and again ends for the same reason again and again.
                Some(fault) if self.last_fault.as_ref() != Some(&fault) => {
                    self.view.note(&format!("a consumer has ended: {}", bounded(&fault)));
                    self.last_fault = Some(fault);
                }
                Some(_) => {}
                None => tracing::debug!(%error, "an event that is none of ours"),
            },
        }
    }

    /// Asks about what an event said.
    async fn resolve(&mut self, asker: &mut Asker) -> Result<(), BrokerError> {
        let Some((_, left)) = self.doubt.take() else { return Ok(()) };
        if asker.somebody_answers().await? {
            self.ask(asker).await?;
        }
        if left > 1 {
            self.doubt = Some((Instant::now() + ASK_AGAIN, left - 1));
        }
        Ok(())
    }

    /// Looks whether the job can move at all, and says so where it cannot.
    async fn look(&mut self, asker: &mut Asker, topology: &Topology, link: &BrokerConnection) -> Result<(), BrokerError> {
        let moves = std::mem::take(&mut self.moves);
        if asker.somebody_answers().await? {
            self.ask(asker).await?;
        } else {
            self.view.note("no aggregator is counting: none is running, or one is still reading the ledger");
            return Ok(());
        }
        let Some(model) = &self.model else { return Ok(()) };
        if let Some(stall) = &self.stall {
            self.view.note(stall);
            return Ok(());
        }
        if self.paused {
            self.view.note(&format!("the job is paused: `producer resume {}` goes on with it", self.job));
            return Ok(());
        }
        if moves {
            self.view.note("");
            return Ok(());
        }
        let fleet = FleetStatus::ask(link, topology, model).await?;
        let note = if fleet.has_consumers() {
            fleet.fault_in_words(model).unwrap_or_default()
        } else {
            format!("no consumer takes work of model {model}: the job waits until one is started")
        };
        self.view.note(&note);
        Ok(())
    }

    async fn ask(&mut self, asker: &mut Asker) -> Result<(), BrokerError> {
        match asker.job(self.job).await {
            Ok(Some(status)) => {
                (self.known, self.unknown) = (true, 0);
                if let Err(other) = self.refuse_other(&status) {
                    self.end = Some(Err(other));
                    return Ok(());
                }
                self.model.clone_from(&status.model);
                self.paused = status.state == State::Paused;
                self.stall = stalled_in_words(&status);
                if let Some(total) = status.total {
                    self.view.sealed(total);
                }
                self.end = status.into_done().map(Ok);
            }
            Ok(None) => self.end = self.not_found().map(Err),
            Err(AskError::NoAnswer) => {}
            Err(AskError::Broker(error)) => return Err(error),
            Err(refused @ AskError::Refused(_)) => self.end = Some(Err(refused.into())),
        }
        Ok(())
    }

    /// What it means that the aggregator does not know the job; nothing where that may still change.
    fn not_found(&mut self) -> Option<Failure> {
        self.unknown += 1;
        let is_opened = self.enqueued.as_ref().is_some_and(|enqueued| enqueued.companies.load(Ordering::Relaxed) > 0);
        match &self.enqueued {
            _ if self.known => (self.unknown >= GONE_AFTER).then(|| Failure::Gone(self.job.clone())),
            None => Some(Failure::NoSuchJob(self.job.to_string())),
            Some(_) => (is_opened && self.unknown >= GONE_UNREAD_AFTER).then(|| Failure::Gone(self.job.clone())),
        }
    }

    /// The name may have been taken while nobody could tell.
    fn refuse_other(&self, status: &JobStatus) -> Result<(), Failure> {
        match &self.enqueued {
            Some(enqueued) => refuse_other(status, enqueued.opening, enqueued.companies.load(Ordering::Relaxed)),
            None => Ok(()),
        }
    }
}

async fn until(doubt: Option<(Instant, u32)>) {
    match doubt {
        Some((at, _)) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

async fn subscribe(channel: &Channel, topology: &Topology, job: &Job) -> Result<Subscription, BrokerError> {
    let options = QueueDeclareOptions { exclusive: true, auto_delete: true, ..Default::default() };
    let queue = channel.queue_declare("".into(), options, FieldTable::default()).await?.name().clone();
    let key = format!("job.{job}.*");
    channel
        .queue_bind(queue.clone(), topology.events().into(), key.into(), QueueBindOptions::default(), FieldTable::default())
        .await?;
    Subscription::without_acks(channel, queue.as_str(), "events").await
}
