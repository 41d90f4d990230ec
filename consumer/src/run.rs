//! The consumer's life: scoring threads for as long as it lives, and sessions with the broker one after another.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rollcall_shared::broker::{Backoff, BrokerError, supervise};
use rollcall_shared::lifecycle::Shutdown;
use rollcall_shared::telemetry::{self, ConsumerMetrics, Readiness};
use tokio::sync::mpsc::unbounded_channel;

use crate::Failure;
use crate::batch::Room;
use crate::cli::{ConsumerArgs, ScorerSpec};
use crate::desks::{Desks, NewScorer, Seats};
use crate::features::Features;
use crate::health::Health;
use crate::hold::{Hold, HoldLimits};
use crate::in_hand::Carried;
use crate::session::Session;
use crate::waiting::Waiting;
use rollcall_score::Scorer;
use rollcall_score::bayes::{Bayes, Settings};
use rollcall_score::command::{Command, Launcher};

/// The part of the grace that is kept for the scoring threads to end, and for their children.
const LEAVE: Duration = Duration::from_millis(500);

/// Beyond its own time-out, what a scorer may take before its thread is given up: a child is killed and started anew in this time.
pub(crate) const STUCK_AFTER: Duration = Duration::from_secs(15);

/// Runs a consumer until `shutdown`.
///
/// # Errors
/// [`Failure`], where the scorer does not load or works for nobody, the broker refuses, or an address cannot be listened on.
pub async fn run(args: ConsumerArgs, shutdown: Shutdown) -> Result<(), Failure> {
    args.check_holding_time().map_err(Failure::Usage)?;
    let retry = args.retry_policy().map_err(Failure::Usage)?;
    let metrics = Arc::new(ConsumerMetrics::new().map_err(|error| Failure::Other(error.to_string()))?);
    let ready = Readiness::default();
    let abandon = Arc::new(AtomicBool::new(false));
    let new_scorer = scorer(&args, &abandon)?;
    let scorers = (0..args.threads()).map(|_| new_scorer()).collect::<Result<_, _>>().map_err(Failure::Usage)?;
    telemetry::serve(&args.metrics, metrics.registry.clone(), ready.clone())
        .await
        .map_err(|error| Failure::Usage(error.to_string()))?;
    let waiting = Arc::new(Waiting::default());
    let (scored, mut outcomes) = unbounded_channel();
    let hold = Arc::new(Hold::new(HoldLimits {
        hold: args.hold,
        workers: args.threads(),
        prefetch: usize::from(args.prefetch),
        batch: usize::from(args.batch),
        score_timeout: args.score_timeout,
    }));
    let (stop, stopping) = Shutdown::manual();
    let health = Arc::new(Health::new(args.scorer.to_string(), stop));
    let asked = Arc::clone(&health);
    tokio::spawn(async move {
        shutdown.requested().await;
        asked.stop();
    });
    let room = Arc::new(Room {
        waiting: Arc::clone(&waiting),
        scored,
        metrics: Arc::clone(&metrics),
        features: Features::new(args.allow_no_evidence, Arc::clone(&metrics)),
        seats: Seats::default(),
        hold: Arc::clone(&hold),
        health: Arc::clone(&health),
        desks: args.threads(),
        patience: args.score_timeout + STUCK_AFTER,
        held_at_most: args.consumer_timeout,
        retry,
    });
    let desks = Desks::open(scorers, Arc::clone(&room), new_scorer, ready.clone());
    let patience = args.grace.saturating_sub(LEAVE);
    let sessions = AtomicU64::new(0);
    let mut carried = Carried::default();
    let reconnecting = || {
        ready.set(false);
        metrics.reconnections.inc();
    };
    let ended = supervise(&args.broker, &stopping, patience, reconnecting, async || {
        let number = sessions.fetch_add(1, Ordering::Relaxed);
        let session = Session { args: &args, room: &room, patience, ready: &ready, number };
        session.run(&mut outcomes, &mut carried, &stopping).await
    })
    .await;
    if ended.is_ok() && health.given_up().is_none() {
        let answered = tokio::time::timeout(
            patience,
            answer_for(&mut carried, async |carried| {
                let number = sessions.fetch_add(1, Ordering::Relaxed);
                let session = Session { args: &args, room: &room, patience, ready: &ready, number };
                session.run(&mut outcomes, carried, &stopping).await
            }),
        );
        if answered.await.is_err() {
            tracing::warn!(
                "stopping without the broker: what was held when the connection was lost is delivered again, and counts as a delivery"
            );
        }
    }
    abandon.store(true, Ordering::Relaxed);
    waiting.close();
    desks.leave(LEAVE).await;
    match health.given_up() {
        Some(why) => Err(Failure::Scorer(why)),
        None => Ok(ended?),
    }
}

/// Asked to stop while the connection is lost, a consumer still has to say what it held: it connects once more, for as long as it takes.
async fn answer_for(carried: &mut Carried, mut session: impl AsyncFnMut(&mut Carried) -> Result<(), BrokerError>) {
    let mut backoff = Backoff::new();
    while !carried.is_empty() {
        if let Err(error) = session(carried).await {
            tracing::debug!(%error, "still without a connection that holds");
            tokio::time::sleep(backoff.pause()).await;
        }
    }
}

/// What makes a scorer for each thread. A network is read once and shared; a command has a child a thread.
fn scorer(args: &ConsumerArgs, abandon: &Arc<AtomicBool>) -> Result<Box<NewScorer>, Failure> {
    match &args.scorer {
        ScorerSpec::Bayes(path) => {
            let settings = Settings { particles: args.particles, distributions: args.distributions, timeout: args.score_timeout };
            let bayes = Bayes::load(path, settings).map_err(|error| Failure::Usage(error.to_string()))?;
            Ok(Box::new(move || Ok(Box::new(bayes.clone()) as Box<dyn Scorer>)))
        }
        ScorerSpec::Command(words) => {
            let (words, timeout, abandon) = (words.clone(), args.score_timeout, Arc::clone(abandon));
            Ok(Box::new(move || {
                let child = Command::start(words.clone(), timeout, Arc::clone(&abandon), Launcher::of_consumer())?;
                Ok(Box::new(child) as Box<dyn Scorer>)
            }))
        }
    }
}
