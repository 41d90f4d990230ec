//! Takes notifications of uploads to object storage from an exchange. A message is acknowledged once the job of its object is sealed; one gateway at
//! a time gets them.

mod message;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use lapin::Channel;
use lapin::message::Delivery;
use lapin::options::BasicAckOptions;
use rollcall_shared::broker::{Backoff, BrokerConnection, BrokerError, Subscription, close, connect, supervise};
use rollcall_shared::lifecycle::Shutdown;
use rollcall_shared::message::Job;
use rollcall_shared::topology::Topology;
use tokio::sync::Mutex;

use self::message::{Uploaded, uploads};
use super::triggered_job::{Made, try_to_make};
use crate::cli::EnqueueArgs;
use crate::error::ProducerError;
use crate::location::Location;
use crate::serve::config::{NotificationRule, Notifications};
use crate::serve::derived_name::derived_name;
use crate::serve::gateway::Gateway;
use crate::serve::redelivery::{Attempts, again_after};
use crate::serve::refusals::Refusal;

/// Messages that are dealt with at a time.
const AT_A_TIME: u16 = 4;

/// Takes notifications, if the configuration says from where.
pub(super) async fn run(gateway: &Arc<Gateway>) -> Result<(), BrokerError> {
    let Some(notifications) = &gateway.config.notifications else { return std::future::pending().await };
    let session = async || session(notifications, gateway).await;
    supervise(&gateway.broker, &Shutdown::never(), Duration::ZERO, || {}, session).await
}

/// How long to wait for an exchange that is not there.
const NO_EXCHANGE: Duration = Duration::from_secs(5);

/// A channel on which the queue is declared. The storage may not have made its exchange yet.
async fn bound(notifications: &Notifications, link: &BrokerConnection, topology: &Topology) -> Result<Channel, BrokerError> {
    let Notifications { exchange, routing_key, .. } = notifications;
    loop {
        let channel = link.channel().await?;
        match topology.declare_notifications(&channel, exchange, routing_key).await {
            Ok(()) => return Ok(channel),
            // The broker has refused it, and has closed the channel alone.
            Err(error) if link.is_connected() => {
                tracing::warn!(event = "no_exchange", exchange, %error, "there is no exchange for notifications, or it may not be read; trying again until there is");
            }
            Err(error) => return Err(error),
        }
        close(&channel).await;
        tokio::time::sleep(NO_EXCHANGE).await;
    }
}

async fn session(notifications: &Notifications, gateway: &Arc<Gateway>) -> Result<(), BrokerError> {
    let link = connect(&gateway.broker, "rollcall gateway: notifications").await?;
    let topology = gateway.broker.topology();
    let channel = bound(notifications, &link, &topology).await?;
    let mut messages = Subscription::open(&channel, &topology.notifications(), "notifications", AT_A_TIME).await?;
    tracing::info!(event = "takes_notifications", exchange = notifications.exchange, "this gateway may take notifications");
    // Of two notifications of one object, the second waits for the first.
    let in_work = Mutex::new(HashMap::new());
    let mut at_work = FuturesUnordered::new();
    loop {
        tokio::select! {
            delivery = messages.next() => at_work.push(handle(delivery?, notifications, &in_work, &link, gateway)),
            Some(handled) = at_work.next() => handled?,
        }
    }
}

type InWork = Mutex<HashMap<Job, Arc<Mutex<()>>>>;

