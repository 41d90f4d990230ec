//! The aggregator: counts results and says, once, when a job has ended.
//!
//! Several may run. The one that holds the baton counts; the others wait for it. See [`tally`] for how.

pub mod cli;
mod error;
pub mod ledger;
mod serve;
mod tally;

use std::sync::Arc;
use std::time::Duration;

use rollcall_shared::broker::supervise;
use rollcall_shared::lifecycle::Shutdown;
use rollcall_shared::telemetry::{self, AggregatorMetrics, Readiness};

use cli::AggregatorArgs;
pub use error::{AggregatorError, exit};

/// How long an aggregator that is asked to stop may take over its last checkpoint.
const PATIENCE: Duration = Duration::from_secs(5);

/// Runs an aggregator until `shutdown`.
///
/// # Errors
/// [`AggregatorError`], where the broker refuses or an address cannot be listened on.
pub async fn run(args: AggregatorArgs, shutdown: Shutdown) -> Result<(), AggregatorError> {
    let metrics = Arc::new(AggregatorMetrics::new().map_err(|error| AggregatorError::Other(error.to_string()))?);
    let ready = Readiness::default();
    telemetry::serve(&args.metrics, metrics.registry.clone(), ready.clone())
        .await
        .map_err(|error| AggregatorError::Usage(error.to_string()))?;
    let reconnecting = || {
        ready.set(false);
        metrics.active.set(0);
        metrics.reconnections.inc();
    };
    let mut unreadable = tally::Unreadable::default();
    supervise(&args.broker, &shutdown, PATIENCE, reconnecting, async || {
        tally::session(&args, &shutdown, &metrics, &ready, &mut unreadable).await
    })
    .await?;
    Ok(())
}
