//! Tries a message again later: a copy waits in a queue with a delay, and then returns. Nothing is remembered but what is in the message.

use std::time::Duration;

use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldTable};
use rollcall_shared::broker::{BrokerConnection, BrokerError, Publisher};
use rollcall_shared::message::{Message, Timestamp, persistent};
use rollcall_shared::topology::Topology;

/// Delays between attempts; the last serves for all further ones.
const DELAYS: [Duration; 8] = [
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_secs(2 * 60),
    Duration::from_secs(10 * 60),
    Duration::from_secs(30 * 60),
    Duration::from_secs(3_600),
    Duration::from_secs(2 * 3_600),
    Duration::from_secs(4 * 3_600),
];

/// Tried for so long.
const PATIENCE: Duration = Duration::from_secs(24 * 3_600);

const ATTEMPT: &str = "attempt";
const FIRST_AT: &str = "first_attempt_ms";
const PROVED: &str = "proved";

/// How often a message was tried before, and since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Attempts {
    before: u32,
    first_ms: i64,
    /// Whether what it says was found to be true.
    was_proved: bool,
}

impl Attempts {
    /// By the headers of the message, if it comes from a queue with a delay: what comes from an exchange is a first attempt, whatever its
    /// publisher says.
    pub(crate) fn of(delivery: &Delivery) -> Attempts {
        let headers = delivery.properties.headers().as_ref().filter(|_| delivery.exchange.as_str().is_empty());
        let number = |name: &str| match headers.and_then(|headers| headers.inner().get(name)) {
            Some(AMQPValue::LongLongInt(number)) => Some(*number),
            _ => None,
        };
        let before = number(ATTEMPT).and_then(|before| u32::try_from(before).ok()).unwrap_or_default();
        Attempts { before, first_ms: number(FIRST_AT).unwrap_or_else(now_ms), was_proved: number(PROVED) == Some(1) }
    }

    /// Whether it was tried before.
    pub(crate) fn is_retry(self) -> bool {
        self.before > 0
    }

    /// Whether an attempt before has found it to be true.
    pub(crate) fn was_proved(self) -> bool {
        self.was_proved
    }

    /// The same, of a message that is true.
    pub(crate) fn proved(self) -> Attempts {
        Attempts { was_proved: true, ..self }
    }

    /// How long to wait before the next attempt; `None` if it has been tried for long enough.
    pub(crate) fn next_delay(self) -> Option<Duration> {
        let delay = DELAYS.get(self.before as usize).or(DELAYS.last())?;
        let since = Duration::from_millis(u64::try_from(now_ms().saturating_sub(self.first_ms)).unwrap_or_default());
        (since + *delay <= PATIENCE).then_some(*delay)
    }

    fn headers(self) -> FieldTable {
        let mut headers = FieldTable::default();
        headers.insert(ATTEMPT.into(), AMQPValue::LongLongInt(i64::from(self.before) + 1));
        headers.insert(FIRST_AT.into(), AMQPValue::LongLongInt(self.first_ms));
        headers.insert(PROVED.into(), AMQPValue::LongLongInt(i64::from(self.was_proved)));
        headers
    }
}

fn now_ms() -> i64 {
    Timestamp::UNIX_EPOCH.until(Timestamp::now()).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Stores a copy of a message of `queue` that returns there after the delay.
///
/// # Errors
/// One that may pass.
pub(crate) async fn again_after(
    delay: Duration,
    attempts: Attempts,
    delivery: &Delivery,
    queue: &str,
    topology: &Topology,
    link: &BrokerConnection,
) -> Result<(), BrokerError> {
    let kind = delivery.properties.kind().as_ref().map_or("", |kind| kind.as_str()).to_owned();
    let id = delivery.properties.message_id().as_ref().map_or("", |id| id.as_str()).to_owned();
    let body = delivery.data.clone();
    link.on_own_channel(async |channel| {
        let routing_key = topology.declare_delay(channel, queue, delay).await?;
        let properties = persistent(&kind, id).with_headers(attempts.headers());
        let message = Message { exchange: String::new(), routing_key, properties, body };
        Publisher::on(link, channel.clone()).await?.publish_now((), message).await.map(drop)
    })
    .await
    // A limit of queues that is reached may be raised.
    .map_err(|error| BrokerError::Lost(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_end_after_a_day() {
        let attempts =
            |before, seconds_ago: i64| Attempts { before, first_ms: now_ms() - seconds_ago * 1_000, was_proved: false };
        assert_eq!(attempts(0, 0).next_delay(), Some(Duration::from_secs(5)));
        assert_eq!(attempts(3, 200).next_delay(), Some(Duration::from_secs(600)));
        assert_eq!(attempts(50, 20 * 3_600 - 60).next_delay(), Some(Duration::from_secs(4 * 3_600)));
        assert_eq!(attempts(50, 20 * 3_600 + 60).next_delay(), None);
    }
}
