//! Nobody reads what the programs say: `2>&1 | head`, a log collector that is restarted, an ssh session that is over.

use std::process::Command;
use std::time::Duration;

use rollcall_tests::{Fleet, SCORER, binary, eventually, free_address, get, metrics, project, value};

/// One of the programs, the reader of whose standard error has left before it starts.
fn unheard(fleet: &Fleet, program: &str, arguments: &[&str]) -> Command {
    let mut command = fleet.command("/bin/bash");
    let leave = r#"exec 2> >(exit); wait $!; exec "$@""#;
    command.args(["-c", leave, "unheard"]).arg(binary(program)).args(arguments).current_dir(project());
    command
}

#[test]
fn a_closed_standard_error_changes_nothing() {
    let fleet = Fleet::fresh();
    let scoring = free_address();
    let _aggregator = fleet.start("aggregator", unheard(&fleet, "aggregator", &["--log", "debug"]));
    let scorer = ["--model", "m", "--scorer", SCORER, "--threads", "2", "--log", "debug"];
    let address = ["--metrics-addr", &scoring.to_string()].map(str::to_owned);
    let address: Vec<&str> = address.iter().map(String::as_str).collect();
    let _consumer = fleet.start("consumer", unheard(&fleet, "consumer", &[&scorer, &address[..]].concat()));
    // The death of a scorer, which is logged, in the midst of others.
    let rows: String = (0..2_000).map(|row| format!("c{row},{}\n", if row == 5 { "crash" } else { "" })).collect();
    let file = fleet.file("c.csv", format!("company_id,do\n{rows}"));
    let flags = ["--job", "j", "--model", "m", "--wait", "--max-attempts", "1", "--output", "json"];
    let producer = [&["enqueue", file.to_str().unwrap()], &flags[..]].concat();
    let mut producer = fleet.start("producer", unheard(&fleet, "producer", &producer));
    let done = producer.wait(Duration::from_secs(60)).expect(1).json();
    assert_eq!((&done["succeeded"], &done["failed"]), (&1_999.into(), &1.into()), "{done}");
    assert_eq!(done["causes"][0]["cause"], "scorer_crashed");
    fleet.finished("j").assert_counted_once(2_000);
    assert_eq!(get(scoring, "/readyz").map(|(status, _)| status), Some(200));
    // No thread was lost on the way.
    let lost = |why: &str| value(&metrics(scoring), &format!(r#"rollcall_workers_replaced_total{{why="{why}"}}"#));
    assert_eq!((lost("panicked"), value(&metrics(scoring), "rollcall_workers")), (None, Some(2.0)));
    let refused = fleet.start("producer", unheard(&fleet, "producer", &["status", "no-such-job"])).wait(Duration::from_secs(30));
    assert_eq!(refused.code, Some(2), "the exit code says it all the same");
    eventually("it holds nothing any more", || (value(&metrics(scoring), "rollcall_in_flight") == Some(0.0)).then_some(()));
}
