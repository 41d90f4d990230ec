//! Opens connections to the broker.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lapin::uri::AMQPUri;
use lapin::{Channel, Connection, ConnectionProperties, ConnectionStatus};
use scopeguard::ScopeGuard;
use tokio::runtime::Handle;

use super::error::BrokerError;
use super::{dial, url};
use crate::duration::parse_positive;
use crate::topology::Topology;

/// That of a broker that was just installed.
const DEFAULT_URL: &str = "amqp://guest:guest@127.0.0.1:5672/%2f";

/// The flags that every process has: the broker, and the fleet on it.
#[derive(Clone, clap::Args)]
pub struct BrokerArgs {
    /// The broker: `amqp://user:password@host:port/vhost`, or `amqps`; parameters such as ?heartbeat=10 behind it; by
    /// default `amqp://guest:guest@127.0.0.1:5672/%2f`
    #[arg(long, env = "AMQP_URL", hide_env_values = true, global = true)]
    pub amqp_url: Option<String>,
    /// First word of every queue and exchange name: fleets with different prefixes share a broker
    #[arg(long, env = "ROLLCALL_PREFIX", default_value = "rollcall", value_parser = crate::message::parse_prefix, global = true)]
    pub prefix: String,
    /// How long to go on without the broker once it is lost, such as 10m, before giving up with exit code 3 [default: for ever]
    #[arg(long, env = "ROLLCALL_MAX_DOWNTIME", value_parser = parse_positive, global = true)]
    pub max_downtime: Option<Duration>,
    /// How long to wait at the start for a broker that cannot be reached yet, such as 2m: in a container, it may start at the same time
    /// [default: not at all]
    #[arg(long, env = "ROLLCALL_WAIT_FOR_BROKER", value_parser = parse_positive, global = true)]
    pub wait_for_broker: Option<Duration>,
}

impl BrokerArgs {
    /// The broker's URL.
    pub fn url(&self) -> &str {
        self.amqp_url.as_deref().unwrap_or(DEFAULT_URL)
    }

    /// The names of this fleet on the broker.
    pub fn topology(&self) -> Topology {
        Topology::new(&self.prefix)
    }
}

/// Without the URL, which may contain a password.
impl fmt::Debug for BrokerArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let BrokerArgs { prefix, max_downtime, .. } = self;
        f.debug_struct("BrokerArgs").field("prefix", prefix).field("max_downtime", max_downtime).finish_non_exhaustive()
    }
}

/// An unreachable broker is to be reported within ten seconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(8);

/// A peer that vanished without closing the connection is noticed after two of these.
const HEARTBEAT_SECONDS: u16 = 10;

/// An open connection. It is cut when its last clone is dropped; [`BrokerConnection::close`] closes it cleanly.
#[derive(Clone)]
pub struct BrokerConnection(Arc<Open>);

struct Open {
    connection: Connection,
    /// Channels live as long as their connection: lapin closes a channel when it is dropped, and a connection that is closed at the same
    /// time may be cut instead, before the last acknowledgements are sent.
    channels: Mutex<Vec<Channel>>,
}

impl BrokerConnection {
    /// Opens a channel.
    ///
    /// # Errors
    /// [`BrokerError::Lost`].
    pub async fn channel(&self) -> Result<Channel, BrokerError> {
        let channel = self.0.connection.create_channel().await?;
        let mut channels = self.0.channels.lock().unwrap_or_else(PoisonError::into_inner);
        channels.retain(|channel| channel.status().connected());
        channels.push(channel.clone());
        drop(channels);
        Ok(channel)
    }

    /// Whether the connection is open. If it is, an error on a channel is confined to that channel.
    pub fn is_connected(&self) -> bool {
        self.0.connection.status().connected()
    }

    /// Whether the broker has stopped reading from it, being short of memory or disk.
    pub fn is_blocked(&self) -> bool {
        self.0.connection.status().blocked()
    }

