//! What a checkpoint keeps of jobs, and what is forgotten.

use super::*;

#[test]
fn a_snapshot_whose_counts_do_not_add_up_is_refused() {
    let snapshot = String::from_utf8(fold([opened(), result(0, Failed)]).to_checkpoint().unwrap()).unwrap();
    let bad = snapshot.replace(r#""failures":1"#, r#""failures":2"#);
    assert!(Jobs::from_checkpoint(snapshot.as_bytes()).is_ok());
    let refused = Jobs::from_checkpoint(bad.as_bytes()).unwrap_err().to_string();
    assert!(refused.contains("job j"), "{refused}");
}

#[test]
fn the_seeds_of_the_fuzz_target_are_checkpoints() {
    for seed in [
        include_str!("../../../../../tests/fuzz/seeds/snapshot/redriven"),
        include_str!("../../../../../tests/fuzz/seeds/snapshot/done"),
    ] {
        let jobs = Jobs::from_checkpoint(seed.as_bytes()).unwrap();
        assert_eq!(jobs.all().count(), 1);
    }
}

#[test]
fn a_checkpoint_in_the_form_that_was_written_before_jobs_had_phases_is_refused_and_not_misread() {
    let old = r#"{"next_offset":9,"last_record":7,"micros":60,"kept_at":null,"jobs":{"j":{"first_offset":0,"opened":{"job":"j",
        "model":"m","source":"f","opened_at":"2026-01-01T00:00:00Z","priority":"normal","tolerate_failures":"0","fail_fast":false},
        "times":{"read_at":5,"began_at":-5},"total":4,"enqueued":4,"terminal":"OjAAAAEAAAAAAAEAEAAAAAAAAQA=","failed":{},"failures":0,
        "duplicates":0,"retries":0,"paused":false,"was_paused":false,"cut_short":null,"late_total":null,"done":null,
        "done_offset":null,"redrive":null,"forgotten":false}}}"#;
    let refused = Jobs::from_checkpoint(old.as_bytes()).unwrap_err().to_string();
    assert!(refused.contains("missing field"), "{refused}");
}

#[test]
fn a_checkpoint_of_a_job_in_a_phase_that_its_outcomes_contradict_is_refused() {
    let running = fold([opened(), sealed(2), result(0, Succeeded)]).to_checkpoint().unwrap();
    let running = String::from_utf8(running).unwrap();
    assert!(Jobs::from_checkpoint(running.as_bytes()).is_ok());
    for (found, instead) in [
        (r#""total":2"#, r#""total":1"#),
        (r#""total":2"#, r#""total":null"#),
        (r#""running":{"paused":false}"#, r#""unsealed":{"paused":false}"#),
        (r#""running":{"paused":false}"#, r#""due":{"end":"running","late_total":null}"#),
    ] {
        let bad = running.replace(found, instead);
        assert_ne!(bad, running);
        assert!(Jobs::from_checkpoint(bad.as_bytes()).is_err(), "{bad}");
    }
}

fn an_opening() -> Opened {
    let Record::Event(JobEvent::Opened(opened)) = opened() else { panic!("expected an opening") };
    opened
}

#[test]
fn of_a_job_that_is_no_longer_known_consumers_are_to_forget_what_they_were_told() {
    let mut jobs = Jobs::default();
    for number in 0..=1_000 {
        let job: Job = format!("j{number:04}").parse().unwrap();
        let reason = "a person cancelled it".to_owned();
        let opened = Opened { job: job.clone(), opening: None, ..an_opening() };
        take(&mut jobs, Record::Event(JobEvent::Opened(opened)));
        let cancelled = Cancelled { job: job.clone(), reason, total: None, redrives: 0, opening: None };
        take(&mut jobs, Record::Event(JobEvent::Cancelled(cancelled)));
        assert_eq!(jobs.take_forgotten(), []);
        // The machine's clock goes back: the ledger's order counts.
        let done =
            jobs.get(&job).unwrap().done(&job, format!("2026-01-01T00:00:00.{:04}Z", 9_999 - number).parse().unwrap(), None);
        assert_eq!(take(&mut jobs, Record::Event(JobEvent::Done(done))), Applied::To(job));
    }
    assert_eq!(jobs.take_forgotten().iter().map(ToString::to_string).collect::<Vec<_>>(), ["j0000"]);
    assert_eq!(jobs.take_forgotten(), []);
}

#[test]
fn the_companies_of_the_jobs_that_ended_first_are_given_up_first() {
    let mut jobs = Jobs::default();
    // Every sixteenth company failed: there are no runs, and each takes about 2 bytes in each of two bitmaps.
    for number in 0..6 {
        let job: Job = format!("j{number}").parse().unwrap();
        take(&mut jobs, Record::Event(JobEvent::Opened(Opened { job: job.clone(), ..an_opening() })));
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
                to_ledger_alone: false,
                duration: None,
            };
            take(&mut jobs, Record::Result(counted));
        }
        let (reason, total) = ("bad row".to_owned(), None);
        let cancelled = Cancelled { job: job.clone(), reason, total, redrives: 0, opening: None };
        take(&mut jobs, Record::Event(JobEvent::Cancelled(cancelled)));
        let done = jobs.get(&job).unwrap().done(&job, format!("2026-01-01T00:00:0{}Z", 9 - number).parse().unwrap(), None);
        take(&mut jobs, Record::Event(JobEvent::Done(done)));
    }
    let known: Vec<bool> = jobs.all().map(|(_, state)| state.companies(&CompanySet::Failed).is_some()).collect();
    assert!(known.is_sorted() && !known[0] && known[5], "{known:?}");
    assert_eq!(Jobs::from_checkpoint(&jobs.to_checkpoint().unwrap()).unwrap(), jobs);
}

#[test]
fn a_snapshot_that_was_kept_reads_back_with_its_clock_and_with_what_is_kept_apart() {
    let mut jobs = fold([opened(), result(0, Failed), of_other_job(result(0, Failed)), of_other_job(sealed(1))]);
    jobs.advance(Duration::from_secs(1));
    jobs.prepare_checkpoint("2026-01-01T00:00:00Z".parse().unwrap());
    jobs.note_identity(3, 7);
    let kept = Jobs::from_checkpoint(&jobs.to_checkpoint().unwrap()).unwrap();
    assert_eq!((&kept, kept.last_record(), kept.early_records.is_empty()), (&jobs, Some(7), false));
    jobs.note_identity(2, 8);
    assert_eq!(jobs.last_record(), Some(7), "an earlier record is not the last");
}

fn of_other_job(record: Record) -> Record {
    any_order::of_job(&"k".parse().unwrap(), record)
}
