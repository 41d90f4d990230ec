//! Runs a session with the broker, and starts a new one after a pause when it is lost.

use std::hash::{BuildHasher, RandomState};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use super::connect::{BrokerArgs, connect};
use super::error::BrokerError;
use crate::lifecycle::Shutdown;

/// Pauses between attempts: doubling, with jitter so that the processes of a fleet do not reconnect at the same moment.
#[derive(Debug)]
pub struct Backoff {
    next: Duration,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(200);
    const LONGEST: Duration = Duration::from_secs(10);

    /// A backoff whose first pause is the shortest.
    pub fn new() -> Backoff {
        Backoff { next: Backoff::FIRST }
    }

    /// The next pause: a random one between half and the whole of a duration that doubles up to ten seconds.
    pub fn pause(&mut self) -> Duration {
        let whole = self.next;
        self.next = (whole * 2).min(Backoff::LONGEST);
        // The standard library's only source of randomness; good enough for jitter.
        let part = RandomState::new().hash_one(0) % 1_000;
        whole / 2 + whole.mul_f64(0.5 * part as f64 / 1_000.0)
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Backoff::new()
    }
}

/// After a session of this length the next pause is short again, and the next error belongs to another outage.
const GOOD_SESSION: Duration = Duration::from_secs(10);

/// An outage that continues is logged again after this time.
const LOG_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// What has been logged of the present outage. An outage can have many errors: a broker that starts may accept connections before its
/// queues are available.
#[derive(Debug, Default)]
struct Outage {
    logged_at: Option<Instant>,
    has_logged_refusal: bool,
}

impl Outage {
    /// Whether this error is to be logged for an operator.
    fn should_log(&mut self, error: &BrokerError, now: Instant) -> bool {
        let due = self.logged_at.is_none_or(|logged_at| now.duration_since(logged_at) >= LOG_AGAIN_AFTER);
        // An operator must act on a message that is not stored and on a queue that is refused, whatever else is wrong.
        let refused = matches!(error, BrokerError::Nacked { .. } | BrokerError::Unroutable { .. } | BrokerError::Topology { .. });
        let should_log = due || (refused && !self.has_logged_refusal);
        self.has_logged_refusal |= refused;
        if should_log {
            self.logged_at = Some(now);
        }
        should_log
    }
}

/// Waits for a broker that cannot be reached yet, for as long as `broker` says, or until `shutdown`; returns at once if it says nothing.
///
/// # Errors
/// The last error, if the broker could not be reached in time; at once, an error that waiting does not mend.
pub async fn wait_for_broker(broker: &BrokerArgs, shutdown: &Shutdown) -> Result<(), BrokerError> {
    let Some(patience) = broker.wait_for_broker else { return Ok(()) };
    let (began, mut backoff, mut has_logged) = (Instant::now(), Backoff::new(), false);
    loop {
        let connected = tokio::select! {
            connected = connect(broker, "rollcall: waiting for the broker") => connected,
            () = shutdown.requested() => return Ok(()),
        };
        let error = match connected {
            Ok(connection) => {
                connection.close().await;
                return Ok(());
            }
            // A broker that is starting may refuse everybody for a moment.
            Err(error @ (BrokerError::Unreachable { .. } | BrokerError::Refused { .. } | BrokerError::Lost(_))) => error,
            Err(error) => return Err(error),
        };
        let left = patience.saturating_sub(began.elapsed());
        if left.is_zero() {
            return Err(error);
        }
        if !std::mem::replace(&mut has_logged, true) {
            tracing::info!(event = "waiting_for_broker", %error, patience_seconds = patience.as_secs(), "waiting for the broker");
        }
        if shutdown.within(backoff.pause().min(left)).await {
            return Ok(());
        }
    }
}

