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
    ///
    /// # Errors
    /// One that may pass.
    pub(super) async fn publish(&self, gateway: &Gateway) -> Result<(), BrokerError> {
        let Refusal { trigger, subject, reason } = self;
        tracing::warn!(event = "refused", trigger, subject, reason, "a gateway has refused something");
        gateway.metrics.refused.with_label_values(&[*trigger]).inc();
        publish_event(REFUSED, subject, &json!({ "trigger": trigger, "subject": subject, "reason": reason }), gateway).await
    }

    /// Says so in an event, after the message that it was has been dead-lettered with the reason.
    ///
    /// # Errors
    /// One that may pass.
    pub(super) async fn dead_letter(&self, body: Vec<u8>, gateway: &Gateway) -> Result<(), BrokerError> {
        let routing_key = gateway.broker.topology().gateway_dead();
        publish_message(Message { exchange: String::new(), routing_key, properties: self.headers(), body }, gateway).await?;
        self.publish(gateway).await
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
pub(super) async fn publish_event(name: &str, subject: &str, data: &Value, gateway: &Gateway) -> Result<(), BrokerError> {
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
    let properties = persistent(&kind, id).with_content_type("application/cloudevents+json".into());
    let (exchange, routing_key) = (gateway.broker.topology().events(), format!("gateway.{name}"));
    publish_message(Message { exchange, routing_key, properties, body: document.to_string().into_bytes() }, gateway).await
}

async fn publish_message(message: Message, gateway: &Gateway) -> Result<(), BrokerError> {
    let published = async {
        let session = gateway.queries.session("rollcall gateway: a message").await?;
        Publisher::on(session.link(), session.channel().await?).await?.publish_now((), message).await?;
        session.close().await;
        Ok(())
    };
    // Of another connection than the caller's: it may pass, whatever it is, and must not end a gateway at its start.
    published.await.map_err(|error: BrokerError| BrokerError::Lost(error.to_string()))
}