    /// Runs `act` on a new channel, and closes it, since a connection has a limited number. If the broker refuses an operation, it closes
    /// this channel, and no other use of the connection is affected. If this is cancelled, the channel is closed in the background.
    ///
    /// # Errors
    /// The error of `act`; if the connection is still open afterwards, the broker refused an operation.
    pub async fn on_own_channel<T>(&self, act: impl AsyncFnOnce(&Channel) -> Result<T, BrokerError>) -> Result<T, BrokerError> {
        let channel = self.channel().await?;
        let close_if_cancelled = scopeguard::guard(channel.clone(), close_in_background);
        let done = act(&channel).await;
        ScopeGuard::into_inner(close_if_cancelled);
        close(&channel).await;
        done
    }

    /// The status of the connection.
    pub(super) fn status(&self) -> &ConnectionStatus {
        self.0.connection.status()
    }

    /// Closes the connection cleanly, so that all that was sent has arrived, but waits at most two seconds for the broker.
    pub async fn close(&self) {
        const LONGEST: Duration = Duration::from_secs(2);
        // An error means that the connection is closed already.
        if let Ok(Err(error)) = tokio::time::timeout(LONGEST, self.0.connection.close(200, "bye".into())).await {
            tracing::debug!(%error, "closing the connection");
        }
    }
}

/// Closes a channel, which may be closed already. Waits at most two seconds: a broker that reads nothing now closes it later.
pub async fn close(channel: &Channel) {
    const LONGEST: Duration = Duration::from_secs(2);
    if let Ok(Err(error)) = tokio::time::timeout(LONGEST, channel.close(200, "done".into())).await {
        tracing::trace!(%error, "closing a channel");
    }
}

/// Closes a channel that nobody waits for, if there is a runtime to do it.
pub(super) fn close_in_background(channel: Channel) {
    if let Ok(runtime) = Handle::try_current() {
        runtime.spawn(async move { close(&channel).await });
    }
}

/// Connects. `name` is shown in the broker's list of connections.
///
/// # Errors
/// [`BrokerError::BadUrl`], [`BrokerError::Unreachable`] or [`BrokerError::Refused`], within ten seconds unless the URL has a
/// longer `connection_timeout`.
pub async fn connect(broker: &BrokerArgs, name: &str) -> Result<BrokerConnection, BrokerError> {
    let mut uri = url::parse(broker.url())?;
    uri.query.heartbeat.get_or_insert(HEARTBEAT_SECONDS);
    // lapin ignores it when it connects asynchronously.
    let timeout = uri.query.connection_timeout.map_or(CONNECT_TIMEOUT, Duration::from_millis);
    let url = without_password(&uri);
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    match dial::connect(&uri, &properties, timeout).await {
        Ok(connection) => Ok(BrokerConnection(Arc::new(Open { connection, channels: Mutex::default() }))),
        Err(dial::Fault::Unreachable(reason)) => Err(BrokerError::Unreachable { url, reason }),
        Err(dial::Fault::Refused(reason)) => Err(BrokerError::Refused { url, reason }),
        Err(dial::Fault::OutOfResources(reason)) => Err(BrokerError::OutOfResources(reason)),
    }
}

pub(super) fn without_password(uri: &AMQPUri) -> String {
    let (user, host, port) = (&uri.authority.userinfo.username, &uri.authority.host, uri.authority.port);
    let vhost = uri.vhost.replace('%', "%25").replace('/', "%2f");
    let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
    format!("{}://{user}:***@{host}:{port}/{vhost}", uri.scheme)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_its_password() {
        for (url, shown) in [
            ("amqp://ann:secret@broker:5673/%2f", "amqp://ann:***@broker:5673/%2f"),
            ("amqp://ann:secret@[2001:db8::7]/%2f", "amqp://ann:***@[2001:db8::7]:5672/%2f"),
        ] {
            assert_eq!(without_password(&url::parse(url).unwrap()), shown);
        }
    }

    #[test]
    fn what_a_process_was_started_with_can_be_printed_without_its_password() {
        let amqp_url = Some("amqp://ann:secret@broker".to_owned());
        let broker = BrokerArgs { amqp_url, prefix: "rollcall".to_owned(), max_downtime: None, wait_for_broker: None };
        assert!(!format!("{broker:?}").contains("secret"), "{broker:?}");
    }
}
