//! An operator's policy removes companies from their queues: they fail with a cause that names the policy, not a crash.

use std::time::Duration;

use lapin::BasicProperties;
use lapin::options::BasicPublishOptions;
use lapin::types::{AMQPValue, FieldTable, LongString};
use rollcall_tests::{Fleet, SCORER, eventually, free_address, metrics, value, within};

fn companies(fleet: &Fleet, count: usize, what: &str) -> std::path::PathBuf {
    let rows: String = (0..count).map(|index| format!("c{index},{what}\n")).collect();
    fleet.file("c.csv", format!("company_id,do\n{rows}"))
}

/// Sets a policy for every queue of the fleet. Returns false if the tests do not administer the broker.
fn set_policy(fleet: &Fleet, definition: &str) -> bool {
    fleet.rabbitmqctl("set_policy", &["--apply-to", "queues", "everything", "^rollcall\\.", definition]).is_some()
}

/// Asserts that all failures of `job` have this cause, and that the message says how to find the policy.
fn assert_all_failed_for(fleet: &Fleet, job: &str, cause: &str) {
    let failures = fleet.producer(&["failures", job, "--output", "json"]).expect(0).json();
    let causes: Vec<&str> = failures.as_array().unwrap().iter().map(|cause| cause["cause"].as_str().unwrap()).collect();
    assert_eq!(causes, [cause]);
    let text = fleet.producer(&["failures", job]).expect(0).stdout;
    assert!(text.contains("rabbitmqctl list_policies") && text.contains("list_queues name policy"), "{text}");
}

#[test]
fn companies_that_a_policy_lets_expire_fail_for_that_and_one_line_of_log_tells_how_many() {
    let fleet = Fleet::fresh();
    if !set_policy(&fleet, r#"{"message-ttl":1500}"#) {
        return;
    }
    let aggregator = fleet.aggregator(&[]);
    let _consumer = fleet.consumer("m", SCORER, &["--threads", "1", "--batch", "1", "--prefetch", "1"]);
    let done = fleet.enqueue(&companies(&fleet, 60, "slow"), "m", "j", &["--wait", "--output", "json"]).expect(1).json();
    assert_eq!(done["causes"][0]["cause"], "expired_in_queue", "{done}");
    assert_all_failed_for(&fleet, "j", "expired_in_queue");
    fleet.finished("j").assert_counted_once(60);
    aggregator.wait_until_event("dead_letters");
    assert!((1..=2).contains(&aggregator.times_event("dead_letters")), "not a line for each");
    assert_eq!(aggregator.times_it_says("consumer_crashed"), 0);
}

#[test]
fn companies_of_a_paused_job_that_expire_fail_too_and_do_not_vanish() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    if !set_policy(&fleet, r#"{"message-ttl":1500}"#) {
        return;
    }
    fleet.enqueue(&companies(&fleet, 50, "slow"), "m", "j", &[]).expect(0);
    fleet.producer(&["pause", "j"]).expect(0);
    let _consumer = fleet.consumer("m", SCORER, &["--threads", "1"]);
    eventually("all have expired", || (fleet.status("j")["failed"] == 50).then_some(()));
    assert_all_failed_for(&fleet, "j", "expired_in_queue");
}

#[test]
fn companies_that_a_policy_lets_be_delivered_only_twice_fail_for_that() {
    let fleet = Fleet::fresh();
    if !set_policy(&fleet, r#"{"delivery-limit":1}"#) {
        return;
    }
    let _aggregator = fleet.aggregator(&[]);
    fleet.enqueue(&companies(&fleet, 40, "slow"), "m", "j", &[]).expect(0);
    for _ in 0..3 {
        let mut killed = fleet.consumer("m", SCORER, &["--threads", "1", "--batch", "4"]);
        let taken = fleet.status("j")["succeeded"].as_u64().unwrap();
        eventually("it has some more", || (fleet.status("j")["succeeded"].as_u64() > Some(taken)).then_some(()));
        killed.kill_9();
    }
    let _consumer = fleet.consumer("m", SCORER, &["--threads", "1"]);
    let record = fleet.finished("j");
    record.assert_counted_once(40);
    assert_eq!(record.causes().into_keys().collect::<Vec<_>>(), ["delivery_limit"]);
    assert_all_failed_for(&fleet, "j", "delivery_limit");
}

/// Puts a message with these headers on the dead-letter queue of `m`.
fn put_on_the_dead_queue(fleet: &Fleet, headers: &[(&str, AMQPValue)]) {
    let mut table = FieldTable::default();
    for (key, value) in headers {
        table.insert((*key).into(), value.clone());
    }
    let (queue, properties) = (fleet.name("dead.m"), BasicProperties::default().with_headers(table));
    fleet.on_a_channel(async |channel| {
        let options = BasicPublishOptions::default();
        channel.basic_publish("".into(), queue.into(), options, b"{}", properties).await.unwrap().await.unwrap();
    });
}

