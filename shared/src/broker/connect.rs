//! Opens connections.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lapin::uri::AMQPUri;
use lapin::{Channel, Connection, ConnectionProperties, ConnectionStatus, ErrorKind};

use super::{BrokerError, reason, url};
use crate::duration::positive;
use crate::topology::Topology;

/// Where the broker is, and which fleet on it: the flags that every process has.
#[derive(Debug, Clone, clap::Args)]
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

/// A broker that cannot be reached is reported within ten seconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(8);

/// A peer that vanished without a word is noticed after two of these.
const HEARTBEAT_SECONDS: u16 = 10;

/// An open connection; it closes when it is dropped, or in good order by [`Link::close`].
pub struct Link {
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
        let channel = self.connection.create_channel().await?;
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        channels.retain(|channel| channel.status().connected());
        channels.push(channel.clone());
        drop(channels);
        Ok(channel)
    }

    /// How the connection is.
    pub(super) fn status(&self) -> &ConnectionStatus {
        self.connection.status()
    }

    /// Closes the connection in good order, so that what was sent has arrived; but does not wait long for a broker that is
    /// itself in trouble.
    pub async fn close(self) {
        const LONGEST: Duration = Duration::from_secs(2);
        // The process is leaving: a connection that is already gone is closed enough.
        if let Ok(Err(error)) = tokio::time::timeout(LONGEST, self.connection.close(200, "bye".into())).await {
            tracing::debug!(%error, "closing the connection");
        }
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
    match tokio::time::timeout(timeout, Connection::connect_uri(uri, properties)).await {
        Ok(Ok(connection)) => Ok(Link { connection, channels: Mutex::default() }),
        Ok(Err(error)) => Err(match error.kind() {
            ErrorKind::ProtocolError(_) => BrokerError::Refused { url, reason: reason(&error) },
            _ => BrokerError::Unreachable { url, reason: reason(&error) },
        }),
        Err(_) => {
            let reason = format!("no answer within {}", humantime::format_duration(timeout));
            Err(BrokerError::Unreachable { url, reason })
        }
    }
}

fn without_password(uri: &AMQPUri) -> String {
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
}
