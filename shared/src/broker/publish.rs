//! Publishing with confirms: a message counts as sent when the broker has stored it in at least one queue, and not before.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::join_all;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{Channel, Confirmation, ConnectionStatus, PublisherConfirm};

use super::{BrokerError, Link};
use crate::message::{Message, republished};
use crate::topology::Topology;

/// Messages handed to lapin together. It writes once for all that is queued when it is polled, so publishing one at a time
/// costs a system call a message: measured 11,700 against 15,000 companies/s through the whole topology on two cores.
pub const COALESCE: usize = 64;

/// Confirms awaited at most. Larger windows gained nothing in the same measurement, and all of it is sent again after a lost connection.
const WINDOW: usize = 1_000;

/// A broker that has confirmed nothing for so long, and could have, has forgotten what it was sent. RabbitMQ 3.10 forgets what
/// comes for a stream while that changes its leader; nothing else ever tells.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(30);

/// How often to look whether the broker could have confirmed.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A message of a topic exchange that is not confirmed for so long goes to the ledger by itself: one queue of a subscriber may hold back
/// the confirm. Longer than a busy broker takes; one that takes longer gets it twice, which is counted once.
const HELD_BACK_AFTER: Duration = Duration::from_secs(10);

/// Bytes of bodies awaiting their confirms, at most: large messages must not fill the memory. One message is always let through.
const WINDOW_BYTES: usize = 16 << 20;

/// Refusals by a subscriber's queue are logged this often.
const LOG_REFUSALS_EVERY: Duration = Duration::from_secs(60);

