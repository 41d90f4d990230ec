//! `/metrics`, `/healthz` and `/readyz` over HTTP.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// Says so.
    pub fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Relaxed);
    }

    fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
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

fn readiness(ready: &Readiness) -> (StatusCode, &'static str) {
    if ready.get() { (StatusCode::OK, "ready\n") } else { (StatusCode::SERVICE_UNAVAILABLE, "not connected\n") }
}
