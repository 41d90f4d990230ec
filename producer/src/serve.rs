//! The gateway, `producer serve`: what starts jobs by itself, an API and a page for people and programs, and who is told when jobs end.
//!
//! It enqueues with the code of the other commands, and holds no state: what it knows is in the broker, so that any number of gateways may
//! run, and each may be killed at any time.

pub mod api;
mod config;
mod deliveries;
mod derived_name;
mod event_log;
mod export_places;
mod gateway;
mod http;
mod page;
mod redelivery;
mod refusals;
mod triggers;
mod upload;
mod webhook;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use axum::{Extension, Router};
use rollcall_shared::broker::{BrokerArgs, BrokerError, connect, supervise};
use rollcall_shared::lifecycle::{Shutdown, Stop};
use rollcall_shared::telemetry::{self, GatewayMetrics, Readiness};
use rollcall_shared::terminal::to_stderr;
use tokio::net::TcpListener;

use crate::cli::ServeArgs;
use crate::error::ProducerError;
use config::Config;
use gateway::Gateway;
use http::access::{Access, guard};
use http::drain::drain;
use http::listener::Listener;
use http::problem::Problem;
use http::tls;

/// How often the gauges of the pools are set, and the broker is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Runs a gateway until `shutdown`, or checks its configuration.
///
/// # Errors
/// [`ProducerError::Usage`] for the configuration or the address; [`ProducerError::Broker`] if the broker cannot be reached at the start,
/// refuses, or is away for too long.
pub(crate) async fn serve(args: ServeArgs, broker: BrokerArgs, shutdown: &Shutdown) -> Result<(), ProducerError> {
    let config = Config::load(args.config.as_deref())?;
    let access = Arc::new(Access::new(&config, args.listen)?);
    let acceptor = config.http.tls.as_ref().map(tls::acceptor).transpose()?;
    let webhooks = webhook::load(&config)?;
    if args.check {
        to_stderr(config.in_words());
        return Ok(());
    }
    if let Some(inbox) = &config.inbox {
        std::fs::create_dir_all(&inbox.path).map_err(|error| {
            let path = inbox.path.display();
            ProducerError::Usage(format!(
                "cannot make the folder {path} of [inbox] path: {error}; check the path and its permissions"
            ))
        })?;
    }
    let metrics = GatewayMetrics::new().map_err(|error| ProducerError::System(error.to_string()))?;
    let (registry, ready) = (metrics.registry.clone(), Readiness::default());
    let (interrupt, grace_over) = Shutdown::manual();
    let gateway = Arc::new(Gateway::new(config, &broker, webhooks, metrics, shutdown, grace_over)?);
    declare(&gateway).await?;
    let socket = TcpListener::bind(args.listen).await.map_err(|error| cannot_listen(args.listen, &error))?;
    telemetry::serve(&args.metrics, registry, ready.clone(), Router::new())
        .await
        .map_err(|error| ProducerError::Usage(error.to_string()))?;
    let scheme = if acceptor.is_some() { "https" } else { "http" };
    let address = socket.local_addr().map_err(|error| cannot_listen(args.listen, &error))?;
    tracing::info!(event = "listening", url = format!("{scheme}://{address}/"), "the page and the API are served");
    let listener = Listener { socket, tls: acceptor, http: gateway.config.http.clone() };
    // Once it is asked to stop, what it has begun comes to its end.
    let serving = async {
        let requests = async {
            listener.serve(routes(&gateway, access), shutdown, &gateway.grace_over).await;
            gateway.wait_until_idle().await;
            Ok(())
        };
        tokio::try_join!(requests, deliveries::run(&gateway)).map(drop)
    };
    let ended = tokio::select! {
        ended = serving => ended,
        () = out_of_grace(shutdown, args.grace, &interrupt) => {
            tracing::warn!(event = "work_dropped", "stopping in the middle of uploads or of deliveries");
            Ok(())
        }
        lost = keep_connected(&gateway, &ready) => lost,
        lost = triggers::run(&gateway) => lost,
    };
    ended?;
    tracing::info!(event = "stopped", "stopped as asked");
    Ok(())
}

