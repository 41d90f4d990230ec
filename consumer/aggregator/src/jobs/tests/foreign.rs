//! Records that are not of this job's processes: of another opening, of a job that was not opened, or false ones.

use proptest::prelude::*;

use super::any_order::any_record;
use super::*;

fn status(jobs: &Jobs) -> rollcall_shared::message::JobStatus {
    jobs.get(&job()).unwrap().status(&job(), None, 0)
}

#[test]
fn of_two_openings_under_one_name_the_first_is_the_job_and_nothing_of_the_other_counts() {
    let [ours, theirs] = [Opening::unique(), Opening::unique()];
    let mut jobs = live([of_opening(ours, opened())]);
    let other = [
        opened(),
        enqueued(9),
        sealed(2),
        result(0, Failed),
        result(8, Succeeded),
        cancelled(Some(2)),
        redriven(1, "theirs", "0"),
    ];
    for record in other {
        let said = format!("{record:?}");
        let ignored = take(&mut jobs, of_opening(theirs, record));
        assert_eq!(ignored, Applied::Ignored(job(), Ignored::OtherOpening), "{said}");
    }
    assert_eq!((state(&jobs), counts(&jobs), status(&jobs).enqueued), (State::Unsealed, [0; 5], 0));
    assert_eq!(status(&jobs).opening, Some(ours));
    for record in [opened(), result(0, Succeeded), enqueued(1), sealed(1)] {
        assert_eq!(take(&mut jobs, of_opening(ours, record)), Applied::To(job()));
    }
    assert_eq!((state(&jobs), counts(&jobs)), (State::Succeeded, [1, 1, 0, 0, 0]));
}

#[test]
fn a_result_that_tells_no_opening_counts_and_what_only_the_producer_knows_does_not() {
    let ours = Opening::unique();
    let mut jobs = live([of_opening(ours, opened()), result(0, Succeeded)]);
    assert_eq!(counts(&jobs)[1], 1);
    for record in [opened(), enqueued(7), sealed(1)] {
        assert_eq!(take(&mut jobs, record), Applied::Ignored(job(), Ignored::OtherOpening));
    }
    assert_eq!(take(&mut jobs, cancelled(Some(u64::from(u32::MAX)))), Applied::To(job()), "a person's order");
    assert_eq!((state(&jobs), counts(&jobs)), (State::Cancelled, [1, 1, 0, 0, 0]), "with a number that only the producer knows");
}

#[test]
fn what_comes_before_the_opening_counts_from_then_on_and_makes_no_job() {
    let mut jobs = fold([result(0, Succeeded), sealed(2), result(1, Failed)]);
    assert_eq!(jobs.all().count(), 0);
    assert_eq!(take(&mut jobs, result(1, Failed)), Applied::Ignored(job(), Ignored::NotOpened));
    jobs = Jobs::from_checkpoint(&jobs.to_checkpoint().unwrap()).unwrap();
    take(&mut jobs, opened());
    assert_eq!((state(&jobs), counts(&jobs)), (State::Failed, [2, 1, 1, 0, 1]));
    assert_eq!(status(&jobs).first_offset, 0, "where a replay begins");
    assert!(jobs.early_records.is_empty());
}

#[test]
fn results_of_jobs_that_nobody_opened_are_dropped_before_they_are_many_or_old() {
    let mut jobs = Jobs::default();
    let of = |number: u32| {
        let Record::Result(counted) = result(0, Failed) else { panic!("expected a result") };
        Record::Result(ResultHeaders { job: format!("unknown-{number}").parse().unwrap(), ..counted })
    };
    for number in 0..50_000 {
        take(&mut jobs, of(number));
    }
    let bytes = jobs.to_checkpoint().unwrap().len();
    assert!(bytes < 3 << 20, "a checkpoint of {bytes} bytes");
    assert_eq!(jobs.all().count(), 0);
    let (last, some_time_later) = (of(49_999), jobs.next_offset() + 200_000);
    jobs.apply(some_time_later, None, Record::Other);
    assert!(jobs.early_records.is_empty());
    let reason = "long ".repeat(1 << 20);
    let long = Cancelled { job: job(), reason, total: None, redrives: 0, opening: None };
    take(&mut jobs, last);
    take(&mut jobs, Record::Event(JobEvent::Cancelled(long)));
    assert!(jobs.to_checkpoint().unwrap().len() < 3 << 20, "bytes count, not records");
}