/// A publishing channel with its unconfirmed messages, each with a ticket `T` that comes back when it is safe. The messages
/// are kept until then, so that they can be sent again on another channel.
///
/// One task owns it: confirms of one channel can be swapped between tasks that share it.
pub struct Publisher<T> {
    channel: Channel,
    connection: ConnectionStatus,
    pending: VecDeque<Pending<T>>,
    pending_bytes: usize,
    /// Which queue a message of which exchanges goes to by itself where another queue refuses it.
    ledger: Option<Ledger>,
    /// Refused by some queue, and to be published to the ledger.
    refused: VecDeque<(T, Message)>,
    /// Done events that some queue refused.
    refused_done: Vec<Message>,
    /// How many have been, and when that was logged last.
    refusals: u64,
    refusals_logged: Option<Instant>,
    /// When the last confirm came, or the broker was last seen to be unable to send any.
    heard: Instant,
    /// What the broker did not take.
    unsent: Vec<(T, Message)>,
    /// What a full queue has refused; `None` if that is an error.
    nacked: Option<Vec<(T, Message)>>,
    /// When the broker was last seen to read nothing.
    unblocked: Instant,
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
    /// Makes `channel`, which is one of `link`'s, a publishing channel.
    ///
    /// # Errors
    /// [`BrokerError::Lost`].
    pub async fn on(link: &Link, channel: Channel) -> Result<Publisher<T>, BrokerError> {
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let (connection, heard) = (link.status().clone(), Instant::now());
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
            heard,
            unsent: Vec::new(),
            nacked: None,
            unblocked: heard,
        })
    }

    /// Lets no subscriber's queue stand between a result or a job event and the ledger: what any queue refuses, or does not confirm in
    /// time, is published once more to the ledger alone, and confirmed by that.
    #[must_use]
    pub fn past_subscribers(self, topology: &Topology) -> Publisher<T> {
        let ledger = Ledger { queue: topology.ledger(), exchanges: [topology.results(), topology.events()] };
        Publisher { ledger: Some(ledger), ..self }
    }

    /// Keeps what a queue refuses, as a full one does, for [`Publisher::take_nacked`], in place of an error.
    #[must_use]
    pub fn keep_nacked(self) -> Publisher<T> {
        Publisher { nacked: Some(Vec::new()), ..self }
    }

    /// What queues have refused since it was asked last.
    pub fn take_nacked(&mut self) -> Vec<(T, Message)> {
        self.nacked.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Messages published and not yet confirmed.
    pub fn pending(&self) -> usize {
        self.pending.len() + self.refused.len()
    }

    /// Whether the broker reads nothing, since it is short of memory or disk.
    pub fn is_blocked(&self) -> bool {
        self.connection.blocked()
    }

    /// How many messages more the window holds. None where those in it are too large together, however few they are.
    pub fn room(&self) -> usize {
        if self.pending_bytes >= WINDOW_BYTES { 0 } else { WINDOW.saturating_sub(self.pending()) }
    }

    /// The done events that some queue has refused, each as it goes to the ledger by itself. The ledger has at most one of a job: whoever
    /// publishes them looks first whether it is there already.
    pub fn take_refused_done(&mut self) -> Vec<Message> {
        std::mem::take(&mut self.refused_done)
    }

    /// How many messages some queue has refused, or not confirmed in time, while the ledger took them.
    pub fn refusals(&self) -> u64 {
        self.refusals
    }

    /// Publishes, without waiting for the confirms.
    ///
    /// # Errors
    /// [`BrokerError::Lost`]: some may have been sent. All are among the unconfirmed.
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

    /// What was published and never confirmed, to be sent again.
    pub fn into_unconfirmed(self) -> Vec<(T, Message)> {
        let pending = self.pending.into_iter().map(|pending| (pending.ticket, pending.message));
        pending.chain(self.refused).chain(self.unsent).chain(self.nacked.into_iter().flatten()).collect()
    }

    /// Waits for the oldest unconfirmed message and returns its ticket; `None` if all are confirmed. Cancel-safe.
    ///
    /// # Errors
    /// [`BrokerError`] where the broker refused it, no queue took it, the broker forgot it, or the connection was lost.
    pub async fn confirmed(&mut self) -> Result<Option<T>, BrokerError> {
        loop {
            // The caller may cancel before a timer fires: check before awaiting.
            self.give_up_on_subscribers();
            self.publish_refused().await?;
            let forgotten = self.is_forgotten();
            let Some(oldest) = self.pending.front_mut() else { return Ok(None) };
            let confirmation = if forgotten {
                (&mut oldest.confirm).now_or_never()
            } else {
                tokio::time::timeout(LOOK_EVERY, &mut oldest.confirm).await.ok()
            };
            match confirmation {
                Some(confirmation) => {
                    if let Some(ticket) = self.settle(confirmation)? {
                        return Ok(Some(ticket));
                    }
                }
                None if forgotten => {
                    let seconds = FORGOTTEN_AFTER.as_secs();
                    return Err(BrokerError::Lost(format!("no confirm for {seconds} s: the broker has forgotten a message")));
                }
                None => {}
            }
        }
    }

    fn is_forgotten(&mut self) -> bool {
        let heard = self.heard.max(self.unblocked());
        let since = self.pending.front().map_or(heard, |oldest| oldest.published.max(heard));
        since.elapsed() >= FORGOTTEN_AFTER
    }

    /// Short of memory or disk the broker reads nothing, for as long as that takes; when that was last so.
    fn unblocked(&mut self) -> Instant {
        if self.connection.blocked() {
            self.unblocked = Instant::now();
        }
        self.unblocked
    }

    /// Adds the tickets of messages whose confirms have already arrived, oldest first, without waiting.
    ///
    /// # Errors
    /// As [`Publisher::confirmed`].
    pub fn confirmed_by_now(&mut self, tickets: &mut Vec<T>) -> Result<(), BrokerError> {
        while let Some(oldest) = self.pending.front_mut() {
            let Some(confirmation) = (&mut oldest.confirm).now_or_never() else { break };
            tickets.extend(self.settle(confirmation)?);
        }
        Ok(())
    }

    /// The ticket of the oldest message, to which this is the broker's answer; `None` if the message is to go to the ledger.
    fn settle(&mut self, confirmation: lapin::Result<Confirmation>) -> Result<Option<T>, BrokerError> {
        let confirmation = confirmation?;
        self.heard = Instant::now();
        let Some(Pending { ticket, message, .. }) = self.take_oldest() else {
            return Err(BrokerError::Lost("a confirm for no message".to_owned()));
        };
        if confirmation == Confirmation::Ack(None) {
            return Ok(Some(ticket));
        }
        let (exchange, routing_key) = (message.exchange.clone(), message.routing_key.clone());
        let error = match confirmation {
            // The broker acks what it could not route, after returning it.
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

    /// Whether it goes to the ledger by itself. There is no other place for it.
    fn is_at_ledger(&self, message: &Message) -> bool {
        self.ledger.as_ref().is_some_and(|ledger| message.exchange.is_empty() && ledger.queue == message.routing_key)
    }

    /// Sets aside, for the ledger alone, messages whose confirms a subscriber's queue may be holding back.
    fn give_up_on_subscribers(&mut self) {
        let unblocked = self.unblocked();
        let is_held_back = |oldest: &Pending<T>| oldest.published.max(unblocked).elapsed() >= HELD_BACK_AFTER;
        while self.pending.front().is_some_and(|oldest| is_held_back(oldest) && self.is_for_ledger(&oldest.message)) {
            let Some(Pending { ticket, message, .. }) = self.take_oldest() else { return };
            // Without its ticket, what is not redirected is only waited for no longer.
            drop(self.redirect(ticket, message));
        }
    }

    /// Sends a message to the ledger by itself; returns the ticket of one that is not published here.
    fn redirect(&mut self, ticket: T, mut message: Message) -> Option<T> {
        let ledger = self.ledger.as_ref()?;
        let is_done = message.routing_key.ends_with(".done");
        let from = std::mem::take(&mut message.exchange);
        message.routing_key.clone_from(&ledger.queue);
        message.properties = republished(message.properties);
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

    /// Publishes to the ledger what was refused. Cancel-safe: a message that is published and then cancelled is published again.
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

/// Publishes a message that nobody misses: without a confirm, and wherever it is routed.
///
/// # Errors
/// [`BrokerError::Lost`].
pub async fn publish_unconfirmed(channel: &Channel, message: Message) -> Result<(), BrokerError> {
    let Message { exchange, routing_key, properties, body } = message;
    channel.basic_publish(exchange.into(), routing_key.into(), BasicPublishOptions::default(), &body, properties).await?;
    Ok(())
}

/// Publishes a message that the broker returns where no queue takes it.
pub(super) async fn publish_mandatory(channel: &Channel, message: &Message) -> lapin::Result<PublisherConfirm> {
    let options = BasicPublishOptions { mandatory: true, ..Default::default() };
    let (exchange, key) = (message.exchange.as_str().into(), message.routing_key.as_str().into());
    channel.basic_publish(exchange, key, options, &message.body, message.properties.clone()).await
}
