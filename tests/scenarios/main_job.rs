//! From a file to the done event.

use std::time::Duration;

use rollcall_tests::{Fleet, Outcome, project, skip};

#[test]
fn a_job_ends_with_every_company_counted_once_and_one_done_event() {
    let fleet = Fleet::fresh();
    let (_aggregator, _first, _second) = (fleet.aggregator(&[]), fleet.demo_consumer(), fleet.demo_consumer());
    let companies = fleet.companies(3_000);
    let enqueue = ["enqueue", companies.to_str().unwrap(), "-m", "questionnaire", "--job", "j", "--wait", "--output", "json"];
    let done = fleet.producer(&enqueue).expect(0).json();
    assert_eq!((&done["state"], &done["total"], &done["succeeded"]), (&"succeeded".into(), &3_000.into(), &3_000.into()));
    let record = fleet.finished("j");
    record.assert_counted_once(3_000);
    assert_eq!(record.done[0]["data"], done, "what the command says is what the event says");
    assert_eq!(record.after_done, 0, "an outcome came after the done event");
}

#[test]
fn messages_are_as_the_contract_says() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let _consumer = fleet.consumer("questionnaire", "bayes:deploy/demo/questionnaire.bif", &[]);
    let file = fleet.file("c.csv", "company_id,sector\nacme,Energy\nodd,Astrology\n");
    fleet.enqueue(&file, "questionnaire", "j", &["--wait"]).expect(1);
    let record = fleet.finished("j");
    let acme = record.bodies().find(|body| body["company_id"] == "acme").unwrap();
    assert_eq!((&acme["job"], &acme["index"], &acme["model"]), (&"j".into(), &0.into(), &"questionnaire".into()));
    assert_eq!((&acme["outcome"], &acme["attempt"]), (&"succeeded".into(), &1.into()));
    assert!(acme["scored_at"].as_str().unwrap().ends_with('Z') && acme["duration_ms"].is_number());
    let answer = &acme["prediction"]["AC_1"];
    assert!(answer[0].is_string() && (0.0..=1.0).contains(&answer[1].as_f64().unwrap()), "{answer}");
    assert!(acme["prediction"]["sector"].is_null(), "what is observed is not predicted");
    let odd = record.bodies().find(|body| body["company_id"] == "odd").unwrap();
    assert_eq!(odd["error"]["cause"], "invalid_evidence");
    assert!(odd["error"]["message"].as_str().unwrap().contains("Astrology") && odd.get("prediction").is_none());
    assert_eq!(record.outcomes[&1], [Outcome::Failed("invalid_evidence".to_owned())]);
    let done = &record.done[0];
    assert_eq!(
        (&done["specversion"], &done["type"], &done["subject"]),
        (&"1.0".into(), &"rollcall.job.done".into(), &"j".into())
    );
    let mut keys: Vec<&String> = done["data"].as_object().unwrap().keys().collect();
    keys.sort();
    let promised = [
        "cancelled",
        "causes",
        "companies_per_second",
        "done_at",
        "duplicates",
        "duration_seconds",
        "failed",
        "job",
        "model",
        "opened_at",
        "retries",
        "state",
        "succeeded",
        "total",
    ];
    assert_eq!(keys, promised);
    assert_eq!((&done["data"]["state"], &done["data"]["causes"][0]["cause"]), (&"failed".into(), &"invalid_evidence".into()));
}

/// A subscriber in Python with a queue of its own, bound before the job begins.
fn python_subscriber(fleet: &Fleet, job: &str) -> rollcall_tests::Process {
    let mut command = fleet.command("/usr/bin/python3");
    command.arg(project().join("tests/fixtures/subscriber.py")).args([&fleet.name("results"), &fleet.name("events"), job]);
    let subscriber = fleet.start("subscriber", command);
    subscriber.wait_until_it_says("subscribed");
    subscriber
}

#[test]
fn an_independent_subscriber_sees_every_real_company_once_and_one_done_event() {
    let real = project().join("../shared/data/companies-real.csv.gz");
    if !real.exists() {
        skip(&format!("{} does not exist", real.display()));
        return;
    }
    let fleet = Fleet::fresh();
    let (_aggregator, _first, _second) = (fleet.aggregator(&[]), fleet.demo_consumer(), fleet.demo_consumer());
    let mut subscriber = python_subscriber(&fleet, "real");
    fleet.enqueue(&real, "questionnaire", "real", &["--wait"]).expect(0);
    let seen = subscriber.wait(Duration::from_secs(60)).expect(0).json();
    assert_eq!((&seen["distinct"], &seen["results"]), (&46_964.into(), &46_964.into()));
    assert_eq!((&seen["done"], &seen["state"]), (&1.into(), &"succeeded".into()));
}