/// An upload or an export that is interrupted has ended by then: the job is cancelled, and the parts of the results, for which it waits up to 10 s,
/// are discarded.
const INTERRUPTED_WITHIN: Duration = Duration::from_secs(12);

/// Waits until a gateway that is asked to stop must have done so. What has not ended within the grace is interrupted first.
async fn out_of_grace(shutdown: &Shutdown, grace: Duration, interrupt: &Stop) {
    shutdown.requested().await;
    tokio::time::sleep(grace).await;
    interrupt.now();
    tokio::time::sleep(INTERRUPTED_WITHIN).await;
}

fn cannot_listen(address: SocketAddr, error: &std::io::Error) -> ProducerError {
    ProducerError::Usage(format!("cannot listen on --listen {address}: {error}; choose a free address"))
}

/// Declares what a gateway needs; the first connection to the broker. No job may end before there is a queue for its done event.
async fn declare(gateway: &Gateway) -> Result<(), BrokerError> {
    let link = connect(&gateway.broker, "rollcall gateway: set-up").await?;
    let (channel, topology) = (link.channel().await?, gateway.broker.topology());
    topology.declare_gateway(&channel).await?;
    for webhook in &gateway.webhooks {
        topology.declare_done_events(&channel, &topology.webhook(webhook.name())).await?;
    }
    link.close().await;
    Ok(())
}

/// Says whether the broker can be reached, and ends if it has been away for longer than it may.
async fn keep_connected(gateway: &Gateway, ready: &Readiness) -> Result<(), BrokerError> {
    let reconnecting = || {
        ready.set(false);
        gateway.metrics.reconnections.inc();
    };
    supervise(&gateway.broker, &Shutdown::never(), Duration::ZERO, reconnecting, async || {
        let link = connect(&gateway.broker, "rollcall gateway").await?;
        let channel = link.channel().await?;
        let topology = gateway.broker.topology();
        topology.declare_gateway(&channel).await?;
        topology.declare_gateway_presence(&channel, gateway.id).await?;
        tracing::info!(event = "connected", "the broker can be reached");
        while link.is_connected() {
            ready.set(!gateway.shutdown.is_requested());
            gateway.measure_pools();
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Err(BrokerError::Lost("the connection was closed".to_owned()))
    })
    .await
}

fn routes(gateway: &Arc<Gateway>, access: Arc<Access>) -> Router {
    Router::new()
        .merge(api::routes())
        .merge(page::routes())
        .fallback(async || {
            Problem::new(
                StatusCode::NOT_FOUND,
                "no_such_page",
                "expected a known path, found another; /v1/openapi.json lists those of the API",
            )
        })
        .method_not_allowed_fallback(async || {
            Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "expected another method for this path; /v1/openapi.json lists them",
            )
        })
        .layer(from_fn_with_state(Arc::clone(&access), guard))
        .layer(from_fn(page::as_page))
        .layer(from_fn(drain))
        .layer(from_fn_with_state(Arc::clone(gateway), measure))
        .layer(Extension(access))
        .layer(Extension(Arc::<api::Refusals>::default()))
        .with_state(Arc::clone(gateway))
}

/// A client may send any word as a method: each would be a label that stays.
fn known_method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// Counts requests and their durations, by route.
async fn measure(State(gateway): State<Arc<Gateway>>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    // A path that no route matches may be any: it is no label.
    let route = request.extensions().get::<MatchedPath>().map_or("other", MatchedPath::as_str).to_owned();
    let method = known_method(request.method());
    let response = next.run(request).await;
    let status = response.status().as_u16().to_string();
    gateway.metrics.requests.with_label_values(&[route.as_str(), method, status.as_str()]).inc();
    gateway.metrics.request_duration.with_label_values(&[route.as_str()]).observe(began.elapsed().as_secs_f64());
    response
}