#[test]
fn an_index_that_somebody_made_up_is_one_outcome_at_most_and_never_a_total() {
    let made_up = || result(u32::MAX, Succeeded);
    let until = || opened_with(Settings { deadline_at: Some("2026-01-01T00:00:30Z".parse().unwrap()), ..Settings::default() });
    for (end, told) in
        [(cancelled(None), [10, 2, 0, 8, 0]), (cancelled(Some(20)), [20, 1, 0, 19, 0]), (expired(), [10, 2, 0, 8, 0])]
    {
        let jobs = live([until(), enqueued(10), result(0, Succeeded), made_up(), end]);
        assert_eq!(counts(&jobs), told);
    }
    let jobs = live([opened(), made_up(), sealed(3)]);
    assert_eq!((state(&jobs), counts(&jobs)), (State::Running, [3, 0, 0, 0, 0]));
}

#[test]
fn numbers_that_no_job_can_have_are_not_believed() {
    let mut jobs = fold([opened()]);
    for record in [enqueued(u64::MAX), sealed(u64::MAX)] {
        assert_eq!(take(&mut jobs, record), Applied::Ignored(job(), Ignored::Contradiction));
    }
    take(&mut jobs, cancelled(Some(u64::MAX)));
    assert_eq!(counts(&jobs), [0; 5]);
}

#[test]
fn a_done_event_that_does_not_say_what_was_counted_ends_nothing() {
    let due = || fold([opened(), sealed(2), result(0, Succeeded), result(1, Failed)]);
    let Record::Event(JobEvent::Done(true_done)) = done(&due()) else { panic!("expected a done event") };
    let running = fold([opened(), sealed(2), result(0, Succeeded)]);
    let mut made_up = vec![(running.clone(), true_done.clone())];
    made_up.push((
        running,
        rollcall_shared::message::Done { total: 999, succeeded: 999, state: State::Succeeded, ..true_done.clone() },
    ));
    let wrong: [fn(&mut rollcall_shared::message::Done); 6] = [
        |done| done.state = State::Succeeded,
        |done| done.total = 3,
        |done| done.succeeded = 2,
        |done| done.failed = 2,
        |done| done.cancelled = 1,
        |done| done.redrives = 1,
    ];
    for harm in wrong {
        let mut done = true_done.clone();
        harm(&mut done);
        made_up.push((due(), done));
    }
    for (mut jobs, done) in made_up {
        let said = format!("{done:?}");
        assert_eq!(
            take(&mut jobs, Record::Event(JobEvent::Done(done))),
            Applied::Ignored(job(), Ignored::Contradiction),
            "{said}"
        );
        assert_eq!(status(&jobs).done_at, None);
    }
}

#[test]
fn of_a_done_event_only_what_the_count_does_not_know_is_kept() {
    let mut jobs = fold([opened(), sealed(1), result(0, Succeeded)]);
    let Record::Event(JobEvent::Done(mut done)) = done(&jobs) else { panic!("expected a done event") };
    done.reason = Some("made up".repeat(1_000));
    done.model = None;
    assert_eq!(take(&mut jobs, Record::Event(JobEvent::Done(done))), Applied::To(job()));
    let status = status(&jobs);
    assert_eq!((status.reason, status.duration_seconds), (None, Some(1.0)));
    assert_eq!(status.model, Some("m".parse().unwrap()));
}

#[test]
fn events_without_a_valid_time_count_and_a_job_that_one_of_them_ended_is_done() {
    let (model, source, settings) = ("m".parse().unwrap(), "f".to_owned(), Settings::default());
    let opened = Record::Event(JobEvent::Opened(Opened { job: job(), opening: None, model, source, opened_at: None, settings }));
    let mut jobs = fold([opened]);
    assert_eq!(take(&mut jobs, Record::Event(JobEvent::Paused(Pause { job: job(), at: None }))), Applied::To(job()));
    assert_eq!((state(&jobs), status(&jobs).opened_at), (State::Paused, None));
    assert_eq!(take(&mut jobs, Record::Event(JobEvent::Resumed(Pause { job: job(), at: None }))), Applied::To(job()));
    for record in [sealed(1), result(0, Succeeded)] {
        take(&mut jobs, record);
    }
    let Record::Event(JobEvent::Done(done)) = done(&jobs) else { panic!("expected a done event") };
    let done = rollcall_shared::message::Done { done_at: None, ..done };
    assert_eq!(take(&mut jobs, Record::Event(JobEvent::Done(done))), Applied::To(job()));
    jobs = Jobs::from_checkpoint(&jobs.to_checkpoint().unwrap()).unwrap();
    assert_eq!((state(&jobs), status(&jobs).done_at), (State::Succeeded, Some(Timestamp::UNIX_EPOCH)));
    let Record::Event(JobEvent::Redriven(redriven)) = redriven_of(None, 1, "a", "0") else { panic!("expected a redrive") };
    let redriven = Redriven { redriven_at: None, ..redriven };
    assert_eq!(take(&mut jobs, Record::Event(JobEvent::Redriven(redriven))), Applied::To(job()));
    assert_eq!(state(&jobs), State::Running);
}

