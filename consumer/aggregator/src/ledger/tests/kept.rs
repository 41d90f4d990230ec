//! What is kept of jobs, and what is forgotten.

use super::*;

#[test]
fn a_snapshot_whose_counts_do_not_add_up_is_refused() {
    let snapshot = String::from_utf8(fold([opened(), result(0, Failed)]).to_snapshot().unwrap()).unwrap();
    let bad = snapshot.replace(r#""failures":1"#, r#""failures":2"#);
    assert!(Ledger::from_snapshot(snapshot.as_bytes()).is_ok());
    let refused = Ledger::from_snapshot(bad.as_bytes()).unwrap_err().to_string();
    assert!(refused.contains("job j"), "{refused}");
}

fn an_opening() -> Opened {
    let Record::Event(JobEvent::Opened(opened)) = opened() else { panic!("expected an opening") };
    opened
}

#[test]
fn of_a_job_that_is_no_longer_known_consumers_are_to_forget_what_they_were_told() {
    let mut ledger = Ledger::default();
    for number in 0..=1_000 {
        let job: Job = format!("j{number:04}").parse().unwrap();
        let reason = "a person cancelled it".to_owned();
        let opened = Opened { job: job.clone(), opening: None, ..an_opening() };
        take(&mut ledger, Record::Event(JobEvent::Opened(opened)));
        let cancelled = Cancelled { job: job.clone(), reason, total: None, redrives: 0, opening: None };
        take(&mut ledger, Record::Event(JobEvent::Cancelled(cancelled)));
        assert_eq!(ledger.take_forgotten(), []);
        // The clock of the machine goes back: the ledger has the order.
        let done =
            ledger.job(&job).unwrap().done(&job, format!("2026-01-01T00:00:00.{:04}Z", 9_999 - number).parse().unwrap(), None);
        assert_eq!(take(&mut ledger, Record::Event(JobEvent::Done(done))), Applied::To(job));
    }
    assert_eq!(ledger.take_forgotten().iter().map(ToString::to_string).collect::<Vec<_>>(), ["j0000"]);
    assert_eq!(ledger.take_forgotten(), []);
}

#[test]
fn the_companies_of_the_jobs_that_ended_first_are_given_up_first() {
    let mut ledger = Ledger::default();
    // Here and there a company failed: no runs, and about 2 bytes for each, twice.
    for number in 0..6 {
        let job: Job = format!("j{number}").parse().unwrap();
        take(&mut ledger, Record::Event(JobEvent::Opened(Opened { job: job.clone(), ..an_opening() })));
        for index in 0..500_000 {
            let cause = "timeout".to_owned();
            let counted = ResultHeaders {
                job: job.clone(),
                index: Index(index * 16),
                outcome: Failed,
                attempt: 1,
                round: 0,
                opening: None,
                cause,
                republished: false,
            };
            take(&mut ledger, Record::Result(counted));
        }
        let (reason, total) = ("bad row".to_owned(), None);
        let cancelled = Cancelled { job: job.clone(), reason, total, redrives: 0, opening: None };
        take(&mut ledger, Record::Event(JobEvent::Cancelled(cancelled)));
        let done = ledger.job(&job).unwrap().done(&job, format!("2026-01-01T00:00:0{}Z", 9 - number).parse().unwrap(), None);
        take(&mut ledger, Record::Event(JobEvent::Done(done)));
    }
    let known: Vec<bool> = ledger.jobs().map(|(_, count)| count.companies(&CompanySet::Failed).is_some()).collect();
    assert!(known.is_sorted() && !known[0] && known[5], "{known:?}");
    assert_eq!(Ledger::from_snapshot(&ledger.to_snapshot().unwrap()).unwrap(), ledger);
}

#[test]
fn a_snapshot_that_was_kept_reads_back_with_its_clock_and_with_what_is_kept_apart() {
    let mut ledger = fold([opened(), result(0, Failed), of_other_job(result(0, Failed)), of_other_job(sealed(1))]);
    ledger.advance(Duration::from_secs(1));
    ledger.keep_at("2026-01-01T00:00:00Z".parse().unwrap());
    ledger.identify(3, 7);
    let kept = Ledger::from_snapshot(&ledger.to_snapshot().unwrap()).unwrap();
    assert_eq!((&kept, kept.last_record(), kept.unopened.is_empty()), (&ledger, Some(7), false));
    ledger.identify(2, 8);
    assert_eq!(ledger.last_record(), Some(7), "an earlier record is not the last");
}

fn of_other_job(record: Record) -> Record {
    any_order::of_job(&"k".parse().unwrap(), record)
}
