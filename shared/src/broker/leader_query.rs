//! Queries the leader among the aggregators, over AMQP's direct reply-to.

use std::time::Duration;

use lapin::options::{BasicPublishOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel};
use tokio::time::timeout;

use super::connect::{BrokerConnection, close};
use super::error::BrokerError;
use super::subscribe::{DIRECT_REPLY_TO, Subscription};
use crate::message::{Query, Reply, read_json};
use crate::topology::Topology;

/// A query is repeated this often: the leader that took it may have died.
const REPEAT_EVERY: Duration = Duration::from_secs(1);

/// Sends queries to the leader on a channel of its own.
pub struct LeaderClient {
    channel: Channel,
    replies: Subscription,
    queue: String,
    /// How many queries were sent; the number of each is its correlation id.
    queries: u64,
}

/// Why a query has no reply.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// No leader answered in time: none runs, or one is about to take over.
    #[error("no aggregator answers; start one, with the same AMQP_URL and --prefix")]
    NoAnswer,
    /// The reply is that of another version.
    #[error("expected a reply to a query, found {0}; run programs of the same version")]
    Unreadable(String),
    /// The broker cannot be reached or refuses.
    #[error(transparent)]
    Broker(#[from] BrokerError),
}

impl LeaderClient {
    /// Opens a channel and subscribes to replies.
    ///
    /// # Errors
    /// If the broker refuses or the connection is lost.
    pub async fn open(link: &BrokerConnection, topology: &Topology) -> Result<LeaderClient, BrokerError> {
        let channel = link.channel().await?;
        topology.declare(&channel).await?;
        topology.declare_queries(&channel).await?;
        let replies = Subscription::without_acks(&channel, DIRECT_REPLY_TO, "").await?;
        Ok(LeaderClient { channel, replies, queue: topology.queries(), queries: 0 })
    }

    /// Sends a query until it is answered, or `within` has passed.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn ask(&mut self, query: &Query, within: Duration) -> Result<Reply, QueryError> {
        let body = serde_json::to_vec(query).map_err(BrokerError::NotJson)?;
        self.queries += 1;
        let id = self.queries.to_string();
        let answered = async {
            loop {
                self.send(&body, &id, within).await?;
                if let Ok(reply) = timeout(REPEAT_EVERY, self.reply(&id)).await {
                    return reply;
                }
            }
        };
        timeout(within, answered).await.unwrap_or(Err(QueryError::NoAnswer))
    }

    /// Whether a leader takes queries now. During a takeover, for some seconds, none does.
    ///
    /// # Errors
    /// If the broker fails.
    pub async fn is_leader_up(&self) -> Result<bool, BrokerError> {
        let passive = QueueDeclareOptions { passive: true, ..Default::default() };
        let queue = self.channel.queue_declare(self.queue.as_str().into(), passive, FieldTable::default()).await?;
        Ok(queue.consumer_count() > 0)
    }

    /// Whether its channel is open.
    pub fn is_connected(&self) -> bool {
        self.channel.status().connected()
    }

    /// Closes its channel: a broker may allow few for each connection.
    pub fn close(&self) -> impl Future<Output = ()> + use<> {
        let channel = self.channel.clone();
        async move { close(&channel).await }
    }

    async fn send(&self, body: &[u8], id: &str, within: Duration) -> Result<(), BrokerError> {
        let properties = BasicProperties::default()
            .with_reply_to(DIRECT_REPLY_TO.into())
            .with_content_type("application/json".into())
            .with_correlation_id(id.into())
            .with_expiration(within.as_millis().to_string().into());
        let options = BasicPublishOptions::default();
        self.channel.basic_publish("".into(), self.queue.as_str().into(), options, body, properties).await?;
        Ok(())
    }

    async fn reply(&mut self, id: &str) -> Result<Reply, QueryError> {
        loop {
            let reply = self.replies.next().await?;
            // An earlier query that was sent twice may be answered twice.
            if reply.properties.correlation_id().as_ref().is_some_and(|found| found.as_str() == id) {
                return read_json(&reply.data).map_err(|error| QueryError::Unreadable(error.to_string()));
            }
        }
    }
}
