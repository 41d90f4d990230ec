//! A session: what outlives it, what it has open with the broker, and what it remembers.

use std::time::{Duration, Instant};

use lapin::Channel;
use rollcall_shared::message::ConsumerStatus;
use rollcall_shared::telemetry::Readiness;
use rollcall_shared::topology::Topology;

use crate::cli::ConsumerArgs;
use crate::intake::control_log::ControlLog;
use crate::intake::job_directives::JobDirectives;
use crate::intake::subscriptions::WorkSubscriptions;
use crate::intake::work_item::WorkItem;
use crate::results::publish::ResultPublisher;
use crate::status::StatusRequests;
use crate::workers::context::WorkerContext;

/// A session, with what outlives it.
pub(crate) struct Session<'a> {
    pub(crate) args: &'a ConsumerArgs,
    pub(crate) context: &'a WorkerContext,
    /// How long it may take to end once it is asked to.
    pub(crate) patience: Duration,
    pub(crate) ready: &'a Readiness,
    /// Unique in the process.
    pub(crate) number: u64,
}

/// What a session has open with the broker, and what it remembers.
pub(super) struct SessionState {
    pub(super) topology: Topology,
    /// The channel on which the broker is asked how much waits in the queues, and when it was asked last.
    pub(super) questions: Channel,
    pub(super) asked_at: Instant,
    pub(super) subscriptions: WorkSubscriptions,
    pub(super) publisher: ResultPublisher,
    pub(super) control_log: ControlLog,
    pub(super) directives: JobDirectives,
    pub(super) status_requests: StatusRequests,
    /// Work items since the last one that was to be scored.
    pub(super) unscored_in_a_row: usize,
    /// Whether more was taken than is to be held, because the items before were not to be scored.
    pub(super) has_overshot: bool,
}

impl Session<'_> {
    pub(super) fn status(&self, publisher: &ResultPublisher) -> ConsumerStatus {
        ConsumerStatus {
            threads: self.args.threads() as u64,
            held: publisher.acks.open() as u64,
            hold_target: self.context.hold.target().companies as u64,
            results_refused: publisher.recent_refusals(),
            seconds_per_company: self.context.hold.seconds_per_company(),
            fault: self.ready.fault(),
            taken: self.context.metrics.work_taken.get(),
            retry: self.args.retry_policy().ok(),
        }
    }

    /// Whether this session took the item. A call that began in an earlier session may fail in this one, and its items then wait to be
    /// scored alone. They stay in the queue, since their redelivery is acknowledged with their result.
    pub(super) fn is_ours(&self, item: &WorkItem) -> bool {
        item.session == self.number
    }

    /// Selects the items that this session took at least `age` ago.
    pub(super) fn ours_for(&self, age: Duration) -> impl Fn(&WorkItem) -> bool {
        let session = self.number;
        move |item| item.session == session && item.taken_at.elapsed() >= age
    }
}

/// A count as the value of a gauge.
pub(super) fn gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
