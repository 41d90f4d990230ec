//! An aggregator from its start to its end: one session with the broker after another.

use std::sync::Arc;
use std::time::Duration;

use rollcall_shared::broker::supervise;
use rollcall_shared::lifecycle::Shutdown;
use rollcall_shared::telemetry::{self, AggregatorMetrics, Readiness};

use crate::cli::AggregatorArgs;
use crate::error::AggregatorError;
use crate::leader;
use crate::scale::{self, LatestSignals};

/// How long an aggregator may take for its last checkpoint after it is asked to stop.
const LAST_CHECKPOINT_WITHIN: Duration = Duration::from_secs(5);

/// Runs an aggregator until `shutdown`.
///
/// # Errors
/// If the broker refuses, or the address for metrics cannot be listened on.
pub async fn run(args: AggregatorArgs, shutdown: Shutdown) -> Result<(), AggregatorError> {
    let metrics = Arc::new(AggregatorMetrics::new().map_err(|error| AggregatorError::Metrics(Box::new(error)))?);
    let ready = Readiness::default();
    let latest = LatestSignals::new(Arc::clone(&metrics));
    telemetry::serve(&args.metrics, metrics.registry.clone(), ready.clone(), scale::routes(latest.clone()))
        .await
        .map_err(|error| AggregatorError::Usage(error.to_string()))?;
    let reconnecting = || {
        ready.set(false);
        metrics.active.set(0);
        metrics.reconnections.inc();
    };
    let mut unreadable = leader::UnreadableRecord::default();
    let supervised = supervise(&args.broker, &shutdown, LAST_CHECKPOINT_WITHIN, reconnecting, async || {
        leader::session(&args, &shutdown, &ready, &latest, &mut unreadable).await
    });
    tokio::select! {
        ended = supervised => {
            ended?;
            tracing::info!(event = "stopped", "stopped as asked");
            Ok(())
        }
        never = latest.expire_as_time_passes() => match never {},
    }
}
