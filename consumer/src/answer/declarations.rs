//! Queues that are there only where something has to wait in them.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use lapin::Channel;
use rollcall_shared::broker::{BrokerConnection, BrokerError};
use rollcall_shared::message::{Model, Work};
use rollcall_shared::topology::{RECHECK_AFTER, Topology};

use super::Place;

/// A refusal that goes on is logged this often.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// Declares them, on a channel of its own: the broker closes the channel on which a declaration is refused.
pub(super) struct Declarations {
    link: BrokerConnection,
    channel: Option<Channel>,
    declared: HashSet<String>,
    /// Those that were refused since [`Declarations::ask_again`].
    refused: HashSet<String>,
    logged: Option<Instant>,
}

impl Declarations {
    pub(super) fn new(link: BrokerConnection) -> Declarations {
        Declarations { link, channel: None, declared: HashSet::new(), refused: HashSet::new(), logged: None }
    }

    /// Asks again for queues that the broker has refused.
    pub(super) fn ask_again(&mut self) {
        self.refused.clear();
    }

    /// Declares the queue `name` of a place, unless it is known to be there; `false` if the broker refuses it.
    ///
    /// # Errors
    /// [`BrokerError`], except where the broker refuses.
    pub(super) async fn declare(
        &mut self,
        topology: &Topology,
        model: &Model,
        work: &Work,
        place: Place,
        name: &str,
    ) -> Result<bool, BrokerError> {
        if matches!(place, Place::Suspects | Place::Dead | Place::Back) || self.declared.contains(name) {
            return Ok(true);
        }
        if self.refused.contains(name) {
            return Ok(false);
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
                // That of a paused job is declared each time: the aggregator deletes it when the job has ended, and the job may be redriven.
                if place != Place::Paused {
                    self.declared.insert(name.to_owned());
                }
                Ok(true)
            }
            Err(refused @ BrokerError::Topology { .. }) => {
                self.refused.insert(name.to_owned());
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
