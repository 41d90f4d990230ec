mod any_order;
mod endings;
mod foreign;
mod kept;
mod outcomes;
mod redrives;
mod times;
mod workloads;

use rollcall_shared::message::{
    Cancelled, CompanySet, Enqueued, Expired, Index, Indices, Opened, Opening, Outcome, Pause, Redriven, ResultHeaders, Sealed,
    Settings, State,
};

use Outcome::{Failed, Succeeded};

use super::*;

fn ended_at() -> Timestamp {
    "2026-01-01T00:01:00Z".parse().unwrap()
}

fn job() -> Job {
    "j".parse().unwrap()
}

fn opened() -> Record {
    opened_with(Settings::default())
}

fn opened_with(settings: Settings) -> Record {
    let (model, opened_at) = ("m".parse().unwrap(), Some("2026-01-01T00:00:00Z".parse().unwrap()));
    Record::Event(JobEvent::Opened(Opened { job: job(), opening: None, model, source: "f".into(), opened_at, settings }))
}

fn sealed(total: u64) -> Record {
    Record::Event(JobEvent::Sealed(Sealed { job: job(), total, opening: None }))
}

fn result(index: u32, outcome: Outcome) -> Record {
    let cause = if outcome == Outcome::Failed { "timeout".to_owned() } else { String::new() };
    let (round, opening, to_ledger_alone) = (0, None, false);
    let (job, index, duration) = (job(), Index(index), None);
    Record::Result(ResultHeaders { job, index, outcome, attempt: 1, round, opening, cause, to_ledger_alone, duration })
}

fn in_round(round: u32, record: Record) -> Record {
    match record {
        Record::Result(result) => Record::Result(ResultHeaders { round, ..result }),
        Record::Event(JobEvent::Cancelled(cancelled)) => {
            Record::Event(JobEvent::Cancelled(Cancelled { redrives: round, ..cancelled }))
        }
        other => other,
    }
}

fn cancelled(total: Option<u64>) -> Record {
    Record::Event(JobEvent::Cancelled(Cancelled { job: job(), reason: "bad row".into(), total, redrives: 0, opening: None }))
}

fn expired() -> Record {
    Record::Event(JobEvent::Expired(Expired { job: job(), deadline_at: Some("2026-01-02T00:00:00Z".parse().unwrap()) }))
}

fn enqueued(position: u64) -> Record {
    Record::Event(JobEvent::Enqueued(Enqueued { job: job(), position, opening: None }))
}

fn redriven(round: u32, by: &str, indices: &str) -> Record {
    redriven_of(Some(4), round, by, indices)
}

/// A redrive that does not say how many companies the job has.
fn redriven_without_file(round: u32, by: &str, indices: &str) -> Record {
    redriven_of(None, round, by, indices)
}

fn redriven_of(total: Option<u64>, round: u32, by: &str, indices: &str) -> Record {
    let indices: Indices = indices.parse().unwrap();
    let companies = indices.0.len();
    Record::Event(JobEvent::Redriven(Redriven {
        job: job(),
        round,
        by: by.into(),
        indices,
        companies,
        total,
        redriven_at: Some("2026-01-02T00:00:00Z".parse().unwrap()),
        opening: None,
    }))
}

/// The done event that the leader would publish now. The job must be due.
fn done(jobs: &Jobs) -> Record {
    let state = jobs.get(&job()).unwrap();
    assert!(state.is_due(), "{:?}", state.state());
    Record::Event(JobEvent::Done(state.done(&job(), ended_at(), Some(1.0))))
}

/// Applies the next record of the ledger, as soon as it is published.
fn take(jobs: &mut Jobs, record: Record) -> Applied {
    jobs.apply(jobs.next_offset(), Some(Duration::ZERO), record)
}

/// The record as the producer of this opening, or a process that follows it, publishes it.
fn of_opening(opening: Opening, mut record: Record) -> Record {
    let of = match &mut record {
        Record::Result(result) => &mut result.opening,
        Record::Event(JobEvent::Opened(opened)) => &mut opened.opening,
        Record::Event(JobEvent::Enqueued(enqueued)) => &mut enqueued.opening,
        Record::Event(JobEvent::Sealed(sealed)) => &mut sealed.opening,
        Record::Event(JobEvent::Cancelled(cancelled)) => &mut cancelled.opening,
        Record::Event(JobEvent::Redriven(redriven)) => &mut redriven.opening,
        other => panic!("expected a record that tells its opening, found {other:?}"),
    };
    *of = Some(opening);
    record
}

/// Applies records, and after each one the done event that the leader then publishes.
fn live(records: impl IntoIterator<Item = Record>) -> Jobs {
    let mut jobs = Jobs::default();
    for record in records {
        take(&mut jobs, record);
        if jobs.get(&job()).is_some_and(JobState::is_due) {
            let done = done(&jobs);
            assert_eq!(take(&mut jobs, done), Applied::To(job()));
        }
    }
    jobs
}

/// Total, succeeded, failed, cancelled, duplicates.
fn counts(jobs: &Jobs) -> [u64; 5] {
    let status = jobs.get(&job()).unwrap().status(&job(), None, 0);
    [status.total.unwrap_or_default(), status.succeeded, status.failed, status.cancelled, status.duplicates]
}

fn fold(records: impl IntoIterator<Item = Record>) -> Jobs {
    let mut jobs = Jobs::default();
    for record in records {
        take(&mut jobs, record);
    }
    jobs
}

fn state(jobs: &Jobs) -> State {
    jobs.get(&job()).unwrap().state()
}
