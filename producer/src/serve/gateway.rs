//! What the requests and the triggers of a gateway share. It holds no state of jobs: what it knows is in the broker.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use rollcall_shared::broker::BrokerArgs;
use rollcall_shared::lifecycle::Shutdown;
use rollcall_shared::telemetry::GatewayMetrics;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::config::Config;
use super::event_log::EventLog;
use super::export_places::ExportPlaces;
use super::http::problem::Problem;
use super::webhook::Webhook;
use crate::broker_session::BrokerAccess;
use crate::broker_session::pool::ChannelPool;
use crate::error::ProducerError;

/// Channels for short questions and controls: each takes some milliseconds.
const QUERY_CHANNELS: usize = 16;

/// A gateway.
pub(crate) struct Gateway {
    pub(crate) config: Config,
    pub(crate) broker: BrokerArgs,
    /// For short questions and controls.
    pub(crate) queries: BrokerAccess,
    /// For uploads, each of which keeps its channel as long as its client sends.
    pub(crate) uploads: BrokerAccess,
    pools: [(&'static str, ChannelPool); 2],
    pub(crate) upload_slots: Semaphore,
    pub(crate) download_slots: Arc<Semaphore>,
    pub(crate) event_log: EventLog,
    pub(crate) export_places: ExportPlaces,
    pub(crate) webhooks: Vec<Webhook>,
    pub(crate) metrics: GatewayMetrics,
    pub(crate) shutdown: Shutdown,
}

impl Gateway {
    /// A gateway that has not connected yet.
    ///
    /// # Errors
    /// [`ProducerError::System`].
    pub(crate) fn new(
        config: Config,
        broker: &BrokerArgs,
        webhooks: Vec<Webhook>,
        metrics: GatewayMetrics,
        shutdown: &Shutdown,
    ) -> Result<Gateway, ProducerError> {
        let uploads = config.http.uploads.get();
        let queries = ChannelPool::new(broker, "rollcall gateway: queries", QUERY_CHANNELS)?;
        let for_uploads = ChannelPool::new(broker, "rollcall gateway: uploads", uploads)?;
        Ok(Gateway {
            queries: BrokerAccess::Pooled(queries.clone()),
            uploads: BrokerAccess::Pooled(for_uploads.clone()),
            pools: [("queries", queries), ("uploads", for_uploads)],
            upload_slots: Semaphore::new(uploads),
            download_slots: Arc::new(Semaphore::new(config.http.downloads.get())),
            event_log: EventLog::new(broker),
            export_places: ExportPlaces::of(&config),
            webhooks,
            broker: broker.clone(),
            metrics,
            shutdown: shutdown.clone(),
            config,
        })
    }

    /// Sets the gauges of the pools.
    pub(crate) fn measure_pools(&self) {
        for (name, pool) in &self.pools {
            let status = pool.status();
            let set = |state: &str, count: usize| {
                let count = i64::try_from(count).unwrap_or(i64::MAX);
                self.metrics.pool_channels.with_label_values(&[*name, state]).set(count);
            };
            set("open", status.size);
            set("free", status.available);
            set("waited_for", status.waiting);
        }
    }
}

/// How long a download waits for others to end.
const SLOT_WITHIN: Duration = Duration::from_secs(30);

impl Gateway {
    /// Waits for one of the slots of what reads the ledger or opens connections.
    ///
    /// # Errors
    /// If none is free in time.
    pub(crate) async fn download_slot(&self) -> Result<OwnedSemaphorePermit, Problem> {
        match timeout(SLOT_WITHIN, Arc::clone(&self.download_slots).acquire_owned()).await {
            Ok(Ok(slot)) => Ok(slot),
            _ => {
                let detail = "expected fewer requests that read the ledger at a time, found all slots taken; try again later, or raise [http] downloads";
                Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too_many_downloads", detail).retry_after(10))
            }
        }
    }
}
