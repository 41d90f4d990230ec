//! Answers whoever asks how this consumer stands: `producer status` asks all consumers of a model at once.

use futures_util::StreamExt;
use lapin::message::Delivery;
use lapin::options::BasicConsumeOptions;
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Consumer};
use rollcall_shared::broker::{BrokerError, publish_unconfirmed};
use rollcall_shared::message::{ConsumerStatus, Message, Model};
use rollcall_shared::topology::Topology;

/// The requests that come in, on a channel of their own.
pub(crate) struct StatusRequests {
    channel: Channel,
    consumer: Consumer,
}

impl StatusRequests {
    /// Begins to take requests.
    pub(crate) async fn open(channel: Channel, topology: &Topology, model: &Model) -> Result<StatusRequests, BrokerError> {
        let queue = topology.declare_consumer(&channel, model).await?;
        let options = BasicConsumeOptions { no_ack: true, ..Default::default() };
        let consumer = channel.basic_consume(queue.as_str().into(), "status".into(), options, FieldTable::default()).await?;
        Ok(StatusRequests { channel, consumer })
    }

    /// Waits for the next one. Safe to cancel.
    pub(crate) async fn next(&mut self) -> Result<Delivery, BrokerError> {
        match self.consumer.next().await {
            Some(request) => Ok(request?),
            None => Err(BrokerError::Lost("the broker cancelled the consumer of status requests".to_owned())),
        }
    }

    /// Answers one. An answer that gets lost is asked for again.
    pub(crate) async fn answer(&self, request: &Delivery, status: &ConsumerStatus) -> Result<(), BrokerError> {
        let Some(reply_to) = request.properties.reply_to() else { return Ok(()) };
        let mut properties = BasicProperties::default().with_content_type("application/json".into());
        if let Some(id) = request.properties.correlation_id() {
            properties = properties.with_correlation_id(id.clone());
        }
        let body = serde_json::to_vec(status).map_err(|error| BrokerError::Lost(error.to_string()))?;
        let message = Message { exchange: String::new(), routing_key: reply_to.as_str().to_owned(), properties, body };
        publish_unconfirmed(&self.channel, message).await
    }
    /// Says, once, to whoever waits for a job of `model` why this consumer ends.
    pub(crate) async fn tell(&self, topology: &Topology, model: &Model, status: &ConsumerStatus) -> Result<(), BrokerError> {
        let properties = BasicProperties::default().with_content_type("application/json".into());
        let body = serde_json::to_vec(status).map_err(|error| BrokerError::Lost(error.to_string()))?;
        let routing_key = Topology::consumer_faults_key(model);
        publish_unconfirmed(&self.channel, Message { exchange: topology.consumers(), routing_key, properties, body }).await
    }
}
