//! Answers requests for the status of this consumer: `producer status` asks all consumers of a model at once.

use lapin::message::Delivery;
use lapin::{BasicProperties, Channel};
use rollcall_shared::broker::{BrokerError, Subscription, publish_unconfirmed};
use rollcall_shared::message::{ConsumerStatus, Message, Model};
use rollcall_shared::topology::Topology;

/// The subscription to status requests, on a channel of its own.
pub(crate) struct StatusRequests(Subscription);

impl StatusRequests {
    /// Declares this consumer's queue of requests, and subscribes to it.
    pub(crate) async fn open(channel: &Channel, topology: &Topology, model: &Model) -> Result<StatusRequests, BrokerError> {
        let queue = topology.declare_consumer(channel, model).await?;
        Ok(StatusRequests(Subscription::without_acks(channel, &queue, "status").await?))
    }

    /// Waits for the next request. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Result<Delivery, BrokerError> {
        self.0.next().await
    }

    /// Answers a request. The answer is not confirmed: if it is lost, the request is repeated.
    pub(crate) async fn answer(&self, request: &Delivery, status: &ConsumerStatus) -> Result<(), BrokerError> {
        let Some(reply_to) = request.properties.reply_to() else { return Ok(()) };
        let mut properties = BasicProperties::default().with_content_type("application/json".into());
        if let Some(id) = request.properties.correlation_id() {
            properties = properties.with_correlation_id(id.clone());
        }
        let body = serde_json::to_vec(status).map_err(BrokerError::NotJson)?;
        let message = Message { exchange: String::new(), routing_key: reply_to.as_str().to_owned(), properties, body };
        publish_unconfirmed(self.0.channel(), message).await
    }

    /// Sends why this consumer ends, once, to all processes that wait for a job of `model`.
    pub(crate) async fn announce_end(
        &self,
        topology: &Topology,
        model: &Model,
        status: &ConsumerStatus,
    ) -> Result<(), BrokerError> {
        let properties = BasicProperties::default().with_content_type("application/json".into());
        let body = serde_json::to_vec(status).map_err(BrokerError::NotJson)?;
        let routing_key = Topology::consumer_faults_key(model);
        publish_unconfirmed(self.0.channel(), Message { exchange: topology.consumers(), routing_key, properties, body }).await
    }
}