#[test]
fn a_job_without_a_deadline_does_not_expire_whoever_says_so() {
    let mut jobs = fold([opened(), sealed(2)]);
    assert_eq!(take(&mut jobs, expired()), Applied::Ignored(job(), Ignored::Contradiction));
    assert_eq!(state(&jobs), State::Running);
}

#[test]
fn a_seal_that_says_another_total_than_the_first_or_less_than_the_producer_told_of_is_not_believed() {
    let ours = Opening::unique();
    let mut jobs = live([of_opening(ours, opened()), of_opening(ours, enqueued(3))]);
    assert_eq!(take(&mut jobs, of_opening(ours, sealed(1))), Applied::Ignored(job(), Ignored::Contradiction));
    assert_eq!(take(&mut jobs, of_opening(ours, sealed(4))), Applied::To(job()));
    assert_eq!(take(&mut jobs, of_opening(ours, sealed(4))), Applied::To(job()), "a repetition");
    assert_eq!(take(&mut jobs, of_opening(ours, sealed(5))), Applied::Ignored(job(), Ignored::Contradiction));
    assert_eq!(status(&jobs).total, Some(4));
}

#[test]
fn a_redrive_that_says_fewer_companies_than_the_job_has_is_not_believed() {
    let mut jobs = live([opened(), enqueued(3), result(0, Succeeded), cancelled(None)]);
    assert_eq!(take(&mut jobs, redriven_of(Some(2), 1, "a", "0")), Applied::Ignored(job(), Ignored::Contradiction));
    assert_eq!(take(&mut jobs, redriven_of(Some(3), 1, "a", "0-2")), Applied::To(job()));
    assert_eq!(state(&jobs), State::Running);
}

proptest! {
    #[test]
    fn the_done_event_that_the_aggregator_makes_is_believed_whatever_comes_before_it_is_read(
        (said, between) in (prop::collection::vec(any_record(), 1..100), prop::collection::vec(any_record(), 0..20))
    ) {
        let mut jobs = fold([opened()].into_iter().chain(said));
        prop_assume!(jobs.get(&job()).unwrap().is_due());
        let done = done(&jobs);
        // A record between may be the same done event. A redrive after that would begin another round.
        let is_next_round = |record: &Record| matches!(record, Record::Event(JobEvent::Redriven(_)));
        for record in between.into_iter().filter(|record| !is_next_round(record)) {
            take(&mut jobs, record);
        }
        prop_assert_eq!(take(&mut jobs, done), Applied::To(job()));
        prop_assert!(!jobs.get(&job()).unwrap().is_due());
    }

    #[test]
    fn no_company_beyond_those_told_of_and_those_with_an_outcome_is_ever_in_a_total(said in prop::collection::vec(any_record(), 1..100)) {
        let mut most = 0;
        for record in &said {
            most = most.max(match record {
                Record::Event(JobEvent::Sealed(sealed)) => sealed.total,
                Record::Event(JobEvent::Enqueued(enqueued)) => enqueued.position,
                Record::Event(JobEvent::Cancelled(cancelled)) => cancelled.total.unwrap_or_default(),
                Record::Event(JobEvent::Redriven(redriven)) => redriven.total.unwrap_or_default(),
                _ => 0,
            });
        }
        let outcomes = said.iter().filter(|record| matches!(record, Record::Result(_))).count() as u64;
        let jobs = live([opened()].into_iter().chain(said));
        let status = status(&jobs);
        prop_assert!(status.total.unwrap_or_default() <= most.min(1 << 32).max(outcomes), "{status:?}");
        prop_assert!(status.succeeded + status.failed + status.cancelled <= status.total.unwrap_or(u64::MAX));
    }

    #[test]
    fn what_is_said_of_another_opening_changes_nothing(
        (ours, theirs) in (prop::collection::vec(any_record(), 1..100), prop::collection::vec(any_record(), 1..100))
    ) {
        let [opening, other] = [Opening::unique(), Opening::unique()];
        let tells = |record: &Record| {
            let untold = matches!(record, Record::Event(JobEvent::Paused(_) | JobEvent::Resumed(_) | JobEvent::Expired(_) | JobEvent::Done(_)));
            !untold
        };
        let ours: Vec<Record> = [opened()].into_iter().chain(ours).filter(tells).map(|record| of_opening(opening, record)).collect();
        let theirs: Vec<Record> = theirs.into_iter().filter(tells).map(|record| of_opening(other, record)).collect();
        let alone = live(ours.clone());
        let mut rest = theirs.into_iter();
        // After each record of the one, one of the other.
        let both = live(ours.into_iter().flat_map(|record| [Some(record), rest.next()]).flatten());
        let told = |jobs: &Jobs| rollcall_shared::message::JobStatus { first_offset: 0, ..status(jobs) };
        prop_assert_eq!(told(&alone), told(&both));
    }
}
