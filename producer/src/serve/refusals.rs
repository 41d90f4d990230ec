//! What no job can be made of, and what cannot be delivered: it goes to a queue with its reason, and an event says so.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, LongString};
use rollcall_shared::broker::{BrokerError, Publisher};
use rollcall_shared::message::{Job, Message, Timestamp, persistent};
use serde_json::{Value, json};

use super::gateway::Gateway;

/// The name of the event.
pub(super) const REFUSED: &str = "refused";

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

    /// Says so in an event, after the message that it was has been dead-lettered with the reason.
    pub(super) async fn dead_letter(&self, body: Vec<u8>, gateway: &Gateway) -> Result<(), BrokerError> {
        self.publish_with(gateway, Some(body)).await
    }

    async fn publish_with(&self, gateway: &Gateway, body: Option<Vec<u8>>) -> Result<(), BrokerError> {
        let Refusal { trigger, subject, reason } = self;
        tracing::warn!(event = "refused", trigger, subject, reason, "a gateway has refused something");
        gateway.metrics.refused.with_label_values(&[*trigger]).inc();
        // Of another connection than the caller's: it may pass, whatever it is, and must not end a gateway at its start.
        self.store(gateway, body).await.map_err(|error| BrokerError::Lost(error.to_string()))
    }

    async fn store(&self, gateway: &Gateway, body: Option<Vec<u8>>) -> Result<(), BrokerError> {
        let session = gateway.queries.session("rollcall gateway: a refusal").await?;
        let mut publisher = Publisher::on(session.link(), session.channel().await?).await?;
        let topology = gateway.broker.topology();
        if let Some(body) = body {
            let message =
                Message { exchange: String::new(), routing_key: topology.gateway_dead(), properties: self.headers(), body };
            publisher.publish_now((), message).await?;
        }
        let data = json!({ "trigger": self.trigger, "subject": self.subject, "reason": self.reason });
        publisher.publish_now((), event(REFUSED, self.subject, &data, topology.events())?).await?;
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
}

/// Publishes an event of gateways, with this name, about something.
///
/// # Errors
/// One that may pass.
pub(super) async fn publish_event(name: &str, subject: &str, data: Value, gateway: &Gateway) -> Result<(), BrokerError> {
    let session = gateway.queries.session("rollcall gateway: an event").await?;
    let mut publisher = Publisher::on(session.link(), session.channel().await?).await?;
    publisher.publish_now((), event(name, subject, &data, gateway.broker.topology().events())?).await?;
    session.close().await;
    Ok(())
}

fn event(name: &str, subject: &str, data: &Value, exchange: String) -> Result<Message, BrokerError> {
    let (id, kind) = (format!("gateway/{}", Job::unique()), format!("rollcall.gateway.{name}"));
    let document = json!({
        "specversion": "1.0",
        "id": id,
        "source": "/rollcall/gateway",
        "type": kind,
        "subject": subject,
        "time": Timestamp::now(),
        "datacontenttype": "application/json",
        "data": data,
    });
    let body = serde_json::to_vec(&document).map_err(BrokerError::NotJson)?;
    let properties = persistent(&kind, id).with_content_type("application/cloudevents+json".into());
    Ok(Message { exchange, routing_key: format!("gateway.{name}"), properties, body })
}
