//! What a fleet's operators see: health, metrics and logs.

use std::net::TcpListener;
use std::time::Duration;

use rollcall_tests::{Fleet, SCORER, eventually, free_address, get, metrics, value};
use serde_json::Value;

#[test]
fn a_consumer_and_an_aggregator_show_their_health_and_what_they_have_done() {
    let fleet = Fleet::fresh();
    let (counting, scoring) = (free_address(), free_address());
    let _aggregator = fleet.aggregator(&["--metrics-addr", &counting.to_string()]);
    let consumer = ["--metrics-addr", &scoring.to_string(), "--threads", "2", "--batch", "4"];
    let _consumer = fleet.consumer("m", SCORER, &consumer);
    let rows: String = (0..50).map(|row| format!("secret-{row},{}\n", if row < 10 { "refuse" } else { "" })).collect();
    let file = fleet.file("c.csv", format!("company_id,do\n{rows}"));
    fleet.enqueue(&file, "m", "secret-job", &["--wait"]).expect(1);
    for address in [counting, scoring] {
        eventually("it is ready", || get(address, "/readyz").filter(|(status, _)| *status == 200));
        assert_eq!(get(address, "/healthz").unwrap().0, 200);
        assert_eq!(get(address, "/nowhere").unwrap().0, 404);
        assert!(!metrics(address).contains("secret"), "a job or a company is in a label: {}", metrics(address));
        assert_eq!(value(&metrics(address), "rollcall_reconnections_total"), Some(0.0));
    }
    let settled = |metrics: &str| value(metrics, "rollcall_in_flight") == Some(0.0);
    eventually("the consumer's last answers are confirmed", || settled(&metrics(scoring)).then_some(()));
    assert_consumer_counted(&metrics(scoring));
    eventually("the aggregator shows the job and its done event", || {
        let metrics = metrics(counting);
        let shown = [r#"rollcall_jobs{state="failed"}"#, "rollcall_last_result_to_done_seconds_count"];
        let is_abreast = value(&metrics, "rollcall_ledger_lag_seconds") == Some(0.0);
        // 50 results; the opened, sealed and done events; at least one marker.
        let has_read_all = value(&metrics, "rollcall_ledger_offset") >= Some(54.0);
        (is_abreast && has_read_all && shown.iter().all(|series| value(&metrics, series) == Some(1.0))).then_some(())
    });
    assert_aggregator_counted(&metrics(counting));
}

fn assert_consumer_counted(metrics: &str) {
    let expected = [
        (r#"rollcall_results_total{cause="",outcome="succeeded"}"#, 40.0),
        (r#"rollcall_results_total{cause="no_data",outcome="failed"}"#, 10.0),
        ("rollcall_work_taken_total", 50.0),
        ("rollcall_attempts_total", 50.0),
        ("rollcall_score_duration_seconds_count", 50.0),
        ("rollcall_batch_companies_sum", 50.0),
        (r#"rollcall_batch_companies_bucket{le="4"}"#, value(metrics, "rollcall_batch_companies_count").unwrap()),
        ("rollcall_in_flight", 0.0),
        ("rollcall_confirms_pending", 0.0),
    ];
    for (series, expected) in expected {
        assert_eq!(value(metrics, series), Some(expected), "{series} in {metrics}");
    }
    assert!(value(metrics, "rollcall_score_duration_seconds_sum").unwrap() > 0.0);
}

fn assert_aggregator_counted(metrics: &str) {
    let expected = [
        ("rollcall_aggregator_active", 1.0),
        ("rollcall_last_result_to_done_seconds_count", 1.0),
        ("rollcall_malformed_records_total", 0.0),
    ];
    for (series, expected) in expected {
        assert_eq!(value(metrics, series), Some(expected), "{series} in {metrics}");
    }
}

#[test]
fn a_standby_is_ready_and_says_that_it_is_not_the_one_that_counts() {
    let fleet = Fleet::fresh();
    let active = fleet.aggregator(&[]);
    active.wait_until_event("counting");
    let address = free_address();
    let standby = fleet.aggregator(&["--metrics-addr", &address.to_string()]);
    standby.wait_until_event("standing_by");
    assert_eq!(get(address, "/readyz").unwrap().0, 200);
    assert_eq!(value(&metrics(address), "rollcall_aggregator_active"), Some(0.0));
    drop(active);
    eventually("the standby counts", || value(&metrics(address), "rollcall_aggregator_active").filter(|&active| active == 1.0));
}

#[test]
fn an_address_that_is_taken_is_named() {
    let fleet = Fleet::fresh();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let consumer = ["--model", "m", "--scorer", SCORER, "--metrics-addr", &address];
    for (program, arguments) in [("consumer", &consumer[..]), ("aggregator", &consumer[4..])] {
        let refused = fleet.program(program, arguments).wait(Duration::from_secs(10)).expect(2);
        assert!(["--metrics-addr", &address].iter().all(|words| refused.stderr.contains(words)), "{refused:?}");
    }
    let port_only = fleet.program("aggregator", &["--metrics-addr", "9464"]).wait(Duration::from_secs(10)).expect(2);
    assert!(port_only.stderr.contains("--metrics-addr"), "{port_only:?}");
}

#[test]
fn logs_can_be_json_a_line_from_the_first_to_the_last() {
    let fleet = Fleet::fresh();
    let mut aggregator = fleet.aggregator(&["--log-format", "json"]);
    let mut consumer = fleet.consumer("m", SCORER, &["--threads", "1", "--log-format", "json", "--score-timeout", "1s"]);
    let file = fleet.file("c.csv", "company_id,do\na,\nb,crash\nc,hang\n");
    let enqueue = ["--wait", "--log-format", "json"];
    fleet.enqueue(&file, "m", "j", &enqueue).expect(1);
    consumer.terminate();
    aggregator.terminate();
    for process in [&mut consumer, &mut aggregator] {
        let ended = process.wait(Duration::from_secs(30)).expect(0);
        let lines: Vec<Value> = ended.stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(lines.len() > 2, "{ended:?}");
        for line in &lines {
            assert!(line["timestamp"].is_string() && line["level"].is_string() && line["message"].is_string(), "{line}");
        }
        assert_eq!(ended.stdout, "");
    }
    assert!(consumer.stderr().contains(r#""scorer_log":"scorer is ready""#), "{}", consumer.stderr());
    assert!(aggregator.stderr().contains(r#""job":"j""#), "{}", aggregator.stderr());
}

#[test]
fn a_health_check_asks_the_process_that_serves_on_the_address_and_says_why_it_is_not_healthy() {
    let fleet = Fleet::fresh();
    let address = free_address();
    let ask = |program: &str, arguments: &[&str]| {
        fleet.program(program, &[&["healthcheck"], arguments].concat()).wait(Duration::from_secs(20))
    };
    let unspecified = format!("0.0.0.0:{}", address.port());
    for program in ["aggregator", "consumer"] {
        let none = ask(program, &[]).expect(2);
        assert!(none.error().contains("expected --metrics-addr"), "{none:?}");
        let silent = ask(program, &["--metrics-addr", &unspecified]).expect(1);
        assert!(silent.error().contains(&format!("http://127.0.0.1:{}/readyz", address.port())), "{silent:?}");
    }
    let waiting = free_address().to_string();
    let _fleet = fleet.program("consumer", &["fleet", "--model", "m", "--scorer", SCORER, "--metrics-addr", &waiting]);
    eventually("a fleet without a leader says that it is not ready", || {
        let refused = ask("consumer", &["--metrics-addr", &waiting]).expect(1);
        refused.error().contains("error: not ready: 503 no aggregator").then_some(())
    });
    let _aggregator = fleet.aggregator(&["--metrics-addr", &unspecified]);
    eventually("it is healthy", || (ask("aggregator", &["--metrics-addr", &unspecified]).code == Some(0)).then_some(()));
}

#[test]
fn a_process_waits_at_its_start_for_a_broker_that_starts_later_if_it_is_told_to() {
    let fleet = Fleet::fresh();
    let later = free_address();
    let url = |address: &std::net::SocketAddr| {
        let (user, place) = fleet.url().rsplit_once('@').unwrap();
        format!("{user}@{address}/{}", place.split_once('/').unwrap().1)
    };
    let waiting = fleet.clone().at(&url(&later));
    waiting.aggregator(&[]).wait(Duration::from_secs(30)).expect(3);
    let mut impatient = waiting.aggregator(&["--wait-for-broker", "1s"]);
    impatient.wait(Duration::from_secs(30)).expect(3);
    assert_eq!(impatient.times_event("waiting_for_broker"), 1, "{}", impatient.stderr());
    let aggregator = waiting.aggregator(&["--wait-for-broker", "1m"]);
    let mut status = waiting.start_producer(&["status", "--wait-for-broker", "1m"]);
    aggregator.wait_until_event("waiting_for_broker");
    let relay = rollcall_tests::Relay::listening(TcpListener::bind(later).unwrap(), fleet.url());
    aggregator.wait_until_event("counting");
    status.wait(Duration::from_secs(60)).expect(0);
    drop(relay);
}

#[test]
fn asked_to_stop_while_it_waits_for_a_broker_that_does_not_answer_a_process_ends_and_starts_nothing() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    // Longer than this test waits.
    let url = format!("amqp://{}/%2f?connection_timeout=600000", silent.local_addr().unwrap());
    let fleet = Fleet::fresh().at(&url);
    let consumer = ["--model", "m", "--scorer", SCORER];
    let consumers = [&["fleet", "--min", "2", "--max", "2"], &consumer[..]].concat();
    for (program, arguments) in [("aggregator", &[][..]), ("consumer", &consumer), ("consumer", &consumers)] {
        let mut process = fleet.program(program, &[arguments, &["--wait-for-broker", "10m"]].concat());
        // A program that has connected has installed its signal handlers.
        let _link = silent.accept().unwrap();
        process.terminate();
        let ended = process.wait(Duration::from_secs(60)).expect(0);
        assert!(["taking_work", "fleet_scaled"].iter().all(|event| !ended.stderr.contains(event)), "{ended:?}");
    }
}
