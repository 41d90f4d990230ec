//! The consumer's life: scoring threads for as long as it lives, and sessions with the broker one after another.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rollcall_shared::broker::{BrokerError, COALESCE, connect, supervise};
use rollcall_shared::lifecycle::Shutdown;
use rollcall_shared::telemetry::{self, ConsumerMetrics, Readiness};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use crate::Failure;
use crate::answer::Answers;
use crate::batch::{Desk, Scored};
use crate::cli::{ConsumerArgs, ScorerSpec};
use crate::intake::{Arrival, Intake};
use crate::score::Scorer;
use crate::score::bayes::{Bayes, Settings};
use crate::score::command::Command;
use crate::waiting::Waiting;

/// The part of the grace that is kept for the scoring threads to end, and for their children.
const LEAVE: Duration = Duration::from_millis(500);

/// How long the connection stays open after the last acknowledgement. The broker's channel holds acknowledgements back while a
/// quorum queue is busy and forgets them when it is closed: closing at once was seen to have 50 to 230 companies scored again.
const LINGER: Duration = Duration::from_secs(1);

/// Runs a consumer until `shutdown`.
///
/// # Errors
/// [`Failure`], where the scorer does not load, the broker refuses, or an address cannot be listened on.
pub async fn run(args: ConsumerArgs, shutdown: Shutdown) -> Result<(), Failure> {
    let metrics = Arc::new(ConsumerMetrics::new().map_err(|error| Failure::Other(error.to_string()))?);
    let ready = Readiness::default();
    let abandon = Arc::new(AtomicBool::new(false));
    let scorers = scorers(&args, &abandon)?;
    telemetry::serve(&args.metrics, metrics.registry.clone(), ready.clone()).await.map_err(Failure::Usage)?;
    let waiting = Arc::new(Waiting::default());
    let (scored, mut outcomes) = unbounded_channel();
    let desks = seat(scorers, &args, &waiting, &scored, &metrics);
    let sessions = AtomicU64::new(0);
    let reconnecting = || {
        ready.set(false);
        metrics.reconnections.inc();
    };
    let ended = supervise(&shutdown, args.grace.saturating_sub(LEAVE), reconnecting, async || {
        let number = sessions.fetch_add(1, Ordering::Relaxed);
        let session = Session { args: &args, waiting: &waiting, metrics: &metrics, ready: &ready, number };
        session.run(&mut outcomes, &shutdown).await
    })
    .await;
    abandon.store(true, Ordering::Relaxed);
    waiting.close();
    leave(desks).await;
    Ok(ended?)
}

/// One scorer a thread. A network is read once and shared; a command has a child a thread.
fn scorers(args: &ConsumerArgs, abandon: &Arc<AtomicBool>) -> Result<Vec<Box<dyn Scorer>>, Failure> {
    let threads = args.threads();
    match &args.scorer {
        ScorerSpec::Bayes(path) => {
            let settings = Settings { particles: args.particles, distributions: args.distributions };
            let bayes = Bayes::load(path, settings).map_err(|error| Failure::Usage(error.to_string()))?;
            Ok((0..threads).map(|_| Box::new(bayes.clone()) as Box<dyn Scorer>).collect())
        }
        ScorerSpec::Command(words) => {
            let start = |_| Command::start(words.clone(), args.score_timeout, Arc::clone(abandon));
            let started = (0..threads).map(start).map(|child| child.map(|child| Box::new(child) as Box<dyn Scorer>));
            started.collect::<Result<_, String>>().map_err(Failure::Usage)
        }
    }
}

fn seat(
    scorers: Vec<Box<dyn Scorer>>,
    args: &ConsumerArgs,
    waiting: &Arc<Waiting>,
    scored: &UnboundedSender<Scored>,
    metrics: &Arc<ConsumerMetrics>,
) -> Vec<JoinHandle<()>> {
    let desks = scorers.len();
    let seat = |scorer| Desk {
        scorer,
        waiting: Arc::clone(waiting),
        scored: scored.clone(),
        metrics: Arc::clone(metrics),
        batch: usize::from(args.batch),
        desks,
    };
    scorers.into_iter().map(seat).map(|desk| std::thread::spawn(|| desk.work())).collect()
}

/// Waits for the scoring threads, so that no child process is left behind; but not for one that is stuck.
async fn leave(desks: Vec<JoinHandle<()>>) {
    // Not a task of the runtime's: its end would be waited for without limit.
    let (ended, all_ended) = oneshot::channel();
    std::thread::spawn(move || ended.send(desks.into_iter().all(|desk| desk.join().is_ok())));
    if !matches!(tokio::time::timeout(LEAVE, all_ended).await, Ok(Ok(true))) {
        tracing::warn!("a scoring thread did not end; leaving it");
    }
}

