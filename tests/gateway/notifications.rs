//! The notifications that a real object store publishes, and the fixtures made of them.

use std::fs;
use std::process::Command;
use std::time::Duration;

use lapin::options::BasicGetOptions;
use rollcall_tests::{Ceph, Fleet, Gateway, project, skip, within};
use serde_json::Value;

/// A notification that was put into a queue.
struct Notification {
    routing_key: String,
    record: Value,
}

/// Takes the next notification from the queue `notifications`.
fn next(fleet: &Fleet) -> Notification {
    within(Duration::from_secs(120), "a notification comes", || {
        fleet.on_a_channel(async |channel| {
            let message =
                channel.basic_get(fleet.name("notifications").into(), BasicGetOptions { no_ack: true }).await.unwrap()?;
            let body: Value = serde_json::from_slice(&message.delivery.data).unwrap();
            assert_eq!(body["Records"].as_array().map(Vec::len), Some(1), "{body}");
            Some(Notification { routing_key: message.delivery.routing_key.to_string(), record: body["Records"][0].clone() })
        })
    })
}

#[test]
fn the_notification_of_an_upload_has_its_bucket_key_and_etag() {
    let Some(ceph) = Ceph::given() else { return };
    let fleet = Fleet::fresh();
    let bucket = ceph.bucket_with_notifications(fleet.url(), &fleet.name("uploads"));
    fleet.bind_bounded("notifications", "uploads", 10);

    let small = bucket.put("risk/Zürich + 50%25.csv", "company_id\n1\n");
    let notification = next(&fleet);
    assert_eq!(notification.routing_key, bucket.name());
    let object = &notification.record["s3"]["object"];
    assert_eq!(notification.record["s3"]["bucket"]["name"], bucket.name());
    assert_eq!(object["key"], "risk/Zürich + 50%25.csv");
    assert_eq!(object["eTag"], small.etag.as_str());

    let large = bucket.put_in_parts("risk/large.csv", vec![b'x'; (5 << 20) + 1]);
    let notification = next(&fleet);
    assert_eq!(notification.record["eventName"], "ObjectCreated:CompleteMultipartUpload");
    assert_eq!(notification.record["s3"]["object"]["eTag"], large.etag.as_str());
    assert!(large.etag.ends_with("-2"), "{large:?}");
    assert_eq!(bucket.get("risk/large.csv").len(), (5 << 20) + 1);
    assert_eq!(bucket.keys("risk/l"), ["risk/large.csv"]);
}

#[test]
fn an_exchange_that_is_not_there_yet_is_waited_for() {
    let fleet = Fleet::fresh();
    let exchange = fleet.name("uploads");
    let gateway = Gateway::with(
        &fleet,
        &format!("[notifications]\nexchange = {exchange:?}\n\n[[notifications.rule]]\nbucket = \"b\"\nmodel = \"m\"\n"),
    );
    gateway.process.wait_until_event("no_exchange");
    fleet.declare_exchange(&exchange);
    gateway.process.wait_until_event("takes_notifications");
    assert!(!gateway.process.stderr().contains("connection_lost"), "{}", gateway.process.stderr());
}

#[test]
fn the_fixtures_are_what_ceph_sends() {
    let Some(ceph) = Ceph::private() else { return };
    let version = Command::new("/usr/bin/radosgw").arg("--version").output().unwrap();
    let version = String::from_utf8(version.stdout).unwrap();
    if !version.starts_with("ceph version 16.2.") {
        return skip(&format!("the fixtures are of Ceph 16.2, and this is {}", version.trim()));
    }
    let fleet = Fleet::fresh();
    let (sent, kept) = (tempfile::tempdir().unwrap(), project().join("tests/fixtures/notifications"));
    let mut capture = fleet.command("/usr/bin/python3");
    capture.arg(project().join("tests/gateway/capture.py")).arg(sent.path()).envs(ceph.environment());
    fleet.start("capture", capture).wait(Duration::from_secs(120)).expect(0);
    let files: Vec<_> = fs::read_dir(&kept).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    let files: Vec<_> = files.into_iter().filter(|file| file.to_str().unwrap().starts_with("ceph-")).collect();
    assert_eq!(files.len(), fs::read_dir(sent.path()).unwrap().count());
    for file in files {
        let read = |folder: &std::path::Path| fs::read_to_string(folder.join(&file)).unwrap();
        assert_eq!(read(sent.path()), read(&kept), "{}", file.display());
    }
}

#[test]
fn an_object_store_that_was_killed_comes_back_with_its_objects_and_notifications() {
    let Some(ceph) = Ceph::private() else { return };
    let fleet = Fleet::fresh();
    let bucket = ceph.bucket_with_notifications(fleet.url(), &fleet.name("uploads"));
    fleet.bind_bounded("notifications", "uploads", 10);
    let before = bucket.put("risk/before.csv", "company_id\n1\n");
    next(&fleet);
    ceph.kill_9();
    ceph.restart();
    assert_eq!(bucket.get("risk/before.csv"), b"company_id\n1\n");
    let after = bucket.put("risk/after.csv", "company_id\n1\n");
    assert_eq!(before, after);
    assert_eq!(next(&fleet).record["s3"]["object"]["key"], "risk/after.csv");
}
