//! Follows a job to its end: by its events as they come, and by asking where it stood before the first of them.

mod view;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use futures_util::StreamExt;
use lapin::options::{BasicConsumeOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Consumer};
use rollcall_shared::broker::{BrokerArgs, BrokerError, connect, supervise};
use rollcall_shared::lifecycle::Shutdown;
use rollcall_shared::message::{Done, Event, Job, JobEvent, Model, State};
use rollcall_shared::topology::Topology;

use crate::ask::{AskError, Asker};
use crate::cli::Output;
use crate::companies::Progress;
use crate::run::Failure;
use crate::status::{done_in_words, print};
use view::View;

/// How often to look whether anybody scores and anybody counts.
const LOOK_EVERY: Duration = Duration::from_secs(3);

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
    let mut following =
        Following { job, expected: enqueued.is_some(), view: View::new(job, enqueued), model: None, paused: false, end: None };
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
    /// Whether the job may still be about to be opened.
    expected: bool,
    view: View,
    model: Option<Model>,
    paused: bool,
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
        while self.end.is_none() {
            tokio::select! {
                event = events.next() => self.hear(event)?,
                _ = look.tick() => self.look(&mut asker, &topology, &channel).await?,
            }
        }
        link.close().await;
        Ok(())
    }

    fn hear(&mut self, event: Option<lapin::Result<lapin::message::Delivery>>) -> Result<(), BrokerError> {
        let event = event.ok_or_else(|| BrokerError::Lost("the broker cancelled the consumer of events".to_owned()))??;
        match Event::read(&event.data).map(|event| event.event) {
            Ok(JobEvent::Progress(progress)) => {
                let (done, failed) = (progress.succeeded + progress.failed, progress.failed);
                self.view.progress(progress.total, done, failed, progress.companies_per_second);
            }
            Ok(JobEvent::Done(done)) => self.end = Some(Ok(done)),
            Ok(JobEvent::Opened(opened)) => self.model = Some(opened.model),
            Ok(JobEvent::Sealed(sealed)) => self.view.sealed(sealed.total),
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "an event that is none of ours"),
        }
        Ok(())
    }

    /// Looks whether the job can move at all, and says so where it cannot.
    async fn look(&mut self, asker: &mut Asker, topology: &Topology, channel: &Channel) -> Result<(), BrokerError> {
        if asker.somebody_answers().await? {
            self.ask(asker).await?;
        } else {
            self.view.note("no aggregator is counting: none is running, or one is still reading the ledger");
            return Ok(());
        }
        let Some(model) = &self.model else { return Ok(()) };
        if self.paused {
            self.view.note(&format!("the job is paused: `producer resume {}` goes on with it", self.job));
            return Ok(());
        }
        topology.declare_model(channel, model).await?;
        if topology.backlog(channel, model).await?.consumers == 0 {
            self.view.note(&format!("no consumer takes work of model {model}: the job waits until one is started"));
        } else {
            self.view.note("");
        }
        Ok(())
    }

    async fn ask(&mut self, asker: &mut Asker) -> Result<(), BrokerError> {
        match asker.job(self.job).await {
            Ok(Some(status)) => {
                self.model.clone_from(&status.model);
                self.paused = status.state == State::Paused;
                if let Some(total) = status.total {
                    self.view.sealed(total);
                }
                self.end = status.into_done().map(Ok);
            }
            Ok(None) if !self.expected => self.end = Some(Err(Failure::NoSuchJob(self.job.to_string()))),
            Ok(None) | Err(AskError::NoAnswer) => {}
            Err(AskError::Broker(error)) => return Err(error),
            Err(refused @ AskError::Refused(_)) => self.end = Some(Err(refused.into())),
        }
        Ok(())
    }
}

async fn subscribe(channel: &Channel, topology: &Topology, job: &Job) -> Result<Consumer, BrokerError> {
    let options = QueueDeclareOptions { exclusive: true, auto_delete: true, ..Default::default() };
    let queue = channel.queue_declare("".into(), options, FieldTable::default()).await?.name().clone();
    let key = format!("job.{job}.*");
    channel
        .queue_bind(queue.clone(), topology.events().into(), key.into(), QueueBindOptions::default(), FieldTable::default())
        .await?;
    let options = BasicConsumeOptions { no_ack: true, ..Default::default() };
    Ok(channel.basic_consume(queue, "events".into(), options, FieldTable::default()).await?)
}
