//! Notices companies that are nowhere: purged, expired, or in a queue or a ledger that somebody deleted. Their job would wait for ever.
//!
//! Where a job has had no outcome for a while, everything is looked at where a company of its model may be ([`mod@look`]). All of that
//! goes on beside counting, and two looks in a row must find nothing ([`watch`]).

mod look;
mod watch;

use std::collections::HashMap;
use std::time::Instant;

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use rollcall_shared::broker::BrokerConnection;
use rollcall_shared::message::{Job, Stall, Stalled};
use rollcall_shared::topology::Topology;

use crate::ledger::Ledger;
use look::{Links, Looked, look};
use watch::Watch;

/// Models looked at together: each takes a channel.
const TOGETHER: usize = 2;

/// The looking, and what has been found.
pub(super) struct Stalls<'a> {
    links: Links<'a>,
    topology: Topology,
    watch: Watch,
    looks: FuturesUnordered<LocalBoxFuture<'a, Looked>>,
}

impl<'a> Stalls<'a> {
    /// Questions about queues go by `reading`, what is published by `publishing`: a broker that is short of memory reads nothing from a
    /// connection that publishes.
    pub(super) fn new(reading: &'a BrokerConnection, publishing: &'a BrokerConnection, topology: &Topology) -> Stalls<'a> {
        let links = Links { reading, publishing };
        Stalls { links, topology: topology.clone(), watch: Watch::default(), looks: FuturesUnordered::new() }
    }

    /// The jobs of which companies are lost.
    pub(super) fn found(&self) -> &HashMap<Job, Stall> {
        self.watch.found()
    }

    /// A marker has been read back from the ledger: all that was in it before has been counted.
    pub(super) fn heard(&mut self, marker: &str) {
        self.watch.heard(marker);
    }

    /// Waits for what a look has found. Safe to cancel.
    pub(super) async fn next(&mut self) -> Looked {
        match self.looks.next().await {
            Some(looked) => looked,
            None => std::future::pending().await,
        }
    }

    /// Takes in what a look has found.
    pub(super) fn take_in(&mut self, looked: Looked) {
        self.watch.take_in(looked, Instant::now());
    }

    /// Goes on by what the ledger says now, and begins to look where it is time. Returns what is to be told: each job that has just been
    /// found to be stalled.
    pub(super) fn each_second(&mut self, ledger: &Ledger) -> Vec<Stalled> {
        let now = Instant::now();
        for job in self.watch.observe(ledger, now) {
            tracing::info!(event = "job_moves", %job, "a job that was stalled moves, or has ended");
        }
        let stalled = self.watch.conclude(now);
        for Stalled { job, companies, since, model } in &stalled {
            let model = model.as_ref().map(tracing::field::display);
            tracing::warn!(
                event = "job_stalled",
                %job,
                model,
                companies,
                %since,
                "companies have no outcome, and nothing of their job waits, is held or is due: they got lost on the broker; `producer redrive {job} --missing --file FILE` enqueues them again, once the job is sealed"
            );
        }
        // What is asked now would be answered when there is memory again.
        if !self.links.publishing.is_blocked() {
            while self.looks.len() < TOGETHER
                && let Some(plan) = self.watch.next_look(ledger, now)
            {
                self.looks.push(look(self.links, self.topology.clone(), plan).boxed_local());
            }
        }
        stalled
    }
}
