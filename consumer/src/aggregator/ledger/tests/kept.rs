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

#[test]
fn of_a_job_that_is_no_longer_known_consumers_are_to_forget_what_they_were_told() {
    let mut ledger = Ledger::default();
    for number in 0..=1_000 {
        let job: Job = format!("j{number:04}").parse().unwrap();
        let reason = "a person cancelled it".to_owned();
        ledger.apply(
            ledger.next_offset(),
            Record::Event(JobEvent::Cancelled(Cancelled { job: job.clone(), reason, total: None, redrives: 0 })),
        );
        assert_eq!(ledger.take_forgotten(), []);
        let done = ledger.job(&job).unwrap().done(&job, format!("2026-01-01T00:00:00.{number:04}Z"), 1.0);
        ledger.apply(ledger.next_offset(), Record::Event(JobEvent::Done(done)));
    }
    assert_eq!(ledger.take_forgotten().iter().map(ToString::to_string).collect::<Vec<_>>(), ["j0000"]);
    assert_eq!(ledger.take_forgotten(), []);
}
