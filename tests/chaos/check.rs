//! The final check of the ledger, and the summary of a run.

use std::fmt;

use rollcall_tests::{Bodies, JobRecord, read_ledger};

use crate::jobs::{FAST, SLOW};
use crate::processes::{Kills, Processes};

/// The summary of a run.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    jobs: u64,
    resumed: u64,
    taken: u64,
    broker_was_down: u64,
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

/// Checks every job in the ledger. The error is the first violation, with its job and company.
pub(crate) fn check_ledger(processes: &Processes) -> Result<Summary, String> {
    let (aggregators, consumers) = (processes.fleet.stderr_of_all("aggregator"), processes.fleet.stderr_of_all("consumer"));
    let started: u64 = processes.series.iter().map(|series| series.started).sum();
    let mut summary = Summary {
        broker_was_down: processes.broker_was_down + processes.series.iter().map(|series| series.broker_was_down).sum::<u64>(),
        // The first leader takes over from none.
        takeovers: aggregators.matches("event=\"became_leader\"").count().saturating_sub(1),
        outages: [aggregators, consumers].iter().map(|said| said.matches("event=\"connection_lost\"").count()).sum(),
        taken: processes.series.iter().map(|series| series.taken).sum(),
        resumed: processes.series.iter().map(|series| series.resumed).sum(),
        operator_restarts: processes.operator_restarts,
        kills: processes.kills,
        submitted: processes.series.iter().map(|series| series.started * u64::from(series.kind.companies)).sum(),
        subscriptions: processes.disturbances.subscriptions,
        closed: processes.disturbances.closed,
        ..Summary::default()
    };
    for (job, record) in read_ledger(processes.fleet.url(), &processes.fleet.name("ledger"), Bodies::Ignored) {
        let companies = if job.starts_with(SLOW.name) { SLOW.companies } else { FAST.companies };
        summary.add(&record, companies.into()).map_err(|fault| format!("job {job}: {fault}"))?;
    }
    if summary.jobs != started {
        return Err(format!("expected the {started} jobs that were started in the ledger, found {}", summary.jobs));
    }
    Ok(summary)
}

impl Summary {
    /// Checks that every kind of fault has happened; the error names one that has not.
    pub(crate) fn check_every_fault_happened(&self) -> Result<(), String> {
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

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary {
            jobs,
            resumed,
            taken,
            broker_was_down,
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
        writeln!(f, "started while there was no broker, and started again: {broker_was_down}")?;
        write!(f, "takeovers: {takeovers}; connections lost by consumers and aggregators: {outages}")
    }
}
