//! Declares the exchanges and the ledger's bindings again from time to time. If the ledger's binding was removed while another
//! queue is bound, the broker confirms a result that the ledger does not get, and no error shows it.

use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use rollcall_shared::broker::{BrokerConnection, BrokerError};
use rollcall_shared::topology::Topology;

/// Results of at most so long bypass the ledger. Their companies are reported as stalled, and can be enqueued again.
const DECLARE_EVERY: Duration = Duration::from_secs(10);

/// How long the broker has to declare everything.
const DECLARE_WITHIN: Duration = Duration::from_secs(5);

/// A lasting failure is logged this often.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// Declares in the background.
pub(super) struct Bindings<'a> {
    connection: &'a BrokerConnection,
    topology: Topology,
    declaring: Option<LocalBoxFuture<'a, Result<(), BrokerError>>>,
    declared_at: Instant,
    logged_at: Option<Instant>,
}

impl<'a> Bindings<'a> {
    /// The bindings have just been declared.
    pub(super) fn new(connection: &'a BrokerConnection, topology: &Topology) -> Bindings<'a> {
        Bindings { connection, topology: topology.clone(), declaring: None, declared_at: Instant::now(), logged_at: None }
    }

    /// Begins to declare them, if it is time.
    pub(super) fn declare_if_due(&mut self) {
        if self.declaring.is_none() && self.declared_at.elapsed() >= DECLARE_EVERY {
            self.declaring = Some(declare(self.connection, self.topology.clone()).boxed_local());
        }
    }

    /// Waits until they are declared, or that has failed. Cancel-safe.
    pub(super) async fn declared(&mut self) {
        let Some(declaring) = &mut self.declaring else { return std::future::pending().await };
        let declared = declaring.await;
        (self.declaring, self.declared_at) = (None, Instant::now());
        if let Err(error) = declared
            && self.logged_at.is_none_or(|logged_at| logged_at.elapsed() >= LOG_EVERY)
        {
            tracing::warn!(event = "broker_refuses", %error, "cannot make sure that the ledger gets all results and events");
            self.logged_at = Some(Instant::now());
        }
    }
}

async fn declare(connection: &BrokerConnection, topology: Topology) -> Result<(), BrokerError> {
    let late = |_| BrokerError::Lost(format!("no answer within {} s", DECLARE_WITHIN.as_secs()));
    connection
        .on_own_channel(async |channel| tokio::time::timeout(DECLARE_WITHIN, topology.declare(channel)).await.map_err(late)?)
        .await
}
