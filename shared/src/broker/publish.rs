//! Publishing with confirms: a message counts as sent once the broker has stored it in at least one queue.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::join_all;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{Channel, Confirmation, ConnectionStatus, PublisherConfirm};

use super::connect::BrokerConnection;
use super::error::BrokerError;
use crate::message::{Message, to_ledger_alone};
use crate::topology::Topology;

/// Messages handed to lapin together. It writes all that is queued when it is polled with one system call; measured 15,000 companies/s
/// through the whole topology on two cores, against 11,700 with one message at a time.
pub const COALESCE: usize = 64;

/// Unconfirmed messages, at most. Larger windows gained nothing in the same measurement, and all of it is sent again after a lost connection.
const WINDOW: usize = 1_000;

/// A broker that is not blocked and has confirmed nothing for so long has lost a message: RabbitMQ 3.10 loses what is published to a stream
/// while its leader changes, without an error.
const LOST_AFTER: Duration = Duration::from_secs(30);

/// How often to check whether the broker is blocked.
const CHECK_EVERY: Duration = Duration::from_secs(1);

/// A message of a topic exchange that is not confirmed for so long is published to the ledger alone, since the queue of a subscriber may
/// delay its confirm. It is longer than a busy broker takes; if one takes longer, the ledger has the message twice, and it counts once.
const OVERDUE_AFTER: Duration = Duration::from_secs(10);

/// Bytes of unconfirmed bodies, at most, so that large messages do not fill the memory. One message is always accepted.
const WINDOW_BYTES: usize = 16 << 20;

/// Refusals by a subscriber's queue are logged this often, at most.
const LOG_REFUSALS_EVERY: Duration = Duration::from_secs(60);

/// A publishing channel with its unconfirmed messages. Each has a ticket `T`, which is returned when the message is confirmed; until then
/// the message is kept, so that it can be sent again on another channel.
///
/// It must have one owner: lapin can mix up the confirms of tasks that share a channel.
pub struct Publisher<T> {
    channel: Channel,
    connection: ConnectionStatus,
    pending: VecDeque<Pending<T>>,
    pending_bytes: usize,
    /// If set, messages that a subscriber's queue refuses are published to the ledger alone.
    ledger: Option<Ledger>,
    /// Messages that a subscriber's queue refused, to be published to the ledger.
    refused: VecDeque<(T, Message)>,
    /// Done events that a subscriber's queue refused.
    refused_done: Vec<Message>,
    /// Refused messages so far, and when that was logged last.
    refusals: u64,
    refusals_logged: Option<Instant>,
    /// When the last confirm came.
    confirmed_at: Instant,
    /// Messages that the broker did not accept.
    unsent: Vec<(T, Message)>,
    /// Messages that a full queue refused; `None` if that is an error.
    nacked: Option<Vec<(T, Message)>>,
    /// When the connection was last seen to be blocked.
    blocked_at: Instant,
}

/// The ledger's queue, and the exchanges whose messages it is bound to.
struct Ledger {
    queue: String,
    exchanges: [String; 2],
}

struct Pending<T> {
    ticket: T,
    message: Message,
    confirm: PublisherConfirm,
    published: Instant,
}

impl<T> Publisher<T> {
    /// Makes `channel` of `connection` a publishing channel.
    ///
    /// # Errors
    /// [`BrokerError::Lost`].
    pub async fn on(connection: &BrokerConnection, channel: Channel) -> Result<Publisher<T>, BrokerError> {
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let (connection, now) = (connection.status().clone(), Instant::now());
        Ok(Publisher {
            channel,
            connection,
            pending: VecDeque::new(),
            pending_bytes: 0,
            ledger: None,
            refused: VecDeque::new(),
            refused_done: Vec::new(),
            refusals: 0,
            refusals_logged: None,
            confirmed_at: now,
            unsent: Vec::new(),
            nacked: None,
            blocked_at: now,
        })
    }

    /// Publishes a result or a job event to the ledger alone if any queue refuses it or does not confirm it in time: no subscriber can keep
    /// it from the ledger.
    #[must_use]
    pub fn with_ledger_fallback(self, topology: &Topology) -> Publisher<T> {
        let ledger = Ledger { queue: topology.ledger(), exchanges: [topology.results(), topology.events()] };
        Publisher { ledger: Some(ledger), ..self }
    }

    /// Keeps messages that a queue refuses, as a full one does, for [`Publisher::take_nacked`], instead of returning an error.
    #[must_use]
    pub fn keep_nacked(self) -> Publisher<T> {
        Publisher { nacked: Some(Vec::new()), ..self }
    }

