//! Keeps what is held near the target: resizes the subscriptions, and republishes what other consumers can score sooner.

use std::time::{Duration, Instant};

use rollcall_shared::broker::BrokerError;
use rollcall_shared::message::Priority;
use rollcall_shared::topology::backlog::Backlog;

use super::arrivals::IGNORE_SPEED_AFTER;
use super::state::{Session, SessionState, gauge};
use crate::results::destination::Destination;
use crate::results::publish::ResultPublisher;
use crate::workers::hold::Target;
use crate::workers::local_queue::ItemClass;

/// Items beyond the target are republished after this part of `--hold`, and after this time at most: a worker may begin newer ones at any
/// moment.
const REPUBLISH_AFTER_PART: u32 = 4;
const REPUBLISH_AFTER_AT_MOST: Duration = Duration::from_millis(500);

/// While the scorer is broken, items are republished after this time: another consumer may take them, and if there is none, they come again.
const REPUBLISH_WHILE_BROKEN: Duration = Duration::from_secs(1);

/// How often the broker is asked at most how many companies wait.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// Companies that must wait on the broker for each that is in a call, so that a trial of a larger batch does not delay the job noticeably.
const BACKLOG_FOR_TRIAL: usize = 16;

impl Session<'_> {
    /// Lets the broker send as many companies as are to be held at the measured speed.
    pub(super) async fn resize_subscriptions(&self, state: &mut SessionState) -> Result<(), BrokerError> {
        let target = self.context.hold.target();
        let most = || usize::from(self.args.prefetch).min(self.context.hold.most_in_memory());
        let is_scoring = state.unscored_in_a_row < IGNORE_SPEED_AFTER;
        let companies = if is_scoring { target.companies } else { most().max(target.companies) };
        state.publisher.acks.set_spare(companies.saturating_sub(target.in_calls));
        state.subscriptions.resize(&state.publisher.acks, companies).await
    }

    /// Compares what is held with the target, republishes what is held for too long, and updates the metrics.
    pub(super) async fn keep_near_target(&self, state: &mut SessionState) -> Result<(), BrokerError> {
        self.resize_subscriptions(state).await?;
        let target = self.context.hold.target();
        let age = (self.args.hold / REPUBLISH_AFTER_PART).min(REPUBLISH_AFTER_AT_MOST);
        let has_excess = self.context.queue.has_excess(target.waiting, self.ours_for(age));
        if (has_excess || self.context.hold.wants_larger_batch()) && state.asked_at.elapsed() >= ASK_EVERY {
            state.asked_at = Instant::now();
            let backlog = state.topology.backlog(&state.questions, &self.args.model).await?;
            // A broker that is too busy to answer does not even report this consumer.
            if backlog.consumers > 0 {
                self.republish_excess(state, backlog, target, age).await?;
                let in_calls = target.in_calls.saturating_mul(usize::try_from(backlog.consumers).unwrap_or(usize::MAX));
                if usize::try_from(backlog.waiting()).unwrap_or(usize::MAX) >= BACKLOG_FOR_TRIAL.saturating_mul(in_calls) {
                    self.context.hold.try_larger_batch();
                }
            }
        }
        state.publisher.move_deferred().await?;
        state.publisher.republish_deferred(target.companies / 2).await?;
        self.context.metrics.hold_target.set(gauge(target.companies));
        self.context.metrics.batch_target.set(gauge(self.context.hold.batch()));
        self.context.metrics.seconds_per_company.set(self.context.hold.seconds_per_company().unwrap_or_default());
        if self.ready.fault().is_some() {
            let held = self.context.queue.remove(self.ours_for(REPUBLISH_WHILE_BROKEN));
            state.publisher.move_all(&held, Destination::Republish).await?;
        }
        self.republish_old(&mut state.publisher).await
    }

    /// Republishes what is held beyond the target, if no company waits in that queue on the broker. While some do, other consumers have
    /// enough, and a republished company would have to wait behind them all. What was taken by mistake is republished in any case.
    async fn republish_excess(
        &self,
        state: &mut SessionState,
        backlog: Backlog,
        target: Target,
        age: Duration,
    ) -> Result<(), BrokerError> {
        for (of, ready) in [
            (ItemClass::Batched(Priority::High), backlog.express),
            (ItemClass::Batched(Priority::Normal), backlog.normal),
            (ItemClass::Alone, backlog.quarantined),
        ] {
            let excess = if ready == 0 || state.has_overshot {
                self.context.queue.remove_excess(of, target.waiting, self.ours_for(age))
            } else {
                Vec::new()
            };
            if excess.is_empty() {
                continue;
            }
            tracing::debug!(
                companies = excess.len(),
                target = target.companies,
                ?of,
                "republishing what others can score sooner"
            );
            let destination = match of {
                ItemClass::Batched(priority) => {
                    state.subscriptions.cancel_further(priority, &state.publisher.acks).await?;
                    Destination::Republish
                }
                // From the work queue, they would be put into a batch again.
                ItemClass::Alone => Destination::Quarantine,
            };
            state.publisher.move_all(&excess, destination).await?;
        }
        state.has_overshot = false;
        Ok(())
    }

    /// Republishes what has waited for half of the broker's consumer timeout; the other half is left for scoring. The broker closes the
    /// channel of a consumer that holds a company for longer.
    async fn republish_old(&self, publisher: &mut ResultPublisher) -> Result<(), BrokerError> {
        let old = self.context.queue.remove(self.ours_for(self.args.consumer_timeout / 2));
        if old.is_empty() {
            return Ok(());
        }
        tracing::warn!(
            event = "held_too_long",
            companies = old.len(),
            "republishing companies that waited for too long; a lower --hold takes fewer at once"
        );
        publisher.move_all(&old, Destination::Republish).await
    }
}
