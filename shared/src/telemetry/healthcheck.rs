//! Asks a running process whether it is ready, for a container's health check: its image has no tool for that.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use super::serve::MetricsArgs;

/// Less than the time limit of a container's health check, which would hide the error.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

/// Which process to ask: the one that serves on this address.
#[derive(Debug, Clone, clap::Args)]
pub struct HealthcheckArgs {
    /// The address.
    #[command(flatten, next_help_heading = "Metrics and logs")]
    pub metrics: MetricsArgs,
}

/// Why a process is not healthy.
#[derive(Debug, thiserror::Error)]
pub enum Unhealthy {
    /// Nobody said where to ask.
    #[error("expected --metrics-addr or ROLLCALL_METRICS_ADDR, with which the process was started, found none")]
    NoAddress,
    /// It does not answer.
    #[error("expected an answer from http://{address}/readyz, found {error}")]
    NoAnswer {
        /// The address that was asked.
        address: SocketAddr,
        /// What happened instead.
        error: io::Error,
    },
    /// It says that it is not ready.
    #[error("not ready: {0}")]
    NotReady(String),
}

/// Asks the process that serves on the address whether it is ready.
///
/// # Errors
/// [`Unhealthy`] if it is not.
pub fn healthcheck(args: &HealthcheckArgs) -> Result<(), Unhealthy> {
    let address = reachable(args.metrics.metrics_addr.ok_or(Unhealthy::NoAddress)?);
    let answer = ask(address).map_err(|error| Unhealthy::NoAnswer { address, error })?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    match head.split_whitespace().nth(1) {
        Some("200") => Ok(()),
        Some(status) => Err(Unhealthy::NotReady(format!("{status} {}", body.lines().next().unwrap_or_default()))),
        None => Err(Unhealthy::NotReady("an answer that is not HTTP".to_owned())),
    }
}

/// A process that listens on every address is asked on this machine's own.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

fn ask(address: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_WITHIN)?;
    stream.set_read_timeout(Some(ANSWER_WITHIN))?;
    write!(stream, "GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
