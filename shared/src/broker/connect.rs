//! Opens connections.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lapin::uri::AMQPUri;
use lapin::{Channel, Connection, ConnectionProperties, ConnectionStatus};

use super::{BrokerError, dial, url};
use crate::duration::positive;
use crate::topology::Topology;

/// Where the broker is, and which fleet on it: the flags that every process has.
#[derive(Clone, clap::Args)]
pub struct BrokerArgs {
    /// The broker: `amqp://user:password@host:port/vhost`, or `amqps`; parameters such as ?heartbeat=10 behind it
    #[arg(
        long,
        env = "AMQP_URL",
        default_value = "amqp://guest:guest@127.0.0.1:5672/%2f",
        hide_env_values = true,
        global = true
    )]
    pub amqp_url: String,
    /// First word of every queue and exchange name: fleets with different prefixes share a broker
    #[arg(long, env = "ROLLCALL_PREFIX", default_value = "rollcall", value_parser = crate::message::prefix, global = true)]
    pub prefix: String,
    /// How long to go on without the broker once it is lost, such as 10m, before giving up with exit code 3 [default: for ever]
    #[arg(long, env = "ROLLCALL_MAX_DOWNTIME", value_parser = positive, global = true)]
    pub max_downtime: Option<Duration>,
}

impl BrokerArgs {
    /// The names of this fleet.
    pub fn topology(&self) -> Topology {
        Topology::new(&self.prefix)
    }
}

/// Without the URL: it may hold a password.
impl fmt::Debug for BrokerArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let BrokerArgs { prefix, max_downtime, .. } = self;
        f.debug_struct("BrokerArgs").field("prefix", prefix).field("max_downtime", max_downtime).finish_non_exhaustive()
    }
}

/// A broker that cannot be reached is reported within ten seconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(8);

/// A peer that vanished without a word is noticed after two of these.
const HEARTBEAT_SECONDS: u16 = 10;

/// An open connection; it closes when it is dropped everywhere, or in good order by [`Link::close`].
#[derive(Clone)]
pub struct Link(Arc<Open>);

struct Open {
    connection: Connection,
    /// Every channel lives as long as its link. lapin closes a channel when it is dropped, and a connection that is closed
    /// meanwhile may be cut instead, with the last acknowledgements still unsent.
    channels: Mutex<Vec<Channel>>,
}

impl Link {
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

    /// Whether the connection holds. Where it does, what went wrong on a channel is that channel's own trouble.
    pub fn is_connected(&self) -> bool {
        self.0.connection.status().connected()
    }

    /// Whether the broker, short of memory or disk, reads nothing from it.
    pub fn is_blocked(&self) -> bool {
        self.0.connection.status().blocked()
    }

    /// Does something on a channel of its own, and closes that: a connection has only so many. The broker may close it before, which is
    /// nobody else's trouble.
    ///
    /// # Errors
    /// [`BrokerError`]; where the connection still holds, what was to be done was refused.
    pub async fn apart<T>(&self, act: impl AsyncFnOnce(&Channel) -> Result<T, BrokerError>) -> Result<T, BrokerError> {
        let channel = self.channel().await?;
        let done = act(&channel).await;
        close(&channel).await;
        done
    }

    /// How the connection is.
    pub(super) fn status(&self) -> &ConnectionStatus {
        self.0.connection.status()
    }

    /// Closes the connection in good order, so that what was sent has arrived; but does not wait long for a broker that is
    /// itself in trouble.
    pub async fn close(&self) {
        const LONGEST: Duration = Duration::from_secs(2);
        // The process is leaving: a connection that is already gone is closed enough.
        if let Ok(Err(error)) = tokio::time::timeout(LONGEST, self.0.connection.close(200, "bye".into())).await {
            tracing::debug!(%error, "closing the connection");
        }
    }
}

/// Closes a channel that may be closed already. A broker that reads nothing now reads that later.
pub async fn close(channel: &Channel) {
    const LONGEST: Duration = Duration::from_secs(2);
    if let Ok(Err(error)) = tokio::time::timeout(LONGEST, channel.close(200, "done".into())).await {
        tracing::trace!(%error, "closing a channel");
    }
}

/// Connects; `name` is shown in the broker's list of connections.
///
/// # Errors
/// [`BrokerError::BadUrl`], [`BrokerError::Unreachable`] or [`BrokerError::Refused`], within ten seconds unless the URL has a
/// longer `connection_timeout`.
pub async fn connect(broker: &BrokerArgs, name: &str) -> Result<Link, BrokerError> {
    let mut uri = url::parse(&broker.amqp_url)?;
    uri.query.heartbeat.get_or_insert(HEARTBEAT_SECONDS);
    // lapin passes over it where it connects asynchronously.
    let timeout = uri.query.connection_timeout.map_or(CONNECT_TIMEOUT, Duration::from_millis);
    let url = without_password(&uri);
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    match dial::connect(&uri, &properties, timeout).await {
        Ok(connection) => Ok(Link(Arc::new(Open { connection, channels: Mutex::default() }))),
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
        let amqp_url = "amqp://ann:secret@broker".to_owned();
        let broker = BrokerArgs { amqp_url, prefix: "rollcall".to_owned(), max_downtime: None };
        assert!(!format!("{broker:?}").contains("secret"), "{broker:?}");
    }
}
