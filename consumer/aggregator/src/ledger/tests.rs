mod any_order;
mod endings;
mod foreign;
mod kept;
mod outcomes;
mod redrives;
mod times;

use rollcall_shared::message::{
    Cancelled, CompanySet, Enqueued, Expired, Index, Indices, Opened, Opening, Outcome, Pause, Redriven, Sealed, Settings, State,
};

use Outcome::{Failed, Succeeded};

use super::*;

fn job() -> Job {
    "j".parse().unwrap()
}

fn ended_at() -> Timestamp {
    "2026-01-01T00:01:00Z".parse().unwrap()
}

fn opened() -> Record {
    opened_with(Settings::default())
}

fn opened_with(settings: Settings) -> Record {
    let (model, opened_at) = ("m".parse().unwrap(), "2026-01-01T00:00:00Z".parse().unwrap());
    Record::Event(JobEvent::Opened(Opened { job: job(), opening: None, model, source: "f".into(), opened_at, settings }))
}

fn sealed(total: u64) -> Record {
    Record::Event(JobEvent::Sealed(Sealed { job: job(), total, opening: None }))
}

fn result(index: u32, outcome: Outcome) -> Record {
    let cause = if outcome == Outcome::Failed { "timeout".to_owned() } else { String::new() };
    let (round, opening, republished) = (0, None, false);
    Record::Result(ResultHeaders { job: job(), index: Index(index), outcome, attempt: 1, round, opening, cause, republished })
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
    Record::Event(JobEvent::Expired(Expired { job: job(), deadline_at: "2026-01-02T00:00:00Z".parse().unwrap() }))
}

fn enqueued(position: u64) -> Record {
    Record::Event(JobEvent::Enqueued(Enqueued { job: job(), position, opening: None }))
}

fn redriven(round: u32, by: &str, indices: &str) -> Record {
    redriven_of(Some(4), round, by, indices)
}

/// A redrive by somebody who cannot tell how many companies there are.
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
        redriven_at: "2026-01-02T00:00:00Z".parse().unwrap(),
        opening: None,
    }))
}

/// What the aggregator would say of the job now, if it is due.
fn done(ledger: &Ledger) -> Record {
    let count = ledger.job(&job()).unwrap();
    assert!(count.is_due(), "{:?}", count.state());
    Record::Event(JobEvent::Done(count.done(&job(), ended_at(), Some(1.0))))
}

/// Applies the next record of the ledger, just as it is said.
fn take(ledger: &mut Ledger, record: Record) -> Applied {
    ledger.apply(ledger.next_offset(), Some(Duration::ZERO), record)
}

/// The record as the producer of `opening` says it, and what follows from it.
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

/// Applies records, and after each what the aggregator says to it.
fn live(records: impl IntoIterator<Item = Record>) -> Ledger {
    let mut ledger = Ledger::default();
    for record in records {
        take(&mut ledger, record);
        if ledger.job(&job()).is_some_and(JobCount::is_due) {
            let done = done(&ledger);
            assert_eq!(take(&mut ledger, done), Applied::To(job()));
        }
    }
    ledger
}

/// Total, succeeded, failed, cancelled, duplicates.
fn counts(ledger: &Ledger) -> [u64; 5] {
    let status = ledger.job(&job()).unwrap().status(&job(), None, 0);
    [status.total.unwrap_or_default(), status.succeeded, status.failed, status.cancelled, status.duplicates]
}

fn fold(records: impl IntoIterator<Item = Record>) -> Ledger {
    let mut ledger = Ledger::default();
    for record in records {
        take(&mut ledger, record);
    }
    ledger
}

fn state(ledger: &Ledger) -> State {
    ledger.job(&job()).unwrap().state()
}
