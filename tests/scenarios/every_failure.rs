//! One large job with a few companies of every kind of failure.

use std::collections::BTreeMap;

use rollcall_tests::Fleet;

use super::poison::keep_alive;
use super::redrive::MENDED;

const COMPANIES: u64 = 100_000;

/// What the scorer does with a company: 3 kill their consumer, 5 hang, 100 are refused, and the rest are scored.
fn what(index: u64) -> &'static str {
    match index {
        10 | 40_010 | 70_010 => "kill",
        _ if index % 20_000 == 15_000 => "hang",
        _ if index % 1_000 == 500 => "refuse",
        _ => "",
    }
}

#[test]
fn a_hundred_thousand_companies_end_with_exactly_those_failed_that_cannot_be_scored_each_by_its_cause() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let rows: String = (0..COMPANIES).map(|index| format!("c{index},{}\n", what(index))).collect();
    let file = fleet.file("c.csv", format!("company_id,do\n{rows}"));
    fleet.enqueue(&file, "m", "j", &["--max-attempts", "2", "--retry-delays", "100ms"]).expect(0);
    keep_alive(&fleet, "j", &["--threads", "2", "--score-timeout", "1s"]);
    let record = fleet.finished("j");
    record.assert_counted_once(COMPANIES);
    assert_eq!(record.causes(), BTreeMap::from([("consumer_crashed", 3), ("no_data", 100), ("timeout", 5)]));

    let _mended = fleet.consumer("m", MENDED, &["--threads", "1"]);
    let redrive = ["redrive", "j", "--cause", "timeout", "--wait", "--output", "json"];
    let done = fleet.producer(&redrive).expect(1).json();
    assert_eq!((&done["failed"], &done["succeeded"]), (&103.into(), &(COMPANIES - 103).into()));
}
