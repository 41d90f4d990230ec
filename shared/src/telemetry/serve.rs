//! `/metrics`, `/healthz` and `/readyz` over HTTP.

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

/// Whether a process is at its work: connected, and able to do what it is for.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<State>);

#[derive(Debug, Default)]
struct State {
    connected: AtomicBool,
    fault: Mutex<Option<String>>,
}

impl Readiness {
    /// Says whether it is connected, and takes part.
    pub fn set(&self, connected: bool) {
        self.0.connected.store(connected, Ordering::Relaxed);
    }

    /// Says why it is not able to, connected or not; nothing where it is.
    pub fn set_fault(&self, fault: Option<String>) {
        *self.0.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }

    /// Why it is not able to, connected or not.
    pub fn fault(&self) -> Option<String> {
        self.0.fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What it lacks to be at its work; nothing where it is ready.
    pub fn missing(&self) -> Option<String> {
        self.fault().or_else(|| (!self.0.connected.load(Ordering::Relaxed)).then(|| "not connected".to_owned()))
    }
}

/// Serves until the process ends; does nothing where no address is given.
///
/// # Errors
/// Where the address cannot be listened on; names it.
pub async fn serve(args: &MetricsArgs, registry: Registry, ready: Readiness) -> Result<(), String> {
    let Some(address) = args.metrics_addr else { return Ok(()) };
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| format!("cannot listen on --metrics-addr {address}: {error}; choose a free address"))?;
    let router = Router::new()
        .route("/metrics", get(async move || metrics(&registry)))
        .route("/healthz", get(async || "alive\n"))
        .route("/readyz", get(async move || readiness(&ready)));
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "the metrics server stopped");
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
