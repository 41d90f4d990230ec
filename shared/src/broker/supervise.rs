//! Keeps a session with the broker going: one that is lost is built anew, after a pause.

use std::hash::{BuildHasher, RandomState};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use super::{BrokerArgs, BrokerError};
use crate::lifecycle::Shutdown;

/// Pauses between attempts: doubling, with jitter so that a fleet does not come back as one.
#[derive(Debug)]
pub struct Backoff {
    next: Duration,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(200);
    const LONGEST: Duration = Duration::from_secs(10);

    /// Begins with the shortest pause.
    pub fn new() -> Backoff {
        Backoff { next: Backoff::FIRST }
    }

    /// The next pause: between half of and the whole of a time that doubles up to ten seconds.
    pub fn pause(&mut self) -> Duration {
        let whole = self.next;
        self.next = (whole * 2).min(Backoff::LONGEST);
        // The standard library's only source of randomness, and random enough for jitter.
        let part = RandomState::new().hash_one(0) % 1_000;
        whole / 2 + whole.mul_f64(0.5 * part as f64 / 1_000.0)
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Backoff::new()
    }
}

/// A session that lasted this long was a good one: the next pause is short again, and the next error is of another outage.
const GOOD_SESSION: Duration = Duration::from_secs(10);

/// An outage that goes on is told again after so long.
const TELL_AGAIN: Duration = Duration::from_secs(60);

/// What has been told of the present outage. A broker that starts may take connections before it has its queues, and so an
/// outage can have many errors.
#[derive(Debug, Default)]
struct Outage {
    told_at: Option<Instant>,
    told_of_refusal: bool,
}

impl Outage {
    /// Whether an operator should be told of this error.
    fn is_news(&mut self, error: &BrokerError, now: Instant) -> bool {
        let due = self.told_at.is_none_or(|told_at| now.duration_since(told_at) >= TELL_AGAIN);
        // A message that is not stored wants an operator, whatever else is amiss, and so does a queue that is refused.
        let refused = matches!(error, BrokerError::Nacked { .. } | BrokerError::Unroutable { .. } | BrokerError::Topology { .. });
        let news = due || (refused && !self.told_of_refusal);
        self.told_of_refusal |= refused;
        if news {
            self.told_at = Some(now);
        }
        news
    }
}

/// Runs `session` until it ends well, or fails in a way that a new connection cannot mend. Once `shutdown` is asked for, it has
/// `patience` to end by itself, and is then left in the middle: a broker that is short of memory or disk hears nobody.
///
/// The first connection is different: a broker that cannot be reached at the start is reported, not waited for, since then it
/// is more likely a wrong URL than an outage. Later it is waited for, as long as `broker` says. The same holds for a queue that may not
/// be declared: before a session has worked, it is a mistake that somebody must mend; afterwards, a right that was taken away or a limit
/// that was reached, and may be given back.
///
/// # Errors
/// The session's error.
pub async fn supervise(
    broker: &BrokerArgs,
    shutdown: &Shutdown,
    patience: Duration,
    mut reconnecting: impl FnMut(),
    mut session: impl AsyncFnMut() -> Result<(), BrokerError>,
) -> Result<(), BrokerError> {
    let (mut backoff, mut outage) = (Backoff::new(), Outage::default());
    let (mut first, mut has_worked) = (true, false);
    // Since when the broker is away: since the end of the last session that it answered in.
    let mut away_since = None::<Instant>;
    loop {
        if shutdown.is_requested() {
            return Ok(());
        }
        let began = Instant::now();
        let ended = tokio::select! {
            ended = session() => ended,
            () = out_of_patience(shutdown, patience) => {
                tracing::warn!(?patience, "stopping in the middle; what was not confirmed is not done");
                return Ok(());
            }
        };
        has_worked |= has_session_worked(&ended, began.elapsed());
        let error = match mendable(ended, first, has_worked) {
            ControlFlow::Continue(error) => error,
            ControlFlow::Break(ended) => return ended,
        };
        first = false;
        let answered =
            !matches!(error, BrokerError::Unreachable { .. } | BrokerError::Refused { .. } | BrokerError::OutOfResources(_));
        // Without its queues a process can do as little as without the broker.
        let is_of_use = answered && !matches!(error, BrokerError::Topology { .. });
        let since = if is_of_use { Instant::now() } else { away_since.unwrap_or(began) };
        away_since = Some(since);
        if let Some(downtime) = broker.max_downtime.filter(|&most| since.elapsed() >= most) {
            return Err(BrokerError::Away { downtime, last: Box::new(error) });
        }
        // Waiting long for a connection is no session.
        if answered && began.elapsed() >= GOOD_SESSION {
            (backoff, outage) = (Backoff::new(), Outage::default());
        }
        let left = broker.max_downtime.map(|most| most.saturating_sub(since.elapsed()));
        let pause = backoff.pause().min(left.unwrap_or(Duration::MAX));
        if outage.is_news(&error, Instant::now()) {
            tell(&error);
        } else {
            tracing::debug!(%error, pause_ms = pause.as_millis(), "still without a connection that holds");
        }
        reconnecting();
        if shutdown.within(pause).await {
            return Ok(());
        }
    }
}

