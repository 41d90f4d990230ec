//! A topic of the event log that is followed for as long as somebody looks at it.

use std::sync::Arc;
use std::time::Duration;

use rollcall_shared::broker::StreamOffset;
use tokio::sync::{Mutex, Notify, watch};
use tokio::time::{Instant, sleep_until};

use super::{EventFollower, LoggedEvent, Topic};
use crate::serve::gateway::Gateway;
use crate::serve::http::problem::Problem;

/// Nobody looks at a topic that was not asked for in this time: a page that is open asks every few seconds, and one whose job has ended
/// every half minute.
const UNUSED_FOR: Duration = Duration::from_secs(90);

/// What is kept of the events of a topic.
pub(crate) trait Collect: Default + Clone + Send + Sync + 'static {
    /// Takes the next event.
    fn take(&mut self, event: LoggedEvent);
}

/// A topic, followed from the first time that it is asked for until nobody looks at it any more.
pub(crate) struct Tail<T>(Mutex<Option<Kept<T>>>);

struct Kept<T> {
    collected: watch::Receiver<Arc<T>>,
    used: Arc<Notify>,
}

impl<T> Default for Tail<T> {
    fn default() -> Tail<T> {
        Tail(Mutex::new(None))
    }
}

impl<T: Collect> Tail<T> {
    /// What there is of the topic up to now; `from` is where it begins.
    pub(crate) async fn up_to_now(&self, gateway: &Gateway, topic: Topic, from: StreamOffset) -> Result<Arc<T>, Problem> {
        let mut kept = self.0.lock().await;
        if let Some(Kept { collected, used }) = &*kept
            && collected.has_changed().is_ok()
        {
            used.notify_one();
            return Ok(Arc::clone(&collected.borrow()));
        }
        let (events, follower) = gateway.event_log.history_then_follow(topic, from, &gateway.queries).await?;
        let mut collected = T::default();
        events.into_iter().for_each(|event| collected.take(event));
        let collected = Arc::new(collected);
        let (sender, receiver) = watch::channel(Arc::clone(&collected));
        let used = Arc::new(Notify::new());
        tokio::spawn(follow(follower, sender, Arc::clone(&used)));
        *kept = Some(Kept { collected: receiver, used });
        Ok(collected)
    }
}

/// Collects events until nobody has looked for a while, or the connection is lost. The sender is gone then, which tells.
async fn follow<T: Collect>(mut follower: EventFollower, collected: watch::Sender<Arc<T>>, used: Arc<Notify>) {
    let mut ends = Instant::now() + UNUSED_FOR;
    while let Some(event) = next_event(&mut follower, &mut ends, &collected, &used).await {
        collected.send_modify(|collected| Arc::make_mut(collected).take(event));
    }
}

/// The next event; `None` if nobody has looked until `ends`, or the connection is lost. Looking puts that off, and interrupts no reading.
async fn next_event<T>(
    follower: &mut EventFollower,
    ends: &mut Instant,
    collected: &watch::Sender<Arc<T>>,
    used: &Notify,
) -> Option<LoggedEvent> {
    let mut next = std::pin::pin!(follower.next());
    loop {
        tokio::select! {
            event = &mut next => return event.ok(),
            () = used.notified() => *ends = Instant::now() + UNUSED_FOR,
            () = sleep_until(*ends) => return None,
            () = collected.closed() => return None,
        }
    }
}
