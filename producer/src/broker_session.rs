//! What one operation needs of the broker: a connection, a channel to publish on, and somebody to ask about jobs.

pub(crate) mod pool;

use lapin::Channel;
use rollcall_shared::broker::{BrokerArgs, BrokerConnection, BrokerError, connect};
use rollcall_shared::topology::Topology;

use crate::aggregator_client::AggregatorClient;
use pool::{ChannelPool, Lease};

/// How operations reach the broker.
#[derive(Clone)]
pub(crate) enum BrokerAccess {
    /// Each by a connection of its own, which a command needs anyway, and an operation that blocks a connection or opens many channels.
    Direct(BrokerArgs),
    /// By the channels of a pool, as those of many requests at a time do.
    Pooled(ChannelPool),
}

impl BrokerAccess {
    /// The broker's flags.
    pub(crate) fn args(&self) -> &BrokerArgs {
        match self {
            BrokerAccess::Direct(args) => args,
            BrokerAccess::Pooled(pool) => pool.broker(),
        }
    }

    /// The names on the broker.
    pub(crate) fn topology(&self) -> Topology {
        self.args().topology()
    }

    /// Begins an operation. A connection that is opened for it has this `name` in the broker's list.
    ///
    /// # Errors
    /// If the broker cannot be reached or refuses, or no channel is free in time.
    pub(crate) async fn session(&self, name: &str) -> Result<BrokerSession, BrokerError> {
        Ok(match self {
            BrokerAccess::Direct(args) => {
                BrokerSession::Own { link: connect(args, name).await?, topology: args.topology(), aggregator: None }
            }
            BrokerAccess::Pooled(pool) => BrokerSession::Pooled(Box::new(pool.lease().await?)),
        })
    }
}

/// The broker during one operation.
pub(crate) enum BrokerSession {
    /// With a connection of its own.
    Own {
        link: BrokerConnection,
        topology: Topology,
        aggregator: Option<Box<AggregatorClient>>,
    },
    Pooled(Box<Lease>),
}

impl BrokerSession {
    /// The connection.
    pub(crate) fn link(&self) -> &BrokerConnection {
        match self {
            BrokerSession::Own { link, .. } => link,
            BrokerSession::Pooled(lease) => &lease.link,
        }
    }

    /// A channel that nothing else publishes on meanwhile.
    ///
    /// # Errors
    /// [`BrokerError::Lost`].
    pub(crate) async fn channel(&self) -> Result<Channel, BrokerError> {
        match self {
            BrokerSession::Own { link, .. } => link.channel().await,
            BrokerSession::Pooled(lease) => Ok(lease.channel.clone()),
        }
    }

    /// Whom to ask about jobs.
    ///
    /// # Errors
    /// [`BrokerError::Lost`].
    pub(crate) async fn aggregator(&mut self) -> Result<&mut AggregatorClient, BrokerError> {
        match self {
            BrokerSession::Own { link, topology, aggregator } => Ok(match aggregator {
                Some(aggregator) => aggregator,
                none => none.insert(Box::new(AggregatorClient::open(link, topology).await?)),
            }),
            BrokerSession::Pooled(lease) => Ok(&mut lease.aggregator),
        }
    }

    /// Ends the operation, with nothing on its way to the broker. One that is dropped instead leaves a channel that nobody uses again.
    pub(crate) async fn close(self) {
        match self {
            BrokerSession::Own { link, .. } => link.close().await,
            BrokerSession::Pooled(lease) => lease.give_back(),
        }
    }
}
