//! The life of a consumer: its workers, and one session with the broker after another.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rollcall_score::Scorer;
use rollcall_score::bayes::{Bayes, Settings};
use rollcall_score::command::{Command, Launcher};
use rollcall_shared::broker::{Backoff, BrokerError, supervise};
use rollcall_shared::lifecycle::Shutdown;
use rollcall_shared::telemetry::{self, ConsumerMetrics, Readiness};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::cli::{ConsumerArgs, ScorerSpec};
use crate::error::ConsumerError;
use crate::results::disposition::DecidedItem;
use crate::session::handover::Handover;
use crate::session::state::Session;
use crate::workers::context::WorkerContext;
use crate::workers::features::Features;
use crate::workers::health::Health;
use crate::workers::hold::{Hold, HoldLimits};
use crate::workers::local_queue::LocalQueue;
use crate::workers::pool::{StartError, StartScorer, WorkerPool};
use crate::workers::slot::Slots;

/// The part of the grace that is kept for the workers and their child processes to end.
const STOP_WORKERS_WITHIN: Duration = Duration::from_millis(500);

/// Runs a consumer until `shutdown`.
///
/// # Errors
/// A bad setting, a scorer that does not start or fails on every company, or a broker that refuses.
pub async fn run(args: ConsumerArgs, shutdown: Shutdown) -> Result<(), ConsumerError> {
    args.check_holding_time()?;
    args.retry_policy()?;
    let metrics = ConsumerMetrics::new().map_err(|error| ConsumerError::Process(error.to_string()))?;
    let metrics = Arc::new(metrics);
    let ready = Readiness::default();
    let stopping = Arc::new(AtomicBool::new(false));
    let start_scorer = scorer_starter(&args, &stopping)?;
    let scorers = (0..args.threads()).map(|_| start_scorer()).collect::<Result<_, _>>();
    let scorers = scorers.map_err(|error| ConsumerError::StartScorer(error.to_string()))?;
    let served = telemetry::serve(&args.metrics, metrics.registry.clone(), ready.clone(), Default::default()).await;
    served.map_err(|error| ConsumerError::Usage(error.to_string()))?;
    let (stop, shutdown_of_sessions) = Shutdown::manual();
    let health = Health::new(args.scorer.to_string(), args.scorer.how_to_try(), stop, args.fleet_number.is_some());
    let health = Arc::new(health);
    tokio::spawn({
        let health = Arc::clone(&health);
        async move {
            shutdown.requested().await;
            health.stop();
        }
    });
    let (decided_sender, mut decided) = unbounded_channel();
    let context = Arc::new(worker_context(&args, decided_sender, metrics, Arc::clone(&health))?);
    let pool = WorkerPool::start(scorers, Arc::clone(&context), start_scorer, ready.clone());
    let ended = run_sessions(&args, &context, &ready, &mut decided, &shutdown_of_sessions).await;
    stopping.store(true, Ordering::Relaxed);
    context.queue.close();
    pool.stop(STOP_WORKERS_WITHIN).await;
    match health.given_up() {
        Some(why) => Err(ConsumerError::BrokenScorer(why)),
        None => Ok(ended?),
    }
}

fn worker_context(
    args: &ConsumerArgs,
    decided: UnboundedSender<Vec<DecidedItem>>,
    metrics: Arc<ConsumerMetrics>,
    health: Arc<Health>,
) -> Result<WorkerContext, ConsumerError> {
    Ok(WorkerContext {
        queue: LocalQueue::default(),
        decided,
        features: Features::new(args.allow_no_evidence, Arc::clone(&metrics)),
        metrics,
        slots: Slots::default(),
        hold: Hold::new(HoldLimits {
            hold: args.hold,
            workers: args.threads(),
            prefetch: usize::from(args.prefetch),
            batch: usize::from(args.batch),
            score_timeout: args.score_timeout,
        }),
        health,
        workers: args.threads(),
        call_timeout: args.call_timeout(),
        consumer_timeout: args.consumer_timeout,
        retry: args.retry_policy()?,
    })
}

/// Runs sessions until `shutdown`, each after the connection of the one before was lost.
async fn run_sessions(
    args: &ConsumerArgs,
    context: &WorkerContext,
    ready: &Readiness,
    decided: &mut UnboundedReceiver<Vec<DecidedItem>>,
    shutdown: &Shutdown,
) -> Result<(), BrokerError> {
    let patience = args.grace.saturating_sub(STOP_WORKERS_WITHIN);
    let sessions = AtomicU64::new(0);
    let new_session = || Session { args, context, patience, ready, number: sessions.fetch_add(1, Ordering::Relaxed) };
    let mut handover = Handover::default();
    let reconnecting = || {
        ready.set(false);
        context.metrics.reconnections.inc();
    };
    let ended = supervise(&args.broker, shutdown, patience, reconnecting, async || {
        new_session().run(decided, &mut handover, shutdown).await
    })
    .await;
    if ended.is_ok() && context.health.given_up().is_none() {
        let settled = tokio::time::timeout(
            patience,
            settle_handover(&mut handover, async |handover| new_session().run(decided, handover, shutdown).await),
        );
        if settled.await.is_err() {
            tracing::warn!(
                event = "stopped_without_broker",
                "stopping without the broker: what was held when the connection was lost is delivered again, and counts as a delivery"
            );
        }
    }
    ended
}

/// A consumer that is asked to stop while its connection is lost connects again, to settle what it held.
async fn settle_handover(handover: &mut Handover, mut session: impl AsyncFnMut(&mut Handover) -> Result<(), BrokerError>) {
    let mut backoff = Backoff::new();
    while !handover.is_empty() {
        if let Err(error) = session(handover).await {
            tracing::debug!(event = "reconnection_failed", %error, "cannot connect again; trying until --grace ends");
            tokio::time::sleep(backoff.pause()).await;
        }
    }
}

/// Loads the network, or looks for the program without starting it.
///
/// # Errors
/// What would keep a consumer from starting its scorer.
pub(crate) fn check_scorer(args: &ConsumerArgs) -> Result<(), ConsumerError> {
    drop(scorer_starter(args, &Arc::default())?);
    match &args.scorer {
        ScorerSpec::Bayes(_) => Ok(()),
        ScorerSpec::Command(words) => Command::check(words).map_err(|error| ConsumerError::StartScorer(error.to_string())),
    }
}

/// Returns what starts a scorer for each worker. A network is loaded once and shared; a command runs as one child process per
/// worker, and ends its calls early once `stopping` is set.
fn scorer_starter(args: &ConsumerArgs, stopping: &Arc<AtomicBool>) -> Result<Box<StartScorer>, ConsumerError> {
    match &args.scorer {
        ScorerSpec::Bayes(path) => {
            let settings = Settings { particles: args.particles, distributions: args.distributions, timeout: args.score_timeout };
            let bayes = Bayes::load(path, settings).map_err(|error| ConsumerError::StartScorer(error.to_string()))?;
            Ok(Box::new(move || Ok(Box::new(bayes.clone()) as Box<dyn Scorer>)))
        }
        ScorerSpec::Command(words) => {
            let (words, timeout, stopping) = (words.clone(), args.score_timeout, Arc::clone(stopping));
            Ok(Box::new(move || {
                let child = Command::start(words.clone(), timeout, Arc::clone(&stopping), Launcher::of_consumer());
                let child = child.map_err(|error| StartError::Scorer(error.to_string()))?;
                Ok(Box::new(child) as Box<dyn Scorer>)
            }))
        }
    }
}
