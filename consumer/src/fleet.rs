//! `consumer fleet`: as many consumer processes on this machine as the work of their model needs.
//!
//! The leader says how much work is left (the scale signal); [`decision`] says how many consumers that takes; [`processes`] starts, drains
//! and restarts them. If the broker or the leader is away, the consumers stay as they are.

pub(crate) mod args;
mod decision;
mod leader_contact;
mod metrics_ports;
mod processes;
mod start_pause;

use std::time::{Duration, Instant};

use rollcall_shared::broker::{BrokerError, LeaderClient, QueryError, connect, supervise};
use rollcall_shared::lifecycle::Shutdown;
use rollcall_shared::message::{Model, Query, Reply, ScaleSignal};
use rollcall_shared::telemetry::{self, FleetMetrics, Readiness};
use tokio::sync::watch;

use self::args::FleetArgs;
use self::decision::Decision;
use self::leader_contact::{LeaderContact, LeaderState};
use self::processes::{Processes, Wanted};
use crate::error::ConsumerError;
use crate::run::check_scorer;

/// How often the leader is asked.
const ASK_EVERY: Duration = Duration::from_millis(500);

/// How long one question waits for its answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// Checks what needs no broker: the flags, and that the scorer is there.
///
/// # Errors
/// A bad setting, or a scorer that cannot be started: the errors that a consumer would end with.
pub(crate) fn check(args: &FleetArgs) -> Result<(), ConsumerError> {
    args.consumer.check_holding_time()?;
    args.consumer.retry_policy()?;
    args.check_bounds()?;
    check_scorer(&args.consumer)
}

/// Runs a fleet, whose flags are checked, until `shutdown`.
///
/// # Errors
/// Consumers whose scorer does not work, an address for metrics that is taken, or a broker that refuses.
pub(crate) async fn run(args: FleetArgs, shutdown: Shutdown) -> Result<(), ConsumerError> {
    let metrics = FleetMetrics::new().map_err(|error| ConsumerError::Process(error.to_string()))?;
    let ready = Readiness::default();
    let served = telemetry::serve(&args.consumer.metrics, metrics.registry.clone(), ready.clone(), Default::default()).await;
    served.map_err(|error| ConsumerError::Usage(error.to_string()))?;
    let (wanted, changes) = watch::channel(Wanted::at_least(args.min));
    // One stops with the other.
    let (stop, stopping) = Shutdown::manual();
    let running = async {
        let ended = Processes::new(&args, metrics.clone()).run(changes, &stopping).await;
        stop.now();
        ended
    };
    let following = async {
        let ended = follow(&args, &wanted, &ready, &metrics, &stopping).await;
        stop.now();
        ended
    };
    let signalled = async {
        shutdown.requested().await;
        stop.now();
        std::future::pending().await
    };
    let (ran, followed) = tokio::select! {
        // First, so that a fleet that is asked to stop starts nothing.
        biased;
        never = signalled => never,
        ended = async { tokio::join!(running, following) } => ended,
    };
    ran.and(followed)
}

/// Follows the scale signal until `shutdown`, over as many connections as it takes.
async fn follow(
    args: &FleetArgs,
    wanted: &watch::Sender<Wanted>,
    ready: &Readiness,
    metrics: &FleetMetrics,
    shutdown: &Shutdown,
) -> Result<(), ConsumerError> {
    let mut decision = Decision::new(args.min, args.max(), args.idle, args.target);
    let broker = &args.consumer.broker;
    let disconnected = || {
        ready.set(false);
        ready.set_fault(None);
    };
    supervise(broker, shutdown, ANSWER_WITHIN, disconnected, async || {
        let connection = connect(broker, &format!("rollcall consumer fleet {}", args.consumer.model)).await?;
        let mut leader = LeaderClient::open(&connection, &broker.topology()).await?;
        ready.set_fault(Some("no aggregator has answered yet".to_owned()));
        ready.set(true);
        let mut contact = LeaderContact::new(Instant::now());
        while !shutdown.is_requested() {
            let answer = ask(&mut leader, &args.consumer.model).await?;
            if let Some(state) = contact.note(answer.is_ok(), Instant::now()) {
                report(state, answer.as_ref().err(), args, ready);
            }
            if let Ok(signal) = answer {
                let consumers = signal.consumers_wanted(args.target, args.threads());
                let consumers = decision.consumers(Instant::now(), consumers);
                metrics.wanted.set(i64::from(consumers));
                wanted.send_replace(Wanted { consumers, signal: Some(signal) });
            }
            shutdown.within(ASK_EVERY).await;
        }
        connection.close().await;
        Ok(())
    })
    .await?;
    Ok(())
}

/// The scale signal of a model, or why there is none.
async fn ask(leader: &mut LeaderClient, model: &Model) -> Result<Result<ScaleSignal, QueryError>, BrokerError> {
    match leader.ask(&Query::Scale, ANSWER_WITHIN).await {
        Ok(Reply::Scale(signals)) => {
            let signal = signals.into_iter().find(|signal| signal.model == *model);
            Ok(Ok(signal.unwrap_or_else(|| ScaleSignal::idle(model.clone()))))
        }
        Err(QueryError::Broker(error)) => Err(error),
        Err(error) => Ok(Err(error)),
        Ok(_) => Ok(Err(QueryError::Unreadable("one without scale signals".to_owned()))),
    }
}

/// Reports by log and readiness that the leader answers now, or no longer does, and why.
fn report(state: LeaderState, error: Option<&QueryError>, args: &FleetArgs, ready: &Readiness) {
    let error = error.map(ToString::to_string);
    if state == LeaderState::Answers {
        tracing::info!(
            event = "leader_answers",
            model = %args.consumer.model,
            min = args.min,
            max = args.max(),
            target_seconds = args.target.as_secs_f64(),
            "starting and stopping consumers as the work needs"
        );
    } else {
        tracing::warn!(event = "no_leader_answers", error, "the consumers stay as they are until a leader answers");
    }
    ready.set_fault(error);
}
