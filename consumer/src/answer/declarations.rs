//! Queues that are there only where something has to wait in them.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use lapin::Channel;
use rollcall_shared::broker::{BrokerError, Link};
use rollcall_shared::message::{Model, Work};
use rollcall_shared::topology::{RECHECK_AFTER, Topology};

use super::Place;

/// A refusal that goes on is logged this often.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// Declares them, on a channel of its own: the broker closes the channel on which a declaration is refused.
pub(super) struct Declarations {
    link: Link,
    channel: Option<Channel>,
    declared: HashSet<String>,
    logged: Option<Instant>,
}

impl Declarations {
    pub(super) fn new(link: Link) -> Declarations {
        Declarations { link, channel: None, declared: HashSet::new(), logged: None }
    }

    /// Declares the queue of a place, unless it is known to be there; `false` if the broker refuses it.
    ///
    /// # Errors
    /// [`BrokerError`], except where the broker refuses.
    pub(super) async fn declare(
        &mut self,
        topology: &Topology,
        model: &Model,
        work: &Work,
        place: Place,
    ) -> Result<bool, BrokerError> {
        let name = match place {
            Place::Retry(delay) => topology.retry_queue(model, work.priority, delay),
            Place::Recheck => topology.retry_queue(model, work.priority, RECHECK_AFTER),
            // Each time: the aggregator deletes it when the job has ended, and the job may be redriven.
            Place::Paused => String::new(),
            Place::Suspects | Place::Dead | Place::Back => return Ok(true),
        };
        if self.declared.contains(&name) {
            return Ok(true);
        }
        let channel = match self.channel.take().filter(|channel| channel.status().connected()) {
            Some(channel) => channel,
            None => self.link.channel().await?,
        };
        let declared = match place {
            Place::Retry(delay) => topology.declare_retry(&channel, model, work.priority, delay).await,
            Place::Recheck => topology.declare_retry(&channel, model, work.priority, RECHECK_AFTER).await,
            _ => topology.declare_paused(&channel, model, &work.job).await,
        };
        match declared {
            Ok(()) => {
                self.channel = Some(channel);
                self.declared.extend(Some(name).filter(|name| !name.is_empty()));
                Ok(true)
            }
            Err(refused @ BrokerError::Topology { .. }) => {
                if self.logged.is_none_or(|logged| logged.elapsed() >= LOG_EVERY) {
                    self.logged = Some(Instant::now());
                    tracing::warn!(event = "queue_refused", error = %refused, job = %work.job, "companies are held until their queue can be declared");
                }
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}
