//! Keeps a session with the broker going: one that is lost is built anew, after a pause.

use std::hash::{BuildHasher, RandomState};
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

/// A session that lasted this long was a good one: the next pause is short again.
const GOOD_SESSION: Duration = Duration::from_secs(10);

/// Runs `session` until it ends well, or fails in a way that a new connection cannot mend. Once `shutdown` is asked for, it has
/// `patience` to end by itself, and is then left in the middle: a broker that is short of memory or disk hears nobody.
///
/// The first connection is different: a broker that cannot be reached at the start is reported, not waited for, since then it
/// is more likely a wrong URL than an outage. Later it is waited for, as long as `broker` says.
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
    let mut backoff = Backoff::new();
    let mut first = true;
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
        let error = match ended {
            Ok(()) => return Ok(()),
            Err(error @ BrokerError::Unreachable { .. }) if first => return Err(error),
            // A broker that is starting or stopping refuses those whom it knew before.
            Err(error @ BrokerError::Refused { .. }) if !first => error,
            Err(error) if !error.is_transient() => return Err(error),
            Err(error) => error,
        };
        first = false;
        let answered = !matches!(error, BrokerError::Unreachable { .. } | BrokerError::Refused { .. });
        let still_away = away_since.is_some() && !answered;
        let since = if answered { Instant::now() } else { away_since.unwrap_or(began) };
        away_since = Some(since);
        if let Some(downtime) = broker.max_downtime.filter(|&most| since.elapsed() >= most) {
            return Err(BrokerError::Away { downtime, last: Box::new(error) });
        }
        if began.elapsed() >= GOOD_SESSION {
            backoff = Backoff::new();
        }
        let left = broker.max_downtime.map(|most| most.saturating_sub(since.elapsed()));
        let pause = backoff.pause().min(left.unwrap_or(Duration::MAX));
        // An outage is told once, not with every attempt.
        if still_away {
            tracing::debug!(%error, pause_ms = pause.as_millis(), "still no broker");
        } else {
            tracing::warn!(%error, "lost the connection; building it anew until it holds");
        }
        reconnecting();
        if shutdown.within(pause).await {
            return Ok(());
        }
    }
}

async fn out_of_patience(shutdown: &Shutdown, patience: Duration) {
    shutdown.requested().await;
    tokio::time::sleep(patience).await;
}
