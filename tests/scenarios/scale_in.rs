//! A fleet is scaled in while a job runs.

use std::time::Duration;

use rollcall_tests::Fleet;

const COMPANIES: u32 = 60_000;

#[test]
fn of_eight_consumers_seven_are_asked_to_stop_and_no_company_is_scored_twice_or_pays_an_attempt() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let mut consumers: Vec<_> = (0..8).map(|_| fleet.quick_consumer()).collect();
    let mut producer = fleet.start_enqueue(&fleet.companies(COMPANIES), "questionnaire", "j", &["--wait"]);
    fleet.mid_job("j", COMPANIES.into());
    for leaving in consumers.iter().skip(1) {
        leaving.terminate();
    }
    for leaving in consumers.iter_mut().skip(1) {
        leaving.wait(Duration::from_secs(30)).expect(0);
    }
    producer.wait(Duration::from_secs(60)).expect(0);
    let record = fleet.finished("j");
    record.assert_counted_once(COMPANIES.into());
    let done = &record.done[0]["data"];
    let costs = ["succeeded", "failed", "retries", "duplicates"].map(|key| done[key].as_u64().unwrap());
    assert_eq!((costs, record.duplicates()), ([COMPANIES.into(), 0, 0, 0], 0));
    assert!(record.bodies().all(|body| body["attempt"] == 1));
}
