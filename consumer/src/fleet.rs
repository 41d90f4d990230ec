//! `consumer fleet`: as many consumer processes on this machine as the work of their model needs.
//!
//! The leader says how much work is left (the scale signal); [`decision`] says how many consumers that takes; [`processes`] starts, drains
//! and restarts them. If the broker or the leader is away, the consumers stay as they are.

pub(crate) mod args;
mod decision;
mod processes;

use std::time::{Duration, Instant};

use rollcall_shared::broker::{BrokerError, LeaderClient, QueryError, connect, supervise};
use rollcall_shared::lifecycle::Shutdown;
use rollcall_shared::message::{Query, Reply, ScaleSignal};
use rollcall_shared::telemetry::{self, FleetMetrics, Readiness};
use tokio::sync::watch;

use self::args::FleetArgs;
use self::decision::Decision;
use self::processes::{Processes, Wanted};
use crate::error::ConsumerError;

/// How often the leader is asked.
const ASK_EVERY: Duration = Duration::from_millis(500);

/// A leader that has not answered by then is away.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// Runs a fleet until `shutdown`.
///
/// # Errors
/// A bad setting, consumers whose scorer does not work, or a broker that refuses.
pub(crate) async fn run(args: FleetArgs, shutdown: Shutdown) -> Result<(), ConsumerError> {
    args.consumer.check_holding_time()?;
    args.consumer.retry_policy()?;
    args.check_bounds()?;
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
        ended = async { tokio::join!(running, following) } => ended,
        never = signalled => never,
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
    let mut decision = Decision::new(args.min, args.max(), args.idle);
    let broker = &args.consumer.broker;
    supervise(
        broker,
        shutdown,
        ANSWER_WITHIN,
        || ready.set(false),
        async || {
            let connection = connect(broker, &format!("rollcall consumer fleet {}", args.consumer.model)).await?;
            let mut leader = LeaderClient::open(&connection, &broker.topology()).await?;
            ready.set(true);
            while !shutdown.is_requested() {
                if let Some(signal) = ask(&mut leader, args).await? {
                    let consumers = signal.consumers_wanted(args.target, args.threads());
                    let consumers = decision.consumers(Instant::now(), consumers);
                    metrics.wanted.set(i64::from(consumers));
                    wanted.send_replace(Wanted { consumers, signal: Some(signal) });
                }
                shutdown.within(ASK_EVERY).await;
            }
            connection.close().await;
            Ok(())
        },
    )
    .await?;
    Ok(())
}

/// The scale signal of the fleet's model; `None` if no leader answers.
async fn ask(leader: &mut LeaderClient, args: &FleetArgs) -> Result<Option<ScaleSignal>, BrokerError> {
    let model = &args.consumer.model;
    match leader.ask(&Query::Scale, ANSWER_WITHIN).await {
        Ok(Reply::Scale(signals)) => {
            let signal = signals.into_iter().find(|signal| signal.model == *model);
            Ok(Some(signal.unwrap_or_else(|| ScaleSignal::idle(model.clone()))))
        }
        Err(QueryError::Broker(error)) => Err(error),
        Err(error) => {
            tracing::debug!(event = "no_scale_signal", %error, "the consumers stay as they are");
            Ok(None)
        }
        Ok(_) => {
            tracing::debug!(
                event = "no_scale_signal",
                "the leader does not know scale signals; run programs of the same version"
            );
            Ok(None)
        }
    }
}
