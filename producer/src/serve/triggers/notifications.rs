//! Takes notifications of uploads to object storage from an exchange. A message is acknowledged once the job of its object is sealed; one gateway at
//! a time gets them.

mod message;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use lapin::message::Delivery;
use lapin::options::BasicAckOptions;
use rollcall_shared::broker::{BrokerError, Subscription, connect, supervise};
use rollcall_shared::lifecycle::Shutdown;
use rollcall_shared::message::Job;
use tokio::sync::Mutex;

use self::message::{Uploaded, uploads};
use super::triggered_job::{Made, make};
use crate::location::Location;
use crate::serve::config::{NotificationRule, Notifications};
use crate::serve::derived_name::derived_name;
use crate::serve::gateway::Gateway;
use crate::serve::refusals::Refusal;

/// Messages that are dealt with at a time.
const AT_A_TIME: u16 = 4;

/// Takes notifications, if the configuration says from where.
pub(super) async fn run(gateway: &Arc<Gateway>) -> Result<(), BrokerError> {
    let Some(notifications) = &gateway.config.notifications else { return std::future::pending().await };
    // The storage may not have made its exchange yet.
    let begun = async || match session(notifications, gateway).await {
        Err(BrokerError::Topology { .. }) => {
            tracing::warn!(
                event = "no_exchange",
                exchange = notifications.exchange,
                "there is no exchange for notifications, or it may not be read; trying again until there is"
            );
            tokio::time::sleep(NO_EXCHANGE).await;
            Ok(())
        }
        ended => ended,
    };
    loop {
        supervise(&gateway.broker, &Shutdown::never(), Duration::ZERO, || {}, &begun).await?;
    }
}

/// How long to wait for an exchange that is not there.
const NO_EXCHANGE: Duration = Duration::from_secs(5);

async fn session(notifications: &Notifications, gateway: &Arc<Gateway>) -> Result<(), BrokerError> {
    let link = connect(&gateway.broker, "rollcall gateway: notifications").await?;
    let channel = link.channel().await?;
    let topology = gateway.broker.topology();
    topology.declare_notifications(&channel, &notifications.exchange, &notifications.routing_key).await?;
    let mut messages = Subscription::open(&channel, &topology.notifications(), "notifications", AT_A_TIME).await?;
    tracing::info!(event = "takes_notifications", exchange = notifications.exchange, "this gateway may take notifications");
    // Of two notifications of one object, the second waits for the first.
    let in_work = Mutex::new(HashMap::new());
    let mut at_work = FuturesUnordered::new();
    loop {
        tokio::select! {
            delivery = messages.next() => at_work.push(handle(delivery?, notifications, &in_work, gateway)),
            Some(handled) = at_work.next() => handled?,
        }
    }
}

type InWork = Mutex<HashMap<Job, Arc<Mutex<()>>>>;

async fn handle(
    delivery: Delivery,
    notifications: &Notifications,
    in_work: &InWork,
    gateway: &Arc<Gateway>,
) -> Result<(), BrokerError> {
    match uploads(&delivery.data) {
        Ok(uploads) => {
            for upload in uploads {
                if let Err(reason) = enqueue(&upload, notifications, in_work, gateway).await {
                    let subject = format!("{}/{}", upload.bucket, upload.key);
                    let refusal = Refusal { trigger: "notifications", subject: &subject, reason: &reason };
                    refusal.bury(delivery.data.clone(), gateway).await?;
                }
            }
        }
        Err(error) => {
            let refusal = Refusal { trigger: "notifications", subject: "a message", reason: &error.to_string() };
            refusal.bury(delivery.data.clone(), gateway).await?;
        }
    }
    Ok(delivery.acker.ack(BasicAckOptions::default()).await.map(drop)?)
}

/// Makes the job of an object that fits a rule.
///
/// # Errors
/// Why no job can be made of it.
async fn enqueue(
    upload: &Uploaded,
    notifications: &Notifications,
    in_work: &InWork,
    gateway: &Arc<Gateway>,
) -> Result<(), String> {
    let Some(rule) = notifications.rules.iter().find(|rule| fits(rule, upload)) else {
        tracing::debug!(bucket = upload.bucket, key = upload.key, "no rule for this object");
        return Ok(());
    };
    let url = rule.object.replace("{bucket}", &upload.bucket).replace("{key}", &upload.key);
    let file: Location = url.parse().map_err(|error| format!("{error}"))?;
    let etag = upload.etag.as_deref().unwrap_or_default();
    let version = upload.version.as_deref().unwrap_or_default();
    let parts = [upload.bucket.as_str(), &upload.key, etag, version, rule.model.as_str()];
    let job = derived_name(&upload.key, &parts).ok_or("expected an object with a name")?;
    let turn = Arc::clone(in_work.lock().await.entry(job.clone()).or_default());
    let _turn = turn.lock().await;
    // An object that was replaced since has a notification of its own.
    let file = file.pinned(upload.content_hash());
    let args = rule.options.enqueue_args(file, Some(rule.model.clone()), Some(job.clone()));
    let made = make(&args, gateway).await;
    in_work.lock().await.retain(|_, turn| Arc::strong_count(turn) > 1);
    match made {
        Made::Sealed { job, .. } => {
            gateway.metrics.triggered.with_label_values(&["notifications"]).inc();
            tracing::info!(event = "triggered", trigger = "notifications", %job, object = url, "a job is enqueued");
            Ok(())
        }
        Made::Refused(reason) => Err(reason),
    }
}

fn fits(rule: &NotificationRule, upload: &Uploaded) -> bool {
    rule.bucket == upload.bucket && upload.key.starts_with(&rule.prefix) && upload.key.ends_with(&rule.suffix)
}
