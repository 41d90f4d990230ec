//! What no job can be made of, and what cannot be delivered: it goes to a queue with its reason, and an event says so.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, LongString};
use rollcall_shared::broker::{BrokerError, Publisher};
use rollcall_shared::message::{Job, Message, Timestamp, persistent};
use serde_json::json;

use super::gateway::Gateway;

/// The longest reason that fits into a header.
const LONGEST_REASON: usize = 4_000;

/// Something that is refused or given up.
pub(super) struct Refusal<'a> {
    /// `inbox`, `notifications`, `schedule`, `webhook` or `export`.
    pub(super) trigger: &'static str,
    /// What: a file, an object, a schedule's time, a job.
    pub(super) subject: &'a str,
    pub(super) reason: &'a str,
}

impl Refusal<'_> {
    /// Says so in an event.
    pub(super) async fn publish(&self, gateway: &Gateway) -> Result<(), BrokerError> {
        self.publish_with(gateway, None).await
    }

    /// Says so in an event, after the message that it was has been stored with the reason.
    pub(super) async fn bury(&self, body: Vec<u8>, gateway: &Gateway) -> Result<(), BrokerError> {
        self.publish_with(gateway, Some(body)).await
    }

    async fn publish_with(&self, gateway: &Gateway, body: Option<Vec<u8>>) -> Result<(), BrokerError> {
        let Refusal { trigger, subject, reason } = self;
        tracing::warn!(event = "refused", trigger, subject, reason, "a gateway has refused something");
        gateway.metrics.refused.with_label_values(&[*trigger]).inc();
        let session = gateway.queries.session("rollcall gateway: a refusal").await?;
        let mut publisher = Publisher::on(session.link(), session.channel().await?).await?;
        let topology = gateway.broker.topology();
        if let Some(body) = body {
            let message =
                Message { exchange: String::new(), routing_key: topology.gateway_dead(), properties: self.headers(), body };
            publisher.publish_now((), message).await?;
        }
        publisher.publish_now((), self.event(topology.events())?).await?;
        session.close().await;
        Ok(())
    }

    fn headers(&self) -> BasicProperties {
        let text = |text: &str| AMQPValue::LongString(LongString::from(text.chars().take(LONGEST_REASON).collect::<String>()));
        let mut headers = FieldTable::default();
        headers.insert("trigger".into(), text(self.trigger));
        headers.insert("subject".into(), text(self.subject));
        headers.insert("reason".into(), text(self.reason));
        persistent("rollcall.gateway.refused.v1", Job::unique().to_string()).with_headers(headers)
    }

    fn event(&self, exchange: String) -> Result<Message, BrokerError> {
        let Refusal { trigger, subject, reason } = self;
        let id = format!("gateway/{}", Job::unique());
        let document = json!({
            "specversion": "1.0",
            "id": id,
            "source": "/rollcall/gateway",
            "type": "rollcall.gateway.refused",
            "subject": subject,
            "time": Timestamp::now(),
            "datacontenttype": "application/json",
            "data": { "trigger": trigger, "subject": subject, "reason": reason },
        });
        let body = serde_json::to_vec(&document).map_err(BrokerError::NotJson)?;
        let properties = persistent("rollcall.gateway.refused", id).with_content_type("application/cloudevents+json".into());
        Ok(Message { exchange, routing_key: "gateway.refused".to_owned(), properties, body })
    }
}
