//! Accepts connections: as many as are allowed at a time, none of which may stay idle for long.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use rollcall_shared::lifecycle::Shutdown;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;

use super::super::config::HttpConfig;
use super::access::Peer;

/// All headers of a request together, in bytes; more are answered with status 431.
const HEADER_BYTES: usize = 64 << 10;

/// After an error such as too many open files, the next connection is accepted a little later.
const AFTER_ACCEPT_ERROR: Duration = Duration::from_millis(100);

/// What is interrupted at the end of the grace is answered by then.
const ANSWERED_WITHIN: Duration = Duration::from_secs(3);

/// Where and how a gateway listens.
pub(crate) struct Listener {
    pub(crate) socket: TcpListener,
    pub(crate) tls: Option<TlsAcceptor>,
    pub(crate) http: HttpConfig,
}

impl Listener {
    /// Serves until `shutdown`, then lets requests finish until `grace_over`, which those that have not are told too.
    pub(crate) async fn serve(self, router: Router, shutdown: &Shutdown, grace_over: &Shutdown) {
        let slots = Arc::new(Semaphore::new(self.http.connections.get()));
        let graceful = GracefulShutdown::new();
        loop {
            let accepted = tokio::select! {
                accepted = self.accept(&slots) => accepted,
                () = shutdown.requested() => break,
            };
            match accepted {
                Ok((slot, stream, address)) => self.start(slot, stream, address, router.clone(), &graceful),
                Err(error) => {
                    tracing::warn!(event = "accept_failed", %error, "cannot accept a connection");
                    tokio::time::sleep(AFTER_ACCEPT_ERROR).await;
                }
            }
        }
        tracing::info!(event = "stopping", "accepting no more connections");
        drop(self.socket);
        let mut served = std::pin::pin!(graceful.shutdown());
        tokio::select! {
            () = &mut served => {}
            // A download goes on.
            () = grace_over.requested() => drop(tokio::time::timeout(ANSWERED_WITHIN, served).await),
        }
    }

    async fn accept(&self, slots: &Arc<Semaphore>) -> std::io::Result<(OwnedSemaphorePermit, TcpStream, SocketAddr)> {
        let slot = Arc::clone(slots).acquire_owned().await.map_err(std::io::Error::other)?;
        let (stream, address) = self.socket.accept().await?;
        Ok((slot, stream, address))
    }

    fn start(
        &self,
        slot: OwnedSemaphorePermit,
        stream: TcpStream,
        address: SocketAddr,
        router: Router,
        graceful: &GracefulShutdown,
    ) {
        // Small answers would wait for the acknowledgement of earlier ones.
        drop(stream.set_nodelay(true));
        let (tls, idle, watcher) = (self.tls.clone(), self.http.idle, graceful.watcher());
        let peer = Peer { address, is_over_tls: tls.is_some() };
        let service = router.layer(Extension(peer));
        tokio::spawn(async move {
            let served = async {
                match tls {
                    Some(tls) => match tokio::time::timeout(idle, tls.accept(stream)).await {
                        Ok(Ok(stream)) => connection(stream, service, idle, watcher).await,
                        Ok(Err(error)) => tracing::debug!(%error, %address, "no TLS"),
                        Err(_) => tracing::debug!(%address, "no TLS in time"),
                    },
                    None => connection(stream, service, idle, watcher).await,
                }
            };
            served.await;
            drop(slot);
        });
    }
}

async fn connection(stream: impl AsyncRead + AsyncWrite + Send + 'static, service: Router, idle: Duration, watcher: Watcher) {
    // A client that takes nothing of its answer is dropped. One that sends nothing is told so: by hyper before the end of the headers, and
    // by whoever reads the body, an upload or a `SmallBody`.
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(idle));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(idle)
        .max_buf_size(HEADER_BYTES)
        .serve_connection(TokioIo::new(Box::pin(stream)), TowerToHyperService::new(service));
    if let Err(error) = watcher.watch(served).await {
        tracing::debug!(%error, "a connection has ended");
    }
}