#[test]
fn a_dead_letter_that_no_result_can_carry_is_answered_for_and_one_that_nobody_knows_is_dropped_and_counted() {
    let fleet = Fleet::fresh();
    let address = free_address();
    let aggregator = fleet.aggregator(&["--metrics-addr", &address.to_string()]);
    fleet.enqueue(&companies(&fleet, 1, ""), "m", "j", &[]).expect(0);
    fleet.purge(&fleet.name("work.m"));
    let text = |text: String| AMQPValue::LongString(LongString::from(text));
    put_on_the_dead_queue(&fleet, &[("nobody", text("knows".to_owned()))]);
    let job = [("job", text("j".to_owned())), ("index", AMQPValue::LongLongInt(0))];
    put_on_the_dead_queue(&fleet, &[&job[..], &[("company_id", text("x".repeat(120_000)))]].concat());
    let record = fleet.finished("j");
    assert_eq!(record.causes().into_iter().collect::<Vec<_>>(), [("malformed_work", 1)]);
    eventually("both are counted", || {
        let metrics = metrics(address);
        let counted = |cause| value(&metrics, &format!("rollcall_dead_letters_total{{cause=\"{cause}\"}}"));
        (counted("malformed_work") == Some(1.0) && counted("dropped") == Some(1.0)).then_some(())
    });
    aggregator.wait_until_it_says("cause=\"dropped\"");
    assert_eq!(aggregator.times_event("became_leader"), 1);
    let _consumer = fleet.consumer("m", SCORER, &["--threads", "1"]);
    fleet.enqueue(&companies(&fleet, 5, ""), "m", "next", &["--wait"]).expect(0);
}

#[test]
fn a_full_dead_queue_drops_nothing_though_a_policy_limits_its_length() {
    let fleet = Fleet::fresh();
    if fleet.rabbitmqctl("set_policy", &["--apply-to", "queues", "dead", "\\.dead\\.", r#"{"max-length":3}"#]).is_none() {
        return;
    }
    fleet.rabbitmqctl("set_policy", &["--apply-to", "queues", "work", "\\.work\\.", r#"{"message-ttl":100}"#]);
    fleet.enqueue(&companies(&fleet, 30, ""), "m", "j", &[]).expect(0);
    let waiting_in = |queue: &str| fleet.waiting_in(&fleet.name(queue));
    eventually("all have expired", || (waiting_in("work.m") == Some(0)).then_some(()));
    eventually("the dead queue is full", || (waiting_in("dead.m") >= Some(3)).then_some(()));
    let _aggregator = fleet.aggregator(&[]);
    // The broker sends what the full queue has refused again after three minutes.
    within(Duration::from_secs(270), "none is missing", || (fleet.answered("j") == 30).then_some(()));
    let record = fleet.finished("j");
    record.assert_counted_once(30);
    assert_eq!(record.causes().into_iter().collect::<Vec<_>>(), [("expired_in_queue", 30)]);
}

/// Limits the length of a queue whose name matches, with `reject-publish`. Returns false if the tests do not administer the
/// broker.
fn bound(fleet: &Fleet, queue: &str, most: u32) -> bool {
    let definition = format!(r#"{{"max-length":{most},"overflow":"reject-publish"}}"#);
    fleet.rabbitmqctl("set_policy", &["--apply-to", "queues", "bound", queue, &definition]).is_some()
}

#[test]
fn companies_that_a_full_queue_of_retries_refuses_are_held_and_other_jobs_go_on() {
    let fleet = Fleet::fresh();
    if !bound(&fleet, "\\.retry\\.", 1) {
        return;
    }
    let _aggregator = fleet.aggregator(&[]);
    let consumer = fleet.consumer("m", SCORER, &["--threads", "1", "--batch", "1"]);
    // Longer than a consumer waits before it tries a refused move again: the queue is still full then.
    let retry = ["--retry-delays", "12s", "--max-attempts", "2"];
    // RabbitMQ tells a publisher that a queue has more than it may, and takes what has been sent by then: it must have more before.
    fleet.enqueue(&companies(&fleet, 3, "busy"), "m", "first", &retry).expect(0);
    eventually("the queue is full", || {
        let waiting = fleet.waiting_in(&fleet.name("retry.m.12s"));
        (waiting >= Some(2) || consumer.times_event("queue_full") > 0).then_some(())
    });
    fleet.enqueue(&companies(&fleet, 8, "busy"), "m", "refused", &retry).expect(0);
    consumer.wait_until_event("queue_full");
    let slow = fleet.file("slow.csv", "company_id,do\nacme,slow\n");
    fleet.enqueue(&slow, "m", "other", &["--wait"]).expect(0);
    let record = fleet.finished("refused");
    record.assert_counted_once(8);
    assert_eq!(record.causes().into_iter().collect::<Vec<_>>(), [("busy", 8)]);
    assert!(record.bodies().all(|body| body["attempt"] == 2), "each has had both of its attempts");
    assert_eq!(consumer.times_event("connection_lost"), 0);
}

#[test]
fn resumed_companies_that_a_full_queue_of_work_refuses_are_put_back_when_it_has_room_by_the_same_leader() {
    let fleet = Fleet::fresh();
    let aggregator = fleet.aggregator(&[]);
    fleet.enqueue(&companies(&fleet, 3_000, ""), "m", "j", &[]).expect(0);
    fleet.producer(&["pause", "j"]).expect(0);
    let mut consumer = fleet.consumer("m", SCORER, &["--threads", "1"]);
    eventually("all are set aside", || (fleet.waiting_in(&fleet.name("paused.j")) == Some(3_000)).then_some(()));
    consumer.terminate();
    consumer.wait(std::time::Duration::from_secs(20)).expect(0);
    if !bound(&fleet, "\\.work\\.", 5) {
        return;
    }
    fleet.producer(&["resume", "j"]).expect(0);
    aggregator.wait_until_event("queue_full");
    let _consumer = fleet.consumer("m", SCORER, &["--threads", "1"]);
    fleet.finished("j").assert_counted_once(3_000);
    assert_eq!((aggregator.times_event("became_leader"), aggregator.times_event("connection_lost")), (1, 0));
}