async fn handle(
    delivery: Delivery,
    notifications: &Notifications,
    in_work: &InWork,
    link: &BrokerConnection,
    gateway: &Arc<Gateway>,
) -> Result<(), BrokerError> {
    let refuse = async |subject: &str, reason: &str| {
        Refusal { trigger: "notifications", subject, reason }.dead_letter(delivery.data.clone(), gateway).await
    };
    let attempts = Attempts::of(&delivery);
    let (delay, mut again) = (attempts.next_delay(), None);
    let uploads = uploads(&delivery.data).unwrap_or_else(|error| vec![Err(error)]);
    for upload in uploads {
        let upload = match upload {
            Ok(upload) => upload,
            // It was, when the message came first.
            Err(_) if attempts.is_retry() => continue,
            Err(error) => {
                refuse("a message", &error.to_string()).await?;
                continue;
            }
        };
        let subject = format!("{}/{}", upload.bucket, upload.key);
        match (enqueue(&upload, notifications, in_work, gateway).await, delay) {
            (Ok(()), _) => {}
            (Err(NotMade::Transient(error)), Some(delay)) => {
                tracing::warn!(event = "trigger_waits", trigger = "notifications", subject, %error, "a job cannot be made now; trying again later");
                again = Some(delay);
            }
            (Err(NotMade::Transient(error)), None) => refuse(&subject, &error.to_string()).await?,
            (Err(NotMade::Refused(reason)), _) => refuse(&subject, &reason).await?,
        }
    }
    if let Some(delay) = again {
        let topology = gateway.broker.topology();
        again_after(delay, attempts, &delivery, &topology.notifications(), &topology, link).await?;
    }
    Ok(delivery.acker.ack(BasicAckOptions::default()).await.map(drop)?)
}

/// Why there is no job of an object.
enum NotMade {
    /// The object's server is away, or the broker or the aggregator is.
    Transient(ProducerError),
    Refused(String),
}

/// So long an object's server may be away before others have their turn.
const PATIENCE: Duration = Duration::from_secs(30);

/// Makes the job of an object that fits a rule.
async fn enqueue(
    upload: &Uploaded,
    notifications: &Notifications,
    in_work: &InWork,
    gateway: &Arc<Gateway>,
) -> Result<(), NotMade> {
    let Some(rule) = notifications.rules.iter().find(|rule| fits(rule, upload)) else {
        tracing::debug!(bucket = upload.bucket, key = upload.key, "no rule for this object");
        return Ok(());
    };
    let url = rule.url_of(&upload.bucket, &upload.key);
    let file: Location = url.parse().map_err(|error| NotMade::Refused(format!("{error}")))?;
    let version = upload.version.as_deref().unwrap_or_default();
    let parts = [upload.bucket.as_str(), &upload.key, &upload.etag, version, rule.model.as_str()];
    let no_name = || NotMade::Refused("expected an object with a name".to_owned());
    let job = derived_name(&upload.key, &parts).ok_or_else(no_name)?;
    let turn = Arc::clone(in_work.lock().await.entry(job.clone()).or_default());
    let _turn = turn.lock().await;
    // An object that was replaced since has a notification of its own.
    let file = file.pinned(upload.content_hash());
    let args = rule.options.enqueue_args(file, Some(rule.model.clone()), Some(job.clone()));
    let made = make_with_retries(&args, gateway).await;
    in_work.lock().await.retain(|_, turn| Arc::strong_count(turn) > 1);
    match made.map_err(NotMade::Transient)? {
        Made::Sealed { job, .. } => {
            gateway.metrics.triggered.with_label_values(&["notifications"]).inc();
            tracing::info!(event = "triggered", trigger = "notifications", %job, object = url, "a job is enqueued");
            Ok(())
        }
        Made::Refused(reason) => Err(NotMade::Refused(reason)),
    }
}

/// Makes a job, and tries again for a while if that fails.
async fn make_with_retries(args: &EnqueueArgs, gateway: &Arc<Gateway>) -> Result<Made, ProducerError> {
    let (began, mut backoff) = (Instant::now(), Backoff::new());
    loop {
        match try_to_make(args, gateway).await {
            Err(error) if began.elapsed() < PATIENCE => {
                tracing::debug!(%error, "a job cannot be made now");
                tokio::time::sleep(backoff.pause()).await;
            }
            made => return made,
        }
    }
}

fn fits(rule: &NotificationRule, upload: &Uploaded) -> bool {
    rule.bucket == upload.bucket && upload.key.starts_with(&rule.prefix) && upload.key.ends_with(&rule.suffix)
}
