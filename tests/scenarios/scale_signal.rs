//! What an autoscaler reads: how much work a model has left.

use std::net::SocketAddr;

use rollcall_tests::{Fleet, SCORER, eventually, free_address, get, metrics, value};
use serde_json::Value;

/// The signal of `model`, once `condition` holds for it.
fn signal_with(address: SocketAddr, model: &str, what: &str, condition: impl Fn(&Value) -> bool) -> Value {
    eventually(what, || {
        let (status, body) = get(address, &format!("/v1/scale/{model}"))?;
        let signal: Value = serde_json::from_str(&body).ok().filter(|_| status == 200)?;
        condition(&signal).then_some(signal)
    })
}

fn unfinished(companies: u64) -> impl Fn(&Value) -> bool {
    move |signal| signal["unfinished"] == companies
}

/// A leader and a standby, and where each answers.
fn two_aggregators(fleet: &Fleet) -> ([rollcall_tests::Process; 2], [SocketAddr; 2]) {
    let addresses = [free_address(), free_address()];
    let [first, second] = [(addresses[0], "counting"), (addresses[1], "standing_by")].map(|(address, event)| {
        let aggregator = fleet.aggregator(&["--metrics-addr", &address.to_string()]);
        aggregator.wait_until_event(event);
        aggregator
    });
    ([first, second], addresses)
}

