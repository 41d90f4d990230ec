//! Listens to the orders about jobs: what was said before this consumer began, and what is said from then on.

use std::time::Duration;

use futures_util::StreamExt;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable, LongString};
use lapin::{Channel, Consumer};
use rollcall_shared::broker::{BrokerError, Link, Publisher};
use rollcall_shared::message::{Control, Job, MARKER_TYPE, Message, persistent, read_json};
use rollcall_shared::topology::Topology;

use crate::admit::Standing;

/// Orders that the broker sends ahead of their acknowledgements.
const PREFETCH: u16 = 200;

/// Until the marker is read there is always a next message.
const NEXT_WITHIN: Duration = Duration::from_secs(30);

/// The subscription to the control log.
pub(crate) struct OrderLog {
    channel: Channel,
    consumer: Consumer,
}

impl OrderLog {
    /// Says `first` to every consumer, subscribes, and reads what was said up to now.
    pub(crate) async fn open(link: &Link, topology: &Topology, first: &[Control]) -> Result<(OrderLog, Standing), BrokerError> {
        let channel = link.channel().await?;
        let marker = Job::unique().to_string();
        let message = Message {
            exchange: String::new(),
            routing_key: topology.control_log(),
            properties: persistent(MARKER_TYPE, marker.clone()),
            body: Vec::new(),
        };
        let mut publisher = Publisher::on(link, channel.clone()).await?;
        for control in first {
            let control = control.message(topology.control()).map_err(|error| BrokerError::Lost(error.to_string()))?;
            publisher.publish(vec![((), control)]).await?;
        }
        publisher.publish_now((), message).await?;
        channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
        let mut from_first = FieldTable::default();
        from_first.insert("x-stream-offset".into(), AMQPValue::LongString(LongString::from("first")));
        let options = BasicConsumeOptions::default();
        let consumer = channel.basic_consume(topology.control_log().into(), "control".into(), options, from_first).await?;
        let (mut log, mut standing) = (OrderLog { channel, consumer }, Standing::default());
        loop {
            let said = tokio::time::timeout(NEXT_WITHIN, log.next()).await.map_err(|_| left_alone())??;
            let now = said.properties.message_id().as_ref().is_some_and(|id| id.as_str() == marker);
            log.take_in(&said, &mut standing).await?;
            if now {
                return Ok((log, standing));
            }
        }
    }

    /// Waits for the next message. Safe to cancel.
    pub(crate) async fn next(&mut self) -> Result<Delivery, BrokerError> {
        match self.consumer.next().await {
            Some(said) => Ok(said?),
            None => Err(BrokerError::Lost("the broker cancelled the consumer of orders".to_owned())),
        }
    }

    /// Takes in a message, and says which job it was an order about.
    pub(crate) async fn take_in(&self, said: &Delivery, standing: &mut Standing) -> Result<Option<Job>, BrokerError> {
        self.channel.basic_ack(said.delivery_tag, BasicAckOptions::default()).await?;
        if said.properties.kind().as_ref().is_some_and(|kind| kind.as_str() == MARKER_TYPE) {
            return Ok(None);
        }
        match read_json::<Control>(&said.data) {
            Ok(control) => {
                let job = control.job.clone();
                standing.hear(control);
                Ok(Some(job))
            }
            Err(error) => {
                tracing::warn!(error, "a message on the control exchange is no order; it is ignored");
                Ok(None)
            }
        }
    }
}

fn left_alone() -> BrokerError {
    BrokerError::Lost(format!("expected the orders said up to now, found none for {NEXT_WITHIN:?}"))
}
