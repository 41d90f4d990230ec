//! One session of a consumer with the broker: takes work, hands it to the workers, publishes the results, applies control messages.

pub(crate) mod state;
mod arrivals;
mod holding;
mod decided_items;
mod ending;
pub(crate) mod handover;

use std::sync::Arc;
use std::time::{Duration, Instant};

use rollcall_shared::broker::{BrokerError, Publisher, connect};
use rollcall_shared::lifecycle::Shutdown;
use tokio::sync::mpsc::UnboundedReceiver;

use self::handover::Handover;
use self::state::{Session, SessionState, gauge};
use crate::cli::ConsumerArgs;
use crate::intake::control_log::ControlLog;
use crate::intake::subscriptions::WorkSubscriptions;
use crate::results::disposition::DecidedItem;
use crate::results::publish::ResultPublisher;
use crate::status::StatusRequests;

/// How often to compare what is held with the target, in addition to each arrival.
const COMPARE_EVERY: Duration = Duration::from_millis(250);

impl Session<'_> {
    /// Takes work and settles it until `shutdown`, or until the connection is lost. Also settles what earlier sessions left in `handover`,
    /// and leaves there what it could not settle.
    pub(crate) async fn run(
        &self,
        decided: &mut UnboundedReceiver<Vec<DecidedItem>>,
        handover: &mut Handover,
        shutdown: &Shutdown,
    ) -> Result<(), BrokerError> {
        let ConsumerArgs { broker, model, prefetch, hold, .. } = self.args;
        let threads = self.args.threads();
        let topology = broker.topology();
        // Two connections: a broker short of memory stops reading from connections that publish, and acknowledgements must get through.
        let consuming = connect(broker, &format!("rollcall consumer {model}: work")).await?;
        let publishing = connect(broker, &format!("rollcall consumer {model}: results")).await?;
        let work = consuming.channel().await?;
        topology.declare(&work).await?;
        topology.declare_model(&work, model).await?;
        // The directives must be known before the first company comes.
        let (control_log, directives) = ControlLog::open(&publishing, &topology, &handover.interruptions()).await?;
        handover.interrupted.clear();
        let results = Publisher::on(&publishing, publishing.channel().await?).await?.with_ledger_fallback(&topology);
        let first = threads.min((*prefetch).into());
        let subscriptions = WorkSubscriptions::open(work.clone(), &topology, model, first, self.number).await?;
        let status_requests = StatusRequests::open(&publishing.channel().await?, &topology, model).await?;
        let metrics = Arc::clone(&self.context.metrics);
        let work = (work, self.number);
        let mut publisher = ResultPublisher::open(results, publishing.clone(), work, topology.clone(), model, metrics);
        publisher.unconfirmed = std::mem::take(&mut handover.unconfirmed);
        self.ready.set(true);
        tracing::info!(event = "taking_work", %model, prefetch, hold_ms = hold.as_millis(), threads, "taking work");
        let (questions, asked_at) = (publishing.channel().await?, Instant::now());
        let mut state = SessionState {
            topology,
            questions,
            asked_at,
            subscriptions,
            publisher,
            control_log,
            directives,
            status_requests,
            unscored_in_a_row: 0,
            has_overshot: false,
        };
        if let Err(error) = self.serve(&mut state, decided, handover, shutdown).await {
            *handover = self.hand_over(state, decided);
            return Err(error);
        }
        consuming.close().await;
        publishing.close().await;
        Ok(())
    }

    async fn serve(
        &self,
        state: &mut SessionState,
        decided: &mut UnboundedReceiver<Vec<DecidedItem>>,
        handover: &mut Handover,
        shutdown: &Shutdown,
    ) -> Result<(), BrokerError> {
        state.publisher.publish_again(std::mem::take(&mut handover.results)).await?;
        self.publish(&mut state.publisher, std::mem::take(&mut handover.decided)).await?;
        let mut comparison = tokio::time::interval(COMPARE_EVERY);
        comparison.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !shutdown.is_requested() {
            let SessionState { subscriptions, publisher, control_log, directives, status_requests, .. } = &mut *state;
            let has_capacity = publisher.has_capacity();
            tokio::select! {
                arrival = subscriptions.next(), if has_capacity => self.take(state, arrival?).await?,
                items = decided.recv(), if has_capacity => self.publish_arrived(publisher, items, decided).await?,
                confirmed = publisher.confirmed(), if publisher.pending() > 0 => publisher.settle(confirmed?).await?,
                control = control_log.next() => {
                    let job = control_log.apply(&control?, directives).await?;
                    self.triage_again(state, job).await?;
                }
                request = status_requests.next() => status_requests.answer(&request?, &self.status(publisher)).await?,
                _ = comparison.tick(), if has_capacity => self.keep_near_target(state).await?,
                () = shutdown.requested() => {}
            }
            self.context.metrics.in_flight.set(gauge(state.publisher.acks.open()));
            self.context.metrics.confirms_pending.set(gauge(state.publisher.pending()));
        }
        self.finish(state, decided).await
    }
}