#[test]
fn leader_and_standby_say_how_much_work_waits_though_nobody_consumes_it() {
    let fleet = Fleet::fresh();
    let ([_leader, _standby], addresses) = two_aggregators(&fleet);
    fleet.enqueue(&fleet.companies(240), "m", "j", &[]).expect(0);
    for address in addresses {
        let signal = signal_with(address, "m", "240 companies are unfinished", unfinished(240));
        assert_eq!((&signal["model"], signal["seconds_per_company"].as_f64()), (&Value::from("m"), Some(1.0)));
        assert_eq!((signal["work_seconds"].as_f64(), signal["consumers_wanted"].as_u64()), (Some(240.0), Some(8)));
        let (_, wanted) = get(address, "/v1/scale/m?target=30s&threads=2").unwrap();
        assert!(wanted.contains(r#""consumers_wanted":4"#), "{wanted}");
        let (_, idle) = get(address, "/v1/scale/another").unwrap();
        assert!(idle.contains(r#""unfinished":0"#) && idle.contains(r#""consumers_wanted":0"#), "{idle}");
        let metrics = metrics(address);
        assert_eq!(value(&metrics, r#"rollcall_scale_work_seconds{model="m"}"#), Some(240.0), "{metrics}");
        assert_eq!(value(&metrics, r#"rollcall_scale_consumers_wanted{model="m"}"#), Some(8.0), "{metrics}");
    }
}

#[test]
fn the_signal_is_measured_and_falls_to_zero_with_the_job() {
    let fleet = Fleet::fresh();
    let ([_leader, _standby], addresses) = two_aggregators(&fleet);
    let rows: String = (0..50).map(|row| format!("{row},slow\n")).collect();
    let file = fleet.file("c.csv", format!("company_id,do\n{rows}"));
    fleet.enqueue(&file, "m", "j", &[]).expect(0);
    let _consumer = fleet.consumer("m", SCORER, &["--threads", "2"]);
    for address in addresses {
        let measured =
            |signal: &Value| (0.2..0.95).contains(&signal["seconds_per_company"].as_f64().unwrap()) && signal["unfinished"] == 0;
        let signal = signal_with(address, "m", "the job is done, and its speed is known", measured);
        assert_eq!((signal["work_seconds"].as_f64(), signal["consumers_wanted"].as_u64()), (Some(0.0), Some(0)));
        assert_eq!(value(&metrics(address), r#"rollcall_scale_unfinished{model="m"}"#), Some(0.0));
    }
}

#[test]
fn companies_of_a_paused_job_are_no_work_until_it_is_resumed() {
    let fleet = Fleet::fresh();
    let ([_leader, _standby], [address, _]) = two_aggregators(&fleet);
    fleet.enqueue(&fleet.companies(30), "m", "j", &[]).expect(0);
    signal_with(address, "m", "all are unfinished", unfinished(30));
    fleet.producer(&["pause", "j"]).expect(0);
    let signal = signal_with(address, "m", "none is to be scored now", unfinished(0));
    assert_eq!(signal["paused"], 30);
    fleet.producer(&["resume", "j"]).expect(0);
    signal_with(address, "m", "all are to be scored again", unfinished(30));
}

#[test]
fn companies_between_two_attempts_are_no_work_until_the_next_is_due_and_a_fleet_waits_for_that_without_a_consumer() {
    let fleet = Fleet::fresh();
    let ([_leader, _standby], addresses) = two_aggregators(&fleet);
    let consumers = fleet.program("consumer", &["fleet", "--model", "m", "--scorer", SCORER, "--idle", "1s"]);
    let file = fleet.file("c.csv", "company_id,do\n1,busy\n2,busy\n3,\n");
    fleet.enqueue(&file, "m", "j", &["--max-attempts", "2", "--retry-delays", "30s"]).expect(0);
    eventually("leader and standby say that two companies are due later, and that there is no work now", || {
        let is_later = |address| {
            let (_, signal) = get(address, "/v1/scale/m")?;
            let signal: Value = serde_json::from_str(&signal).ok()?;
            let counts = ["unfinished", "due_later", "work_seconds", "consumers_wanted"].map(|key| signal[key].as_f64());
            let gauge = value(&metrics(address), r#"rollcall_scale_due_later{model="m"}"#);
            (counts == [Some(0.0), Some(2.0), Some(0.0), Some(0.0)] && gauge == Some(2.0)).then_some(())
        };
        addresses.into_iter().try_for_each(is_later)
    });
    let times = |to: &str| consumers.stderr().lines().filter(|line| line.contains("fleet_scaled") && line.contains(to)).count();
    eventually("there is no consumer", || (times("to=0") == 1).then_some(()));
    let record = fleet.finished("j");
    assert_eq!((times("to=1"), record.outcomes.len()), (2, 3), "{}", consumers.stderr());
    assert!(record.bodies().all(|body| body["outcome"] == "succeeded" || body["attempt"] == 2));
}

#[test]
fn who_asks_wrongly_is_told_what_to_ask() {
    let fleet = Fleet::fresh();
    let address = free_address();
    let aggregator = fleet.aggregator(&["--metrics-addr", &address.to_string()]);
    aggregator.wait_until_event("counting");
    signal_with(address, "m", "it answers", unfinished(0));
    for (path, words) in [
        ("/v1/scale/m?target=0s", "above zero"),
        ("/v1/scale/m?target=soon", "such as 500ms, 30s or 2m"),
        ("/v1/scale/m?threads=0", "from 1 to 65535"),
        ("/v1/scale/m?threads=two", r#"from 1 to 65535, found "two""#),
        ("/v1/scale/m?threads=65536", "from 1 to 65535"),
        ("/v1/scale/m?thread=2", r#"found "thread""#),
        ("/v1/scale/m?target=1s&target=2s", "found target twice"),
        ("/v1/scale/m?%ff", "found"),
        ("/v1/scale/a%20b", "expected /v1/scale/MODEL"),
        ("/v1/scale/%ff", "expected /v1/scale/MODEL"),
    ] {
        let (status, body) = get(address, path).unwrap();
        assert!(status == 400 && body.contains(words) && body.lines().count() == 1, "{path}: {status} {body}");
        assert!(body.starts_with("expected") || body.starts_with("target: expected"), "{path}: {body}");
        assert!(!body.contains("eserialize") && !body.contains("Invalid URL"), "{path}: {body}");
    }
}

#[test]
fn a_standby_whose_leader_is_frozen_stops_answering_instead_of_repeating_what_was() {
    let fleet = Fleet::fresh();
    let ([leader, _standby], [_, address]) = two_aggregators(&fleet);
    fleet.enqueue(&fleet.companies(10), "m", "j", &[]).expect(0);
    signal_with(address, "m", "the standby knows", unfinished(10));
    leader.freeze();
    let error = eventually("the standby says that it has heard of no leader", || {
        get(address, "/v1/scale/m").filter(|(status, _)| *status == 503).map(|(_, body)| body)
    });
    assert!(error.contains("no leader has been heard of for 10 s"), "{error}");
    let is_gone = || value(&metrics(address), r#"rollcall_scale_unfinished{model="m"}"#).is_none();
    eventually("its gauges are gone", || is_gone().then_some(()));
    leader.thaw();
    signal_with(address, "m", "the leader answers again", unfinished(10));
}
