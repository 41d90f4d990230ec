//! Asks the consumers of a model for their status, over AMQP's direct reply-to.

use std::time::Duration;

use lapin::options::ConfirmSelectOptions;
use lapin::{BasicProperties, Channel, Confirmation};

use super::error::BrokerError;
use super::publish::publish_mandatory;
use super::subscribe::{DIRECT_REPLY_TO, Subscription};
use crate::message::{ConsumerStatus, Message, Model, read_json};
use crate::topology::Topology;

/// A consumer that has not answered by then is stopped, disconnected or too busy.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// The status of the consumers of `model`: of as many as are `expected`, or, if that is `None`, of all that answer in time. `channel` must
/// be used for nothing else.
///
/// # Errors
/// [`BrokerError::Lost`].
pub async fn query_consumers(
    channel: &Channel,
    topology: &Topology,
    model: &Model,
    expected: Option<usize>,
) -> Result<Vec<ConsumerStatus>, BrokerError> {
    let mut replies = Subscription::without_acks(channel, DIRECT_REPLY_TO, "").await?;
    let properties = BasicProperties::default().with_reply_to(DIRECT_REPLY_TO.into());
    let request = Message { exchange: topology.consumers(), routing_key: model.to_string(), properties, body: b"{}".to_vec() };
    // The broker returns the request at once if no consumer is subscribed.
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    if let Confirmation::Ack(Some(_)) = publish_mandatory(channel, &request).await?.await? {
        return Ok(Vec::new());
    }
    let mut answers = Vec::new();
    let all = async {
        while expected.is_none_or(|expected| answers.len() < expected) {
            let reply = replies.next().await?;
            match read_json(&reply.data) {
                Ok(status) => answers.push(status),
                Err(error) => tracing::debug!(%error, "ignored a reply that is not the status of a consumer"),
            }
        }
        Ok(())
    };
    tokio::time::timeout(ANSWER_WITHIN, all).await.unwrap_or(Ok(())).map(|()| answers)
}
