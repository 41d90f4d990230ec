//! What is left to score, and how fast it is scored.

use proptest::prelude::*;

use super::any_order::any_record;
use super::*;

fn workload(jobs: &Jobs) -> Workload {
    let model: Model = "m".parse().unwrap();
    jobs.workloads(&HashMap::new()).remove(&model).unwrap_or_default()
}

fn scored_in(milliseconds: u64, record: Record) -> Record {
    let Record::Result(result) = record else { panic!("expected a result, found {record:?}") };
    Record::Result(ResultHeaders { duration: Some(Duration::from_millis(milliseconds)), ..result })
}

#[test]
fn a_job_counts_as_work_as_soon_as_it_is_opened_and_not_for_ever_if_nothing_follows() {
    let mut jobs = fold([opened()]);
    assert_eq!(workload(&jobs).unfinished, 1);
    jobs.advance(Duration::from_secs(59));
    assert_eq!(workload(&jobs).unfinished, 1);
    jobs.advance(Duration::from_secs(1));
    assert_eq!(workload(&jobs).unfinished, 0);
    take(&mut jobs, enqueued(7));
    assert_eq!(workload(&jobs).unfinished, 7);
}

#[test]
fn an_empty_file_leaves_no_work() {
    assert_eq!(workload(&fold([opened(), sealed(0)])).unfinished, 0);
}

#[test]
fn a_models_speed_is_that_of_its_latest_companies() {
    let all = 10_000_u32;
    let mut jobs = fold([opened(), sealed(all.into())]);
    assert_eq!(workload(&jobs).seconds_per_company, None);
    let mut index = 0..all;
    let mut score = |jobs: &mut Jobs, companies: usize, milliseconds: u64| {
        for index in index.by_ref().take(companies) {
            take(jobs, scored_in(milliseconds, result(index, Succeeded)));
        }
        workload(jobs).seconds_per_company.unwrap()
    };
    assert_eq!(score(&mut jobs, 10, 100), 0.1);
    let slower = score(&mut jobs, 10, 1_900);
    assert!((slower - 1.0).abs() < 1e-9, "{slower}");
    score(&mut jobs, 5_000, 1_000);
    let new_version = score(&mut jobs, 2_000, 10);
    assert!((new_version - 0.01).abs() < 1e-9, "{new_version}");
    assert_eq!(workload(&Jobs::from_checkpoint(&jobs.to_checkpoint().unwrap()).unwrap()), workload(&jobs));
}

proptest! {
    #[test]
    fn work_is_left_exactly_while_a_job_goes_on(said in proptest::collection::vec(any_record(), 1..200)) {
        let mut jobs = fold([opened(), sealed(4)]);
        for record in said {
            take(&mut jobs, record);
            let state = jobs.get(&job()).unwrap().state();
            let Workload { unfinished, paused, .. } = workload(&jobs);
            prop_assert_eq!(unfinished > 0, state == State::Running, "{}", state);
            prop_assert_eq!(paused > 0, state == State::Paused, "{}", state);
        }
    }
}