fn tell(error: &BrokerError) {
    if matches!(error, BrokerError::Topology { .. }) {
        tracing::warn!(event = "broker_refuses", %error, "the broker refuses what was granted before; trying until it no longer does");
    } else {
        tracing::warn!(%error, "lost the connection; building it anew until it holds");
    }
}

/// Whether a session that has `ended` after so long had what it needs from the broker.
fn has_session_worked(ended: &Result<(), BrokerError>, after: Duration) -> bool {
    match ended {
        Err(BrokerError::Topology { .. }) => after >= GOOD_SESSION,
        Err(BrokerError::Unreachable { .. } | BrokerError::Refused { .. }) => false,
        Ok(()) | Err(_) => true,
    }
}

/// The error that a new connection may mend; otherwise how it has ended for good.
fn mendable(ended: Result<(), BrokerError>, first: bool, has_worked: bool) -> ControlFlow<Result<(), BrokerError>, BrokerError> {
    match ended {
        Ok(()) => ControlFlow::Break(Ok(())),
        Err(error @ (BrokerError::Unreachable { .. } | BrokerError::OutOfResources(_))) if first => {
            ControlFlow::Break(Err(error))
        }
        // A broker that is starting or stopping refuses those whom it knew before.
        Err(error @ BrokerError::Refused { .. }) if !first => ControlFlow::Continue(error),
        Err(error @ BrokerError::Topology { .. }) if has_worked => ControlFlow::Continue(error),
        Err(error) if !error.is_transient() => ControlFlow::Break(Err(error)),
        Err(error) => ControlFlow::Continue(error),
    }
}

async fn out_of_patience(shutdown: &Shutdown, patience: Duration) {
    shutdown.requested().await;
    tokio::time::sleep(patience).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_that_may_not_be_declared_ends_a_process_at_its_start_and_is_waited_for_once_it_has_worked() {
        let refused = || BrokerError::Topology { kind: "queue", name: "q".to_owned(), reason: "queue limit".to_owned() };
        let lost = || BrokerError::Lost("reset".to_owned());
        let (soon, late) = (Duration::from_millis(100), GOOD_SESSION);
        for (sessions, is_waited_for) in
            [(vec![(refused(), soon)], false), (vec![(refused(), late)], true), (vec![(lost(), soon), (refused(), soon)], true)]
        {
            let mut has_worked = false;
            let mut last = ControlFlow::Break(Ok(()));
            for (at, (error, after)) in sessions.into_iter().enumerate() {
                let ended = Err(error);
                has_worked |= has_session_worked(&ended, after);
                last = mendable(ended, at == 0, has_worked);
            }
            assert_eq!(matches!(last, ControlFlow::Continue(_)), is_waited_for, "{last:?}");
        }
    }

    #[test]
    fn of_an_outage_the_first_error_is_told_and_the_first_message_not_stored_and_then_one_a_minute() {
        let lost = |reason: &str| BrokerError::Lost(reason.to_owned());
        let unreachable = || BrokerError::Unreachable { url: String::new(), reason: String::new() };
        let nacked = || BrokerError::Nacked { exchange: String::new(), routing_key: String::new() };
        let began = Instant::now();
        let mut outage = Outage::default();
        for (error, second, news) in [
            (lost("reset"), 0, true),
            (unreachable(), 1, false),
            (lost("no queue yet"), 20, false),
            (nacked(), 30, true),
            (nacked(), 80, false),
            (unreachable(), 90, true),
            (unreachable(), 149, false),
        ] {
            assert_eq!(outage.is_news(&error, began + Duration::from_secs(second)), news, "{error} at {second} s");
        }
    }
}
