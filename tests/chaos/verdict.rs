//! What the ledger says in the end.

use std::fmt;

use rollcall_tests::{Bodies, JobRecord, read_ledger};

use crate::crew::{Crew, Kills};
use crate::jobs::{FAST, SLOW};

/// What a run came to.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    jobs: u64,
    resumed: u64,
    taken: u64,
    too_early: u64,
    submitted: u64,
    counted: u64,
    duplicates: u64,
    takeovers: usize,
    outages: usize,
    operator_restarts: u64,
    kills: Kills,
    subscriptions: u64,
    closed: u64,
}

/// Checks every job in the ledger.
///
/// # Errors
/// The first thing that does not hold, naming the job and the company.
pub(crate) fn judge(crew: &Crew) -> Result<Figures, String> {
    let (said_by_aggregators, said_by_consumers) = (crew.fleet.said_by_all("aggregator"), crew.fleet.said_by_all("consumer"));
    let started: u64 = crew.lanes.iter().map(|lane| lane.started).sum();
    let mut figures = Figures {
        too_early: crew.too_early + crew.lanes.iter().map(|lane| lane.too_early).sum::<u64>(),
        // The first to take it takes it from nobody.
        takeovers: said_by_aggregators.matches("event=\"became_leader\"").count().saturating_sub(1),
        outages: [said_by_aggregators, said_by_consumers].iter().map(|said| said.matches("lost the connection").count()).sum(),
        taken: crew.lanes.iter().map(|lane| lane.taken).sum(),
        resumed: crew.lanes.iter().map(|lane| lane.resumed).sum(),
        operator_restarts: crew.operator_restarts,
        kills: crew.kills,
        submitted: crew.lanes.iter().map(|lane| lane.started * u64::from(lane.kind.companies)).sum(),
        subscriptions: crew.strangers.subscriptions,
        closed: crew.strangers.closed,
        ..Figures::default()
    };
    for (job, record) in read_ledger(crew.fleet.url(), &crew.fleet.name("ledger"), Bodies::Ignored) {
        let companies = if job.starts_with(SLOW.name) { SLOW.companies } else { FAST.companies };
        figures.add(&record, companies.into()).map_err(|fault| format!("job {job}: {fault}"))?;
    }
    if figures.jobs != started {
        return Err(format!("expected the {started} jobs that were started in the ledger, found {}", figures.jobs));
    }
    Ok(figures)
}

impl Figures {
    /// Checks that everybody who was to make trouble did.
    ///
    /// # Errors
    /// Who did not.
    pub(crate) fn check_that_all_acted(&self) -> Result<(), String> {
        let Kills { consumers, aggregators, producers, brokers, restarts } = self.kills;
        let acts = [
            ("consumers killed", consumers),
            ("aggregators killed", aggregators),
            ("producers killed", producers),
            ("brokers killed", brokers),
            ("consumers restarted with little grace", restarts),
            ("subscribers with full queues", self.subscriptions),
            ("connections closed by the operator", self.closed),
        ];
        match acts.into_iter().find(|&(_, times)| times == 0) {
            Some((what, _)) => Err(format!("expected {what}, found none in all that time")),
            None => Ok(()),
        }
    }

    fn add(&mut self, record: &JobRecord, companies: u64) -> Result<(), String> {
        self.duplicates += record.duplicates() as u64;
        record.check(companies)?;
        if let Some((cause, count)) = record.causes().into_iter().next() {
            return Err(format!("expected no company to fail, found {count} with cause {cause}"));
        }
        self.jobs += 1;
        self.counted += record.outcomes.len() as u64;
        Ok(())
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Figures {
            jobs,
            resumed,
            taken,
            too_early,
            submitted,
            counted,
            duplicates,
            takeovers,
            outages,
            operator_restarts,
            kills,
            subscriptions,
            closed,
        } = self;
        let Kills { consumers, aggregators, producers, brokers, restarts } = kills;
        writeln!(
            f,
            "jobs: {jobs}, each with one done event; producers that went on in mid-file for one that was killed: {resumed}"
        )?;
        writeln!(f, "producers that found their job's name taken by one that was killed: {taken}")?;
        writeln!(f, "companies: {submitted} submitted, {counted} counted, {} lost, 0 failed", submitted - counted)?;
        writeln!(f, "scored again and counted once: {duplicates}")?;
        writeln!(
            f,
            "killed: {consumers} consumers, {aggregators} aggregators, {producers} producers, the broker {brokers} times"
        )?;
        writeln!(f, "consumers restarted with less grace than a score takes: {restarts}")?;
        writeln!(f, "subscribers with full queues: {subscriptions}; connections closed by the operator: {closed}")?;
        writeln!(f, "the broker started once more, because it had left a queue down: {operator_restarts}")?;
        writeln!(f, "started while there was no broker, and started again: {too_early}")?;
        write!(f, "takeovers: {takeovers}; connections lost by consumers and aggregators: {outages}")
    }
}
