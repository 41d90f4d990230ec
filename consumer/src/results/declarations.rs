//! Declares retry queues and queues of paused jobs when they are first needed.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use lapin::Channel;
use rollcall_shared::broker::{BrokerConnection, BrokerError};
use rollcall_shared::message::{Model, Work};
use rollcall_shared::topology::{RECHECK_AFTER, Topology};

use super::destination::Destination;

/// A refusal that goes on is logged this often.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// Declares queues, on a channel of its own: the broker closes the channel on which a declaration is refused.
pub(super) struct QueueDeclarations {
    connection: BrokerConnection,
    channel: Option<Channel>,
    declared: HashSet<String>,
    /// The queues that were refused since the last [`QueueDeclarations::forget_refusals`].
    refused: HashSet<String>,
    logged_at: Option<Instant>,
}

impl QueueDeclarations {
    pub(super) fn new(connection: BrokerConnection) -> QueueDeclarations {
        QueueDeclarations { connection, channel: None, declared: HashSet::new(), refused: HashSet::new(), logged_at: None }
    }

    /// Queues that the broker has refused are declared again when they are next needed.
    pub(super) fn forget_refusals(&mut self) {
        self.refused.clear();
    }

    /// Declares the queue `name` of a destination, unless it is known to exist; `false` if the broker refuses it.
    pub(super) async fn declare(
        &mut self,
        topology: &Topology,
        model: &Model,
        work: &Work,
        destination: Destination,
        name: &str,
    ) -> Result<bool, BrokerError> {
        if matches!(destination, Destination::Quarantine | Destination::DeadLetter | Destination::Republish)
            || self.declared.contains(name)
        {
            return Ok(true);
        }
        if self.refused.contains(name) {
            return Ok(false);
        }
        let channel = match self.channel.take().filter(|channel| channel.status().connected()) {
            Some(channel) => channel,
            None => self.connection.channel().await?,
        };
        let declared = match destination {
            Destination::Retry(delay) => topology.declare_retry(&channel, model, work.priority, delay).await,
            Destination::Recheck => topology.declare_retry(&channel, model, work.priority, RECHECK_AFTER).await,
            _ => topology.declare_paused(&channel, model, &work.job).await,
        };
        match declared {
            Ok(()) => {
                self.channel = Some(channel);
                // The queue of a paused job is declared each time: the aggregator deletes it when the job has ended, and the job may be
                // redriven.
                if destination != Destination::Paused {
                    self.declared.insert(name.to_owned());
                }
                Ok(true)
            }
            Err(refused @ BrokerError::Topology { .. }) => {
                self.refused.insert(name.to_owned());
                if self.logged_at.is_none_or(|logged_at| logged_at.elapsed() >= LOG_EVERY) {
                    self.logged_at = Some(Instant::now());
                    tracing::warn!(event = "queue_refused", error = %refused, job = %work.job, "companies are held until their queue can be declared");
                }
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}
