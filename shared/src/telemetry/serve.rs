//! `/metrics`, `/healthz` and `/readyz` over HTTP.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use prometheus::{Registry, TextEncoder};
use tokio::net::TcpListener;

/// The flags of every long-running process.
#[derive(Debug, Clone, clap::Args)]
pub struct MetricsArgs {
    /// Serve /metrics, /healthz and /readyz on this address, such as 0.0.0.0:9464
    #[arg(long, env = "ROLLCALL_METRICS_ADDR")]
    pub metrics_addr: Option<SocketAddr>,
}

/// Whether a process can do its work: connected to the broker, and without a fault.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<State>);

#[derive(Debug, Default)]
struct State {
    connected: AtomicBool,
    fault: Mutex<Option<String>>,
}

impl Readiness {
    /// Sets whether it is connected.
    pub fn set(&self, connected: bool) {
        self.0.connected.store(connected, Ordering::Relaxed);
    }

    /// Sets why it cannot work, connected or not; `None` if it can.
    pub fn set_fault(&self, fault: Option<String>) {
        *self.0.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }

    /// Why it cannot work, connected or not.
    pub fn fault(&self) -> Option<String> {
        self.0.fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Why it is not ready; `None` if it is.
    pub fn missing(&self) -> Option<String> {
        self.fault().or_else(|| (!self.0.connected.load(Ordering::Relaxed)).then(|| "not connected".to_owned()))
    }
}

/// The address of the metrics cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on --metrics-addr {address}: {error}; choose a free address")]
pub struct CannotListen {
    address: SocketAddr,
    error: io::Error,
}

/// Serves in the background until the process ends, with these `routes` beside its own; does nothing if no address is given.
///
/// # Errors
/// [`CannotListen`].
pub async fn serve(args: &MetricsArgs, registry: Registry, ready: Readiness, routes: Router) -> Result<(), CannotListen> {
    let Some(address) = args.metrics_addr else { return Ok(()) };
    let listener = TcpListener::bind(address).await.map_err(|error| CannotListen { address, error })?;
    let router = routes
        .route("/metrics", get(async move || metrics(&registry)))
        .route("/healthz", get(async || "alive\n"))
        .route("/readyz", get(async move || readiness(&ready)));
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(event = "metrics_server_stopped", %error, "the metrics server stopped");
        }
    });
    Ok(())
}

fn metrics(registry: &Registry) -> Result<String, (StatusCode, String)> {
    TextEncoder::new()
        .encode_to_string(&registry.gather())
        .map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}

fn readiness(ready: &Readiness) -> (StatusCode, String) {
    match ready.missing() {
        None => (StatusCode::OK, "ready\n".to_owned()),
        Some(missing) => (StatusCode::SERVICE_UNAVAILABLE, format!("{missing}\n")),
    }
}