struct Session<'a> {
    args: &'a ConsumerArgs,
    waiting: &'a Waiting,
    metrics: &'a Arc<ConsumerMetrics>,
    ready: &'a Readiness,
    number: u64,
}

impl Session<'_> {
    /// Takes work and answers for it until `shutdown`, or until the connection is lost.
    async fn run(&self, scored: &mut UnboundedReceiver<Scored>, shutdown: &Shutdown) -> Result<(), BrokerError> {
        // What an earlier session took, the broker gives out again.
        drop(self.waiting.clear());
        let ConsumerArgs { broker, model, prefetch, .. } = self.args;
        let topology = broker.topology();
        // Two connections: a broker short of memory stops reading from those that publish, and acknowledgements must get through.
        let consuming = connect(broker, &format!("rollcall consumer {model}: work")).await?;
        let publishing = connect(broker, &format!("rollcall consumer {model}: results")).await?;
        let work = consuming.channel().await?;
        topology.declare(&work).await?;
        topology.declare_model(&work, model).await?;
        let intake = Intake::open(work.clone(), &topology, model, *prefetch, self.number).await?;
        let results = publishing.channel().await?;
        let answers = Answers::open(results, work, &topology, model, *prefetch, Arc::clone(self.metrics)).await?;
        self.ready.set(true);
        tracing::info!(%model, prefetch, threads = self.args.threads(), "taking work");
        self.serve(intake, answers, scored, shutdown).await?;
        tokio::time::sleep(LINGER).await;
        consuming.close().await;
        publishing.close().await;
        Ok(())
    }

    async fn serve(
        &self,
        mut intake: Intake,
        mut answers: Answers,
        scored: &mut UnboundedReceiver<Scored>,
        shutdown: &Shutdown,
    ) -> Result<(), BrokerError> {
        while !shutdown.is_requested() {
            tokio::select! {
                arrival = intake.next() => self.take(&intake, &mut answers, arrival?).await?,
                outcome = scored.recv(), if answers.room() >= COALESCE => self.answer(&mut answers, outcome, scored).await?,
                confirmed = answers.confirmed(), if answers.pending() > 0 => answers.settle(confirmed?).await?,
                () = shutdown.requested() => {}
            }
            self.metrics.in_flight.set(gauge(answers.acks.open()));
            self.metrics.confirms_pending.set(gauge(answers.pending()));
        }
        self.finish(&mut intake, &mut answers, scored).await
    }

    async fn take(&self, intake: &Intake, answers: &mut Answers, arrival: Arrival) -> Result<(), BrokerError> {
        for tag in arrival.taken.iter().map(|taken| taken.tag).chain(arrival.malformed.iter().copied()) {
            answers.acks.arrived(tag);
        }
        self.metrics.work_taken.inc_by(arrival.taken.len() as u64);
        for tag in arrival.malformed {
            intake.refuse(tag).await?;
            answers.acks.settle(tag);
        }
        self.waiting.add(arrival.taken);
        Ok(())
    }

    /// Publishes an outcome, and with it what has already come behind it.
    async fn answer(
        &self,
        answers: &mut Answers,
        outcome: Option<Scored>,
        scored: &mut UnboundedReceiver<Scored>,
    ) -> Result<(), BrokerError> {
        let more = std::iter::from_fn(|| scored.try_recv().ok());
        // A tag of an earlier session means nothing on this session's channel.
        let ours = outcome.into_iter().chain(more).take(COALESCE).filter(|scored| scored.taken.session == self.number);
        answers.publish(ours).await
    }

    /// Stops taking, gives back what nobody has begun, and answers for the rest.
    async fn finish(
        &self,
        intake: &mut Intake,
        answers: &mut Answers,
        scored: &mut UnboundedReceiver<Scored>,
    ) -> Result<(), BrokerError> {
        let unseen = intake.close().await?;
        unseen.iter().for_each(|&tag| answers.acks.arrived(tag));
        let unbegun = self.waiting.clear().into_iter().map(|taken| taken.tag);
        for tag in unseen.into_iter().chain(unbegun) {
            intake.give_back(tag).await?;
            answers.acks.settle(tag);
        }
        answers.acks.wait_no_more();
        answers.settle(None).await?;
        tracing::info!(companies = answers.acks.open(), "stopping: finishing what is being scored");
        while answers.acks.open() > 0 {
            tokio::select! {
                outcome = scored.recv(), if answers.room() >= COALESCE => self.answer(answers, outcome, scored).await?,
                confirmed = answers.confirmed(), if answers.pending() > 0 => answers.settle(confirmed?).await?,
            }
        }
        Ok(())
    }
}

fn gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
