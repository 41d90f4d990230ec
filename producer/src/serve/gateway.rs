//! What the requests and the triggers of a gateway share. It holds no state of jobs: what it knows is in the broker.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use rollcall_shared::broker::BrokerArgs;
use rollcall_shared::lifecycle::Shutdown;
use rollcall_shared::telemetry::GatewayMetrics;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use uuid::Uuid;

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

/// Channels for the jobs of triggers: clients that send slowly must not keep them from being made.
const TRIGGER_CHANNELS: usize = 16;

/// A gateway.
pub(crate) struct Gateway {
    /// By which others see whether it is connected.
    pub(crate) id: Uuid,
    pub(crate) config: Config,
    pub(crate) broker: BrokerArgs,
    /// For short questions and controls.
    pub(crate) queries: BrokerAccess,
    /// For uploads, each of which keeps its channel as long as its client sends.
    pub(crate) uploads: BrokerAccess,
    /// For jobs of triggers.
    pub(crate) triggers: BrokerAccess,
    pools: [(&'static str, ChannelPool); 3],
    pub(crate) upload_slots: Arc<Semaphore>,
    pub(crate) download_slots: Arc<Semaphore>,
    pub(crate) event_log: EventLog,
    pub(crate) export_places: ExportPlaces,
    pub(crate) webhooks: Vec<Webhook>,
    pub(crate) metrics: GatewayMetrics,
    pub(crate) shutdown: Shutdown,
    /// Requested once uploads have had their time to end after that.
    pub(crate) grace_over: Shutdown,
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
        grace_over: Shutdown,
    ) -> Result<Gateway, ProducerError> {
        let uploads = config.http.uploads.get();
        let queries = ChannelPool::new(broker, "rollcall gateway: queries", QUERY_CHANNELS)?;
        let for_uploads = ChannelPool::new(broker, "rollcall gateway: uploads", uploads)?;
        let for_triggers = ChannelPool::new(broker, "rollcall gateway: triggers", TRIGGER_CHANNELS)?;
        Ok(Gateway {
            id: Uuid::now_v7(),
            queries: BrokerAccess::Pooled(queries.clone()),
            uploads: BrokerAccess::Pooled(for_uploads.clone()),
            triggers: BrokerAccess::Pooled(for_triggers.clone()),
            pools: [("queries", queries), ("uploads", for_uploads), ("triggers", for_triggers)],
            upload_slots: Arc::new(Semaphore::new(uploads)),
            download_slots: Arc::new(Semaphore::new(config.http.downloads.get())),
            event_log: EventLog::new(broker),
            export_places: ExportPlaces::of(&config),
            webhooks,
            broker: broker.clone(),
            metrics,
            shutdown: shutdown.clone(),
            grace_over,
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

impl Gateway {
    /// Waits until no upload and no redrive is under way: they outlive their requests.
    pub(crate) async fn wait_until_idle(&self) {
        let all = |slots: NonZeroUsize| u32::try_from(slots.get()).unwrap_or(u32::MAX);
        let uploads = self.upload_slots.acquire_many(all(self.config.http.uploads));
        let downloads = self.download_slots.acquire_many(all(self.config.http.downloads));
        // An error would mean that they were closed, which nobody does.
        let _idle = tokio::join!(uploads, downloads);
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
