//! Notices jobs with lost companies, which were purged, expired, or in a queue or a ledger that was deleted: such a job would never
//! end.
//!
//! If a job has had no new outcome for a while, its model's queues and consumers are searched for companies (`search`), in the background.
//! Two searches in a row must find nothing before the job counts as stalled (`watch`).

mod search;
mod watch;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use rollcall_shared::broker::{BrokerArgs, BrokerConnection};
use rollcall_shared::message::{Job, Stall, Stalled};
use rollcall_shared::topology::Topology;

use super::queue_depths::QueueDepths;
use super::waiting_retries::QuietModel;
use crate::jobs::Jobs;
use search::{Searched, search};
use watch::Watch;

/// Models searched at the same time: each takes a connection.
const MAX_SEARCHES: usize = 2;

/// The searches under way, and the stalled jobs.
pub(super) struct StalledJobs<'a> {
    broker: BrokerArgs,
    publishing: &'a BrokerConnection,
    topology: Topology,
    watch: Watch,
    searches: FuturesUnordered<LocalBoxFuture<'a, Searched>>,
}

impl<'a> StalledJobs<'a> {
    /// Consumers are asked by `publishing`, and queues by connections of their own: a broker that is short of memory reads nothing from a
    /// connection that publishes.
    pub(super) fn new(broker: &BrokerArgs, publishing: &'a BrokerConnection, topology: &Topology) -> StalledJobs<'a> {
        let (broker, topology) = (broker.clone(), topology.clone());
        StalledJobs { broker, publishing, topology, watch: Watch::default(), searches: FuturesUnordered::new() }
    }

    /// The stalled jobs.
    pub(super) fn found(&self) -> &HashMap<Job, Stall> {
        self.watch.found()
    }

    /// The models of which no job has had a new outcome for `quiet`.
    pub(super) fn quiet_models(&self, jobs: &Jobs, quiet: Duration) -> Vec<QuietModel> {
        self.watch.quiet_models(jobs, quiet, Instant::now())
    }

    /// Notes that a marker was read from the ledger: all records before it are counted.
    pub(super) fn note_marker(&mut self, marker: &str) {
        self.watch.note_marker(marker);
    }

    /// Waits for the end of a search. Cancel-safe.
    pub(super) async fn next(&mut self) -> Searched {
        match self.searches.next().await {
            Some(searched) => searched,
            None => std::future::pending().await,
        }
    }

    /// Notes what a search has found.
    pub(super) fn note_search(&mut self, searched: Searched) {
        self.watch.note_search(searched, Instant::now());
    }

    /// Follows the jobs, and begins the searches that are due. Returns each job that has just been found to be stalled.
    pub(super) fn every_second(&mut self, jobs: &Jobs) -> Vec<Stalled> {
        let now = Instant::now();
        for job in self.watch.observe(jobs, now) {
            tracing::info!(event = "job_moves", %job, "a stalled job makes progress again, or has ended");
        }
        let stalled = self.watch.conclude(now);
        for Stalled { job, companies, since, model } in &stalled {
            let model = model.as_ref().map(tracing::field::display);
            tracing::warn!(
                event = "job_stalled",
                %job,
                model,
                companies,
                since = since.as_ref().map(tracing::field::display),
                "companies have no outcome, and are in no queue and held by no consumer: they got lost on the broker; `producer redrive {job} --missing --file FILE` enqueues them again, once the job is sealed"
            );
        }
        // A broker that is short of memory would answer a search only when it has memory again.
        if !self.publishing.is_blocked() {
            while self.searches.len() < MAX_SEARCHES
                && let Some(plan) = self.watch.next_search(jobs, now)
            {
                let queues = QueueDepths::new(&self.broker);
                self.searches.push(search(queues, self.publishing, self.topology.clone(), plan).boxed_local());
            }
        }
        stalled
    }
}