/// Runs `session` until it ends without an error, or with one that a new connection cannot mend. After `shutdown` is requested, the session
/// has `patience` to end by itself, and is then dropped: a broker that is short of memory or disk reads nothing.
///
/// The first connection is different: an unreachable broker is reported at once, since it is more likely a wrong URL than an outage. Later
/// errors are retried for as long as `broker` allows. The same holds for a queue that may not be declared: before a session has worked, it
/// is a mistake of configuration; afterwards, a permission that was revoked or a limit that was reached, and may be lifted again.
///
/// # Errors
/// The error of the session; [`BrokerError::Away`] if the broker stayed away for longer than `broker` allows.
pub async fn supervise(
    broker: &BrokerArgs,
    shutdown: &Shutdown,
    patience: Duration,
    mut on_reconnect: impl FnMut(),
    mut session: impl AsyncFnMut() -> Result<(), BrokerError>,
) -> Result<(), BrokerError> {
    let (mut backoff, mut outage) = (Backoff::new(), Outage::default());
    let (mut first, mut has_worked) = (true, false);
    // When the last session ended in which the broker answered.
    let mut away_since = None::<Instant>;
    loop {
        if shutdown.is_requested() {
            return Ok(());
        }
        let began = Instant::now();
        let ended = tokio::select! {
            ended = session() => ended,
            () = out_of_patience(shutdown, patience) => {
                tracing::warn!(event = "session_dropped", ?patience, "stopping in the middle; what was not confirmed is not done");
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
        // A process without its queues can do as little as one without the broker.
        let is_of_use = answered && !matches!(error, BrokerError::Topology { .. });
        let since = if is_of_use { Instant::now() } else { away_since.unwrap_or(began) };
        away_since = Some(since);
        if let Some(downtime) = broker.max_downtime.filter(|&most| since.elapsed() >= most) {
            return Err(BrokerError::Away { downtime, last: Box::new(error) });
        }
        // Waiting for a connection does not make a session long.
        if answered && began.elapsed() >= GOOD_SESSION {
            (backoff, outage) = (Backoff::new(), Outage::default());
        }
        let left = broker.max_downtime.map(|most| most.saturating_sub(since.elapsed()));
        let pause = backoff.pause().min(left.unwrap_or(Duration::MAX));
        if outage.should_log(&error, Instant::now()) {
            log(&error);
        } else {
            tracing::debug!(event = "reconnection_failed", %error, pause_ms = pause.as_millis(), "cannot connect again; trying later");
        }
        on_reconnect();
        if shutdown.within(pause).await {
            return Ok(());
        }
    }
}

fn log(error: &BrokerError) {
    if matches!(error, BrokerError::Topology { .. }) {
        tracing::warn!(event = "broker_refuses", %error, "the broker refuses a declaration that it accepted before; trying again until it accepts it");
    } else {
        tracing::warn!(event = "connection_lost", %error, "lost the connection; reconnecting");
    }
}

/// Whether a session that has `ended` after this time had its queues.
fn has_session_worked(ended: &Result<(), BrokerError>, after: Duration) -> bool {
    match ended {
        Err(BrokerError::Topology { .. }) => after >= GOOD_SESSION,
        Err(BrokerError::Unreachable { .. } | BrokerError::Refused { .. }) => false,
        Ok(()) | Err(_) => true,
    }
}

/// The error if a new connection may mend it; otherwise the final result.
fn mendable(ended: Result<(), BrokerError>, first: bool, has_worked: bool) -> ControlFlow<Result<(), BrokerError>, BrokerError> {
    match ended {
        Ok(()) => ControlFlow::Break(Ok(())),
        Err(error @ (BrokerError::Unreachable { .. } | BrokerError::OutOfResources(_))) if first => {
            ControlFlow::Break(Err(error))
        }
        // A broker that is starting or stopping refuses users that it accepted before.
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
    fn a_message_that_has_no_json_form_ends_a_process_and_a_cancelled_consumer_does_not() {
        let no_json = serde_json::from_str::<u8>("x").unwrap_err();
        let (defect, cancelled) = (BrokerError::NotJson(no_json), BrokerError::Cancelled { queue: "q".to_owned() });
        assert!(matches!(mendable(Err(defect), false, true), ControlFlow::Break(Err(BrokerError::NotJson(_)))));
        assert!(cancelled.to_string().contains("the broker cancelled the consumer of q"), "{cancelled}");
        assert!(matches!(mendable(Err(cancelled), false, true), ControlFlow::Continue(_)));
    }

    #[test]
    fn of_an_outage_the_first_error_is_told_and_the_first_message_not_stored_and_then_one_a_minute() {
        let lost = |reason: &str| BrokerError::Lost(reason.to_owned());
        let unreachable = || BrokerError::Unreachable { url: String::new(), reason: String::new() };
        let nacked = || BrokerError::Nacked { exchange: String::new(), routing_key: String::new() };
        let began = Instant::now();
        let mut outage = Outage::default();
        for (error, second, logged) in [
            (lost("reset"), 0, true),
            (unreachable(), 1, false),
            (lost("no queue yet"), 20, false),
            (nacked(), 30, true),
            (nacked(), 80, false),
            (unreachable(), 90, true),
            (unreachable(), 149, false),
        ] {
            assert_eq!(outage.should_log(&error, began + Duration::from_secs(second)), logged, "{error} at {second} s");
        }
    }
}
