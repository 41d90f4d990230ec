//! Companies that are lost from the broker: commands that wait report it, and how to enqueue them again. A job that only has to
//! wait is not reported.

use std::path::PathBuf;
use std::time::Duration;

use futures_util::StreamExt;
use lapin::options::{BasicConsumeOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use rollcall_tests::{Fleet, SCORER, eventually, free_address, get, metrics, value, within};
use serde_json::Value;

/// The time to detect a stall: ten seconds of quiet, two checks, and a busy machine.
const NOTICED: Duration = Duration::from_secs(90);

fn companies(fleet: &Fleet, count: usize, what: &str) -> PathBuf {
    let rows: String = (0..count).map(|index| format!("c{index},{what}\n")).collect();
    fleet.file(&format!("{what}-{count}.csv"), format!("company_id,do\n{rows}"))
}

/// The job's `stalled` status, once it has one.
fn stalled(fleet: &Fleet, job: &str) -> Value {
    within(NOTICED, &format!("{job} is reported as stalled"), || {
        let stalled = fleet.status(job)["stalled"].clone();
        stalled.is_object().then_some(stalled)
    })
}

#[test]
fn a_job_whose_queue_was_purged_is_told_everywhere_and_mended_by_the_command_that_is_told() {
    let fleet = Fleet::fresh();
    let address = free_address();
    let aggregator = fleet.aggregator(&["--metrics-addr", &address.to_string()]);
    let file = companies(&fleet, 200, "slow");
    let consumer = fleet.consumer("m", SCORER, &["--threads", "1", "--batch", "1", "--prefetch", "1"]);
    let event = fleet.name("events");
    fleet.on_a_channel(async |channel| {
        let durable = QueueDeclareOptions { durable: true, ..Default::default() };
        channel.queue_declare("stalled-events".into(), durable, FieldTable::default()).await.unwrap();
        let (options, none) = (QueueBindOptions::default(), FieldTable::default());
        channel.queue_bind("stalled-events".into(), event.into(), "job.*.stalled".into(), options, none).await.unwrap();
    });
    fleet.enqueue(&file, "m", "j", &[]).expect(0);
    let mut watch = fleet.start_producer(&["watch", "j"]);
    fleet.mid_job("j", 200);
    fleet.purge(&fleet.name("work.m"));
    let stall = stalled(&fleet, "j");
    let (lost, succeeded) = (stall["companies"].as_u64().unwrap(), fleet.status("j")["succeeded"].as_u64().unwrap());
    assert_eq!(lost + succeeded, 200, "{stall}");
    let text = fleet.producer(&["status", "j"]).expect(0).stdout;
    assert!(text.contains("stalled since 2") && text.contains("`producer redrive j --missing --file FILE`"), "{text}");
    watch.wait_until_it_says("`producer redrive j --missing --file FILE`");
    aggregator.wait_until_event("job_stalled");
    eventually("the gauge says so", || (value(&metrics(address), "rollcall_jobs_stalled") == Some(1.0)).then_some(()));
    let (_, signal) = get(address, "/v1/scale/m").unwrap();
    assert!(signal.contains(r#""unfinished":0"#) && signal.contains(&format!(r#""stalled":{lost}"#)), "{signal}");
    let event = fleet.on_a_channel(async |channel| {
        let options = BasicConsumeOptions { no_ack: true, ..Default::default() };
        let mut events = channel.basic_consume("stalled-events".into(), "".into(), options, FieldTable::default()).await.unwrap();
        events.next().await.unwrap().unwrap().data
    });
    let event: Value = serde_json::from_slice(&event).unwrap();
    assert_eq!((&event["type"], &event["data"]["companies"]), (&"rollcall.job.stalled".into(), &stall["companies"]));
    fleet.producer(&["redrive", "j", "--missing", "--file", file.to_str().unwrap()]).expect(0);
    watch.wait(Duration::from_secs(120)).expect(0);
    drop(consumer);
    fleet.finished("j").assert_counted_once(200);
    eventually("the gauge says so", || (value(&metrics(address), "rollcall_jobs_stalled") == Some(0.0)).then_some(()));
    assert_eq!(aggregator.times_event("job_stalled"), 1);
    assert!(fleet.status("j")["stalled"].is_null());
    assert!(fleet.ledger("j").events.iter().all(|(name, _)| name != "stalled"), "it is not recorded");
}

#[test]
fn a_job_that_has_only_to_wait_is_not_told_as_stalled_though_one_that_came_later_is() {
    let fleet = Fleet::fresh();
    let aggregator = fleet.aggregator(&["--log", "info,rollcall_aggregator=debug"]);
    let enqueue = |what: &str, model: &str, more: &[&str]| {
        fleet.enqueue(&companies(&fleet, 3, what), model, model, more).expect(0);
    };
    let alone = ["--threads", "1", "--batch", "1", "--prefetch", "1"];
    let patient = [&alone[..], &["--score-timeout", "6m"]].concat();
    let leaving = [&patient[..], &["--grace", "10m"]].concat();
    // No consumer takes its companies.
    enqueue("slow", "nobody", &[]);
    // The scorer takes minutes for each company.
    let _slow = fleet.consumer("slow", SCORER, &patient);
    enqueue("hang", "slow", &[]);
    // The consumer holds its only company, and is frozen.
    let frozen = fleet.consumer("frozen", SCORER, &patient);
    fleet.enqueue(&companies(&fleet, 1, "hang"), "frozen", "frozen", &[]).expect(0);
    // The consumer is stopping, and may finish what it holds.
    let stopping = fleet.consumer("stopping", SCORER, &leaving);
    fleet.enqueue(&companies(&fleet, 1, "hang"), "stopping", "stopping", &[]).expect(0);
    // All companies wait for a retry, after a delay that only a consumer knows which has ended.
    let retrying = fleet.consumer("retrying", SCORER, &["--threads", "1", "--retry-delays", "7m"]);
    enqueue("busy", "retrying", &[]);
    // All wait for a retry, after a delay from the job's settings.
    let _later = fleet.consumer("later", SCORER, &["--threads", "1"]);
    enqueue("busy", "later", &["--retry-delays", "8m", "--max-attempts", "3"]);
    // The job is paused.
    enqueue("slow", "paused", &[]);
    fleet.producer(&["pause", "paused"]).expect(0);
    let _paused = fleet.consumer("paused", SCORER, &["--threads", "1"]);
    // Its producer is slow, and all companies that its progress events count have results.
    let (_unsealed, _rest) = fleet.unfinished_enqueue("unsealed", 3_000, &[]);
    let _unsealed_consumer = fleet.consumer("m", SCORER, &["--threads", "1"]);
    for model in ["slow", "frozen", "stopping", "retrying", "later", "paused"] {
        let left = if model == "slow" { 2 } else { 0 };
        let queue = fleet.name(&format!("work.{model}"));
        eventually(&format!("{model} is taken"), || (fleet.waiting_in(&queue) == Some(left)).then_some(()));
    }
    for (queue, waiting) in [("retry.retrying.7m", 3), ("retry.later.8m", 3), ("paused.paused", 3)] {
        let queue = fleet.name(queue);
        eventually(&format!("all are in {queue}"), || (fleet.waiting_in(&queue) == Some(waiting)).then_some(()));
    }
    frozen.freeze();
    stopping.terminate();
    // The aggregator queries the consumers each minute, and when a job is opened.
    let is_asked = |line: &str| line.contains("event=\"searched\" model=retrying") && line.contains("420s");
    eventually("it has said after which delays it tries again", || aggregator.stderr().lines().any(is_asked).then_some(()));
    drop(retrying);
    // The last job's companies are lost, which is reported only after all other jobs have been quiet for longer.
    fleet.enqueue(&companies(&fleet, 3, "slow"), "lost", "lost", &[]).expect(0);
    eventually("it is known", || (fleet.status("lost")["total"] == 3).then_some(()));
    fleet.purge(&fleet.name("work.lost"));
    stalled(&fleet, "lost");
    for job in ["nobody", "slow", "frozen", "stopping", "retrying", "later", "paused", "unsealed"] {
        let status = fleet.status(job);
        assert!(status["stalled"].is_null() && status["done_at"].is_null(), "{job}: {status}");
    }
    assert_eq!(aggregator.times_event("job_stalled"), 1);
    frozen.thaw();
}

#[test]
fn results_that_only_a_subscriber_got_are_told_as_lost_and_the_binding_comes_back() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let file = companies(&fleet, 150, "slow");
    let _slow = fleet.consumer("m", SCORER, &["--threads", "1", "--batch", "1"]);
    fleet.enqueue(&file, "m", "j", &[]).expect(0);
    fleet.mid_job("j", 150);
    let (ledger, results) = (fleet.name("ledger"), fleet.name("results"));
    fleet.on_a_channel(async |channel| {
        let durable = QueueDeclareOptions { durable: true, ..Default::default() };
        channel.queue_declare("subscriber".into(), durable, FieldTable::default()).await.unwrap();
        let (options, none) = (QueueBindOptions::default(), FieldTable::default());
        channel.queue_bind("subscriber".into(), results.as_str().into(), "#".into(), options, none.clone()).await.unwrap();
        channel.queue_unbind(ledger.as_str().into(), results.as_str().into(), "#".into(), none).await.unwrap();
    });
    // Producer commands must not be used here: each declares the topology, bindings included.
    eventually("the subscriber has some", || (fleet.waiting_in("subscriber") >= Some(5)).then_some(()));
    let recorded = fleet.answered("j");
    eventually("the binding is back", || (fleet.answered("j") > recorded + 2).then_some(()));
    // If consumers publish to the ledger directly what was not routed there, nothing is lost.
    let status = within(NOTICED, "the job is done, or reported as stalled", || {
        let status = fleet.status("j");
        (status["stalled"].is_object() || status["done_at"].is_string()).then_some(status)
    });
    if status["done_at"].is_null() {
        fleet.producer(&["redrive", "j", "--missing", "--file", file.to_str().unwrap(), "--wait"]).expect(0);
    }
    fleet.finished("j").assert_counted_once(150);
}

#[test]
fn whoever_waits_for_a_job_is_told_that_it_is_gone_when_the_broker_comes_back_without_it() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let _consumer = fleet.consumer("m", SCORER, &["--threads", "1", "--batch", "1"]);
    let file = companies(&fleet, 500, "slow");
    let mut enqueue = fleet.start_enqueue(&file, "m", "j", &["--wait"]);
    fleet.mid_job("j", 500);
    let mut watch = fleet.start_producer(&["watch", "j"]);
    watch.wait_until_it_says("/500 done");
    if fleet.rabbitmqctl("delete_vhost", &[]).is_none() {
        return;
    }
    fleet.rabbitmqctl("add_vhost", &[]);
    fleet.rabbitmqctl("set_permissions", &["guest", ".*", ".*", ".*"]);
    for waiting in [&mut enqueue, &mut watch] {
        let ended = waiting.wait(Duration::from_secs(90)).expect(1);
        let last = ended.stderr.lines().last().unwrap();
        assert!(last.starts_with("error: job j is gone") && last.contains("enqueue the file again"), "{ended:?}");
    }
    let missing = ["redrive", "j", "--missing", "--file", file.to_str().unwrap()];
    let refused = fleet.producer(&missing).expect(2);
    assert!(refused.error().contains("as a new job"), "{refused:?}");
    fleet.enqueue(&companies(&fleet, 5, ""), "m", "j", &["--wait"]).expect(0);
}