    /// The messages that queues have refused since the last call.
    pub fn take_nacked(&mut self) -> Vec<(T, Message)> {
        self.nacked.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Messages published and not yet confirmed.
    pub fn pending(&self) -> usize {
        self.pending.len() + self.refused.len()
    }

    /// Whether the broker has stopped reading, being short of memory or disk.
    pub fn is_blocked(&self) -> bool {
        self.connection.blocked()
    }

    /// How many more messages fit into the window; 0 if those in it have too many bytes together.
    pub fn room(&self) -> usize {
        if self.pending_bytes >= WINDOW_BYTES { 0 } else { WINDOW.saturating_sub(self.pending()) }
    }

    /// The done events that a queue has refused, as messages for the ledger alone. The ledger must have at most one of each job, so the
    /// caller must check that it is missing before publishing one.
    pub fn take_refused_done(&mut self) -> Vec<Message> {
        std::mem::take(&mut self.refused_done)
    }

    /// How many messages were published to the ledger alone.
    pub fn refusals(&self) -> u64 {
        self.refusals
    }

    /// Publishes, without waiting for the confirms.
    ///
    /// # Errors
    /// [`BrokerError::Lost`]: some may have been sent, and all are among the unconfirmed.
    pub async fn publish(&mut self, messages: Vec<(T, Message)>) -> Result<(), BrokerError> {
        self.publish_refused().await?;
        let sends = messages.iter().map(|(_, message)| publish_mandatory(&self.channel, message));
        let confirms = join_all(sends).await;
        let (mut sent, published) = (Ok(()), Instant::now());
        for ((ticket, message), confirm) in messages.into_iter().zip(confirms) {
            match confirm {
                Ok(confirm) => {
                    self.pending_bytes += message.body.len();
                    self.pending.push_back(Pending { ticket, message, confirm, published });
                }
                Err(error) => {
                    self.unsent.push((ticket, message));
                    sent = Err(error.into());
                }
            }
        }
        sent
    }

    /// Publishes one message and waits for its confirm, and those of all before it.
    ///
    /// # Errors
    /// As [`Publisher::confirmed`].
    pub async fn publish_now(&mut self, ticket: T, message: Message) -> Result<Vec<T>, BrokerError> {
        self.publish(vec![(ticket, message)]).await?;
        self.flush().await
    }

    /// Waits until everything published is confirmed.
    ///
    /// # Errors
    /// As [`Publisher::confirmed`].
    pub async fn flush(&mut self) -> Result<Vec<T>, BrokerError> {
        let mut tickets = Vec::with_capacity(self.pending.len());
        while let Some(ticket) = self.confirmed().await? {
            tickets.push(ticket);
        }
        Ok(tickets)
    }

    /// The messages that were published and not confirmed, to be sent again.
    pub fn into_unconfirmed(self) -> Vec<(T, Message)> {
        let pending = self.pending.into_iter().map(|pending| (pending.ticket, pending.message));
        pending.chain(self.refused).chain(self.unsent).chain(self.nacked.into_iter().flatten()).collect()
    }

    /// Waits for the oldest unconfirmed message and returns its ticket; `None` if all are confirmed. Cancel-safe.
    ///
    /// # Errors
    /// [`BrokerError`] if the broker refused or lost it, no queue took it, or the connection was lost.
    pub async fn confirmed(&mut self) -> Result<Option<T>, BrokerError> {
        loop {
            // The caller may cancel before a timer fires: check before awaiting.
            self.redirect_overdue();
            self.publish_refused().await?;
            let is_lost = self.is_lost();
            let Some(oldest) = self.pending.front_mut() else { return Ok(None) };
            let confirmation = if is_lost {
                (&mut oldest.confirm).now_or_never()
            } else {
                tokio::time::timeout(CHECK_EVERY, &mut oldest.confirm).await.ok()
            };
            match confirmation {
                Some(confirmation) => {
                    if let Some(ticket) = self.resolve(confirmation)? {
                        return Ok(Some(ticket));
                    }
                }
                None if is_lost => {
                    let seconds = LOST_AFTER.as_secs();
                    return Err(BrokerError::Lost(format!("no confirm for {seconds} s: the broker has lost a message")));
                }
                None => {}
            }
        }
    }

    fn is_lost(&mut self) -> bool {
        let progress = self.confirmed_at.max(self.blocked_at());
        let since = self.pending.front().map_or(progress, |oldest| oldest.published.max(progress));
        since.elapsed() >= LOST_AFTER
    }

    /// When the broker was last seen to read nothing, being short of memory or disk.
    fn blocked_at(&mut self) -> Instant {
        if self.connection.blocked() {
            self.blocked_at = Instant::now();
        }
        self.blocked_at
    }

    /// Adds the tickets of messages whose confirms have already arrived, oldest first, without waiting.
    ///
    /// # Errors
    /// As [`Publisher::confirmed`].
    pub fn confirmed_by_now(&mut self, tickets: &mut Vec<T>) -> Result<(), BrokerError> {
        while let Some(oldest) = self.pending.front_mut() {
            let Some(confirmation) = (&mut oldest.confirm).now_or_never() else { break };
            tickets.extend(self.resolve(confirmation)?);
        }
        Ok(())
    }

    /// Resolves the oldest message by its confirmation; returns its ticket, or `None` if it is to be published to the ledger or was kept as
    /// refused.
    fn resolve(&mut self, confirmation: lapin::Result<Confirmation>) -> Result<Option<T>, BrokerError> {
        let confirmation = confirmation?;
        self.confirmed_at = Instant::now();
        let Some(Pending { ticket, message, .. }) = self.take_oldest() else {
            return Err(BrokerError::Lost("a confirm for no message".to_owned()));
        };
        if confirmation == Confirmation::Ack(None) {
            return Ok(Some(ticket));
        }
        let (exchange, routing_key) = (message.exchange.clone(), message.routing_key.clone());
        let error = match confirmation {
            // The broker acks a message that it could not route, after returning it.
            Confirmation::Ack(_) => BrokerError::Unroutable { exchange, routing_key },
            Confirmation::Nack(_) if self.is_for_ledger(&message) => return Ok(self.redirect(ticket, message)),
            Confirmation::Nack(_) if self.nacked.is_some() && !self.is_at_ledger(&message) => {
                self.nacked.get_or_insert_default().push((ticket, message));
                return Ok(None);
            }
            Confirmation::Nack(_) | Confirmation::NotRequested => BrokerError::Nacked { exchange, routing_key },
        };
        self.unsent.push((ticket, message));
        Err(error)
    }

    fn take_oldest(&mut self) -> Option<Pending<T>> {
        let oldest = self.pending.pop_front()?;
        self.pending_bytes -= oldest.message.body.len();
        Some(oldest)
    }

    fn is_for_ledger(&self, message: &Message) -> bool {
        self.ledger.as_ref().is_some_and(|ledger| ledger.exchanges.contains(&message.exchange))
    }

    /// Whether it was published to the ledger alone.
    fn is_at_ledger(&self, message: &Message) -> bool {
        self.ledger.as_ref().is_some_and(|ledger| message.exchange.is_empty() && ledger.queue == message.routing_key)
    }

    /// Redirects to the ledger the messages whose confirms a subscriber's queue may be delaying.
    fn redirect_overdue(&mut self) {
        let blocked_at = self.blocked_at();
        let is_overdue = |oldest: &Pending<T>| oldest.published.max(blocked_at).elapsed() >= OVERDUE_AFTER;
        while self.pending.front().is_some_and(|oldest| is_overdue(oldest) && self.is_for_ledger(&oldest.message)) {
            let Some(Pending { ticket, message, .. }) = self.take_oldest() else { return };
            // A done event is not published here: dropping its ticket only ends the wait for its confirm.
            drop(self.redirect(ticket, message));
        }
    }

    /// Queues a message for the ledger alone; returns the ticket of a done event, which the caller publishes.
    fn redirect(&mut self, ticket: T, mut message: Message) -> Option<T> {
        let ledger = self.ledger.as_ref()?;
        let is_done = message.routing_key.ends_with(".done");
        let from = std::mem::take(&mut message.exchange);
        message.routing_key.clone_from(&ledger.queue);
        message.properties = to_ledger_alone(message.properties);
        let done = if is_done {
            self.refused_done.push(message);
            Some(ticket)
        } else {
            self.refused.push_back((ticket, message));
            None
        };
        self.refusals += 1;
        if self.refusals_logged.is_none_or(|logged| logged.elapsed() >= LOG_REFUSALS_EVERY) {
            self.refusals_logged = Some(Instant::now());
            tracing::warn!(
                event = "subscriber_refuses",
                exchange = from,
                so_far = self.refusals,
                "a queue bound to this exchange refuses messages or does not confirm them, and its subscriber misses them; the ledger \
                 gets them directly. Find it with `rabbitmqctl list_bindings` and `rabbitmqctl list_queues name messages arguments policy state`"
            );
        }
        done
    }

    /// Publishes the refused messages to the ledger. Cancel-safe: if it is cancelled after publishing a message, it publishes it again.
    async fn publish_refused(&mut self) -> Result<(), BrokerError> {
        while let Some((_, message)) = self.refused.front() {
            let confirm = publish_mandatory(&self.channel, message).await?;
            if let Some((ticket, message)) = self.refused.pop_front() {
                self.pending_bytes += message.body.len();
                self.pending.push_back(Pending { ticket, message, confirm, published: Instant::now() });
            }
        }
        Ok(())
    }
}

/// Publishes a message that may get lost: without a confirm, and without an error if no queue takes it.
///
/// # Errors
/// [`BrokerError::Lost`].
pub async fn publish_unconfirmed(channel: &Channel, message: Message) -> Result<(), BrokerError> {
    let Message { exchange, routing_key, properties, body } = message;
    channel.basic_publish(exchange.into(), routing_key.into(), BasicPublishOptions::default(), &body, properties).await?;
    Ok(())
}

/// Publishes a message that the broker returns if no queue takes it.
pub(super) async fn publish_mandatory(channel: &Channel, message: &Message) -> lapin::Result<PublisherConfirm> {
    let options = BasicPublishOptions { mandatory: true, ..Default::default() };
    let (exchange, key) = (message.exchange.as_str().into(), message.routing_key.as_str().into());
    channel.basic_publish(exchange, key, options, &message.body, message.properties.clone()).await
}
