//! Declares anew from time to time what all results and events go through: where somebody has taken away the ledger's binding and
//! another queue is bound, the broker confirms a result that no ledger has, and nobody is told.

use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use rollcall_shared::broker::{BrokerConnection, BrokerError};
use rollcall_shared::topology::Topology;

/// What was routed past the ledger for so long at most is told as lost, and can be enqueued again.
const EVERY: Duration = Duration::from_secs(10);

/// How long the broker has for it.
const WITHIN: Duration = Duration::from_secs(5);

/// What goes on is told of again after so long.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// The declaring, beside everything else.
pub(super) struct Bindings<'a> {
    link: &'a BrokerConnection,
    topology: Topology,
    running: Option<LocalBoxFuture<'a, Result<(), BrokerError>>>,
    declared: Instant,
    told: Option<Instant>,
}

impl<'a> Bindings<'a> {
    /// All of it has just been declared.
    pub(super) fn new(link: &'a BrokerConnection, topology: &Topology) -> Bindings<'a> {
        Bindings { link, topology: topology.clone(), running: None, declared: Instant::now(), told: None }
    }

    /// Begins, where it is time.
    pub(super) fn declare_if_due(&mut self) {
        if self.running.is_none() && self.declared.elapsed() >= EVERY {
            self.running = Some(declare(self.link, self.topology.clone()).boxed_local());
        }
    }

    /// Waits until it is done. Safe to cancel.
    pub(super) async fn done(&mut self) {
        let Some(running) = &mut self.running else { return std::future::pending().await };
        let declared = running.await;
        (self.running, self.declared) = (None, Instant::now());
        if let Err(error) = declared
            && self.told.is_none_or(|told| told.elapsed() >= TELL_EVERY)
        {
            tracing::warn!(event = "broker_refuses", %error, "cannot make sure that the ledger gets all results and events");
            self.told = Some(Instant::now());
        }
    }
}

async fn declare(link: &BrokerConnection, topology: Topology) -> Result<(), BrokerError> {
    let late = |_| BrokerError::Lost(format!("no answer within {} s", WITHIN.as_secs()));
    link.on_own_channel(async |channel| tokio::time::timeout(WITHIN, topology.declare(channel)).await.map_err(late)?).await
}
