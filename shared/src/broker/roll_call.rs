//! Asks the consumers of a model how they stand, over AMQP's direct reply-to.

use std::time::Duration;

use futures_util::StreamExt;
use lapin::options::{BasicConsumeOptions, ConfirmSelectOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Confirmation};

use super::BrokerError;
use super::publish::publish_mandatory;
use crate::message::{ConsumerStatus, Message, Model, read_json};
use crate::topology::Topology;

/// A consumer that has not answered by then is stopped, cut off, or has no time.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// What the consumers of `model` say of themselves: until so many have answered as are `expected`, or it takes too long; where nobody says
/// how many there are, of all that answer in time. `channel` is used for nothing else.
///
/// # Errors
/// [`BrokerError::Lost`].
pub async fn roll_call(
    channel: &Channel,
    topology: &Topology,
    model: &Model,
    expected: Option<usize>,
) -> Result<Vec<ConsumerStatus>, BrokerError> {
    let options = BasicConsumeOptions { no_ack: true, ..Default::default() };
    let mut replies = channel.basic_consume("amq.rabbitmq.reply-to".into(), "".into(), options, FieldTable::default()).await?;
    let properties = BasicProperties::default().with_reply_to("amq.rabbitmq.reply-to".into());
    let request = Message { exchange: topology.consumers(), routing_key: model.to_string(), properties, body: b"{}".to_vec() };
    // The broker returns at once what no consumer is subscribed to.
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    if let Confirmation::Ack(Some(_)) = publish_mandatory(channel, &request).await?.await? {
        return Ok(Vec::new());
    }
    let mut answers = Vec::new();
    let all = async {
        while expected.is_none_or(|expected| answers.len() < expected) {
            let reply = replies.next().await;
            let reply = reply.ok_or_else(|| BrokerError::Lost("the broker cancelled the consumer of answers".to_owned()))??;
            match read_json(&reply.data) {
                Ok(status) => answers.push(status),
                Err(error) => tracing::debug!(error, "an answer that is none of ours"),
            }
        }
        Ok(())
    };
    tokio::time::timeout(ANSWER_WITHIN, all).await.unwrap_or(Ok(())).map(|()| answers)
}
