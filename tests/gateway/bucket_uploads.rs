//! An upload to a bucket is one job, whoever is killed meanwhile and however often it is told.

use std::fs;
use std::time::Duration;

use lapin::BasicProperties;
use lapin::options::BasicPublishOptions;
use rollcall_tests::{Bucket, Ceph, FakeClock, Fleet, Gateway, S3, SCORER, eventually, free_address, within};
use serde_json::Value;

/// The configuration of a gateway that enqueues what is put below `risk/`, and writes results into the same bucket.
fn config(fleet: &Fleet, bucket: &Bucket<'_>) -> String {
    let (exchange, name) = (fleet.name("uploads"), bucket.name());
    format!(
        "[notifications]\nexchange = {exchange:?}\n[[notifications.rule]]\nbucket = {name:?}\nprefix = \"risk/\"\nmodel = \"m\"\n\
         options = {{ results_to = \"s3://{name}/results/{{job}}.parquet\" }}\n"
    )
}

/// Starts a gateway with the credentials of the object store.
fn gateway(fleet: &Fleet, ceph: &Ceph, config: &str) -> Gateway {
    let path = fleet.file("gateway.toml", config);
    Gateway::in_environment(fleet, Some(&path), &[], ceph.environment())
}

/// The real companies, or as many made-up ones where they are not at hand.
fn companies(fleet: &Fleet) -> (Vec<u8>, u64) {
    let real = rollcall_tests::project().join("../shared/data/companies-real.csv.gz");
    match fs::read(&real) {
        Ok(companies) => (companies, 46_964),
        Err(_) => (fs::read(fleet.companies(20_000)).unwrap(), 20_000),
    }
}

#[test]
fn an_upload_is_one_job_with_results_in_the_bucket_while_gateways_are_killed_and_it_is_told_three_times() {
    let Some(ceph) = Ceph::given() else { return };
    let fleet = Fleet::fresh();
    let bucket = ceph.bucket_with_notifications(fleet.url(), &fleet.name("uploads"));
    let config = config(&fleet, &bucket);
    let _aggregator = fleet.aggregator(&[]);
    let mut first = gateway(&fleet, &ceph, &config);
    first.process.wait_until_event("takes_notifications");
    let (contents, total) = companies(&fleet);
    let object = bucket.put("risk/companies.csv.gz", &contents);
    let job = eventually("the job is open", || Some(first.jobs().first()?["job"].as_str().unwrap().to_owned()));
    for _ in 0..5 {
        first.process.kill_9();
        tell_again(&fleet, &bucket, &object.etag, contents.len());
        first = gateway(&fleet, &ceph, &config);
        let enqueued = first.get(&format!("/v1/jobs/{job}")).json()["enqueued"].as_u64();
        eventually("it goes on", || {
            let now = first.job(&job);
            (now["state"] != "unsealed" || now["enqueued"].as_u64() > enqueued).then_some(())
        });
    }
    let _consumers = [(); 2].map(|()| fleet.consumer("m", SCORER, &[]));
    let ended = within(Duration::from_secs(180), "the job has succeeded", || {
        Some(first.job(&job)).filter(|job| job["state"] == "succeeded")
    });
    assert_eq!((ended["total"].as_u64(), ended["succeeded"].as_u64()), (Some(total), Some(total)));
    let results = format!("results/{job}.parquet");
    let keys = within(Duration::from_secs(90), "results are in the bucket", || {
        Some(bucket.keys("results/")).filter(|keys| keys.len() == 2)
    });
    assert_eq!(keys, [format!("results/{job}.manifest.json"), results.clone()]);
    let manifest: Value = serde_json::from_slice(&bucket.get(&keys[0])).unwrap();
    assert_eq!((&manifest["job"], &manifest["counts"]["rows"]), (&job.as_str().into(), &total.into()));
    let written = fleet.file("results.parquet", bucket.get(&results));
    let mut sha256 = fleet.command("sha256sum");
    sha256.arg(written);
    let sha256 = fleet.start("sha256sum", sha256).wait(Duration::from_secs(60)).expect(0).stdout;
    assert_eq!(manifest["parts"][0]["sha256"].as_str(), sha256.split(' ').next());
    eventually("no notification is left", || (fleet.waiting_in(&fleet.name("gateway.notifications")) == Some(0)).then_some(()));
    assert_eq!(first.jobs().len(), 1);
}

/// Publishes the notification of an object once more, in the words of Ceph.
fn tell_again(fleet: &Fleet, bucket: &Bucket<'_>, etag: &str, size: usize) {
    let record = serde_json::json!({ "Records": [{
        "eventSource": "ceph:s3", "eventName": "ObjectCreated:Put",
        "s3": { "bucket": { "name": bucket.name() }, "object": { "key": "risk/companies.csv.gz", "size": size, "eTag": etag, "versionId": "" } },
    }] });
    publish(fleet, bucket.name(), record.to_string().as_bytes());
}

fn publish(fleet: &Fleet, key: &str, body: &[u8]) {
    fleet.on_a_channel(async |channel| {
        let (exchange, properties) = (fleet.name("uploads"), BasicProperties::default().with_delivery_mode(2));
        channel
            .basic_publish(exchange.into(), key.into(), BasicPublishOptions::default(), body, properties)
            .await
            .unwrap()
            .await
            .unwrap();
    });
}

#[test]
fn what_cannot_be_a_job_goes_to_the_dead_letters_with_its_reason_and_is_shown() {
    let Some(ceph) = Ceph::given() else { return };
    let fleet = Fleet::fresh();
    let bucket = ceph.bucket_with_notifications(fleet.url(), &fleet.name("uploads"));
    let _aggregator = fleet.aggregator(&[]);
    let gateway = gateway(&fleet, &ceph, &config(&fleet, &bucket));
    gateway.process.wait_until_event("takes_notifications");
    bucket.put("other/companies.csv", "company_id\n1\n");
    bucket.put("risk/empty.csv", "");
    bucket.put("risk/Zürich + 50%25.csv", "company_id\n1\n1\n");
    publish(&fleet, "x", b"no notification");
    let refused = within(Duration::from_secs(60), "three are refused", || {
        let refusals = gateway.get("/v1/refusals").expect(200).json()["refusals"].as_array().unwrap().clone();
        (refusals.len() == 3).then_some(refusals)
    });
    let reasons: Vec<String> = refused.iter().map(|refusal| format!("{}: {}", refusal["subject"], refusal["reason"])).collect();
    for words in [&["empty.csv", "header line"], &["Zürich + 50%25.csv", "row 2"], &["a message", "no JSON"]] {
        assert!(reasons.iter().any(|reason| words.iter().all(|word| reason.contains(word))), "{words:?}: {reasons:?}");
    }
    assert_eq!(fleet.waiting_in(&fleet.name("gateway.dead")), Some(3));
    assert_eq!(gateway.jobs().len(), 0);
    bucket.put("risk/good.csv", "company_id\n1\n");
    eventually("a good one is a job", || (gateway.jobs().len() == 1).then_some(()));
}

#[test]
fn what_was_not_scored_of_a_cancelled_job_is_enqueued_again_from_its_object_by_a_request() {
    let Some(ceph) = Ceph::given() else { return };
    let fleet = Fleet::fresh();
    let bucket = ceph.bucket_with_notifications(fleet.url(), &fleet.name("uploads"));
    let _aggregator = fleet.aggregator(&[]);
    let gateway = gateway(&fleet, &ceph, &config(&fleet, &bucket));
    gateway.process.wait_until_event("takes_notifications");
    bucket.put("risk/c.csv", "company_id,do\n1,succeed\n2,succeed\n3,succeed\n");
    let job = eventually("the job is enqueued", || {
        let found = gateway.jobs().first()?.clone();
        (found["state"] == "running").then(|| found["job"].as_str().unwrap().to_owned())
    });
    gateway.post(&format!("/v1/jobs/{job}/cancel"), "").expect(200);
    let _consumer = fleet.consumer("m", SCORER, &[]);
    let redriven = gateway.post(&format!("/v1/jobs/{job}/redrive"), r#"{"missing":true}"#).expect(202).json();
    assert_eq!(redriven["companies"], 3, "{redriven}");
    assert_eq!(gateway.wait_until(&job, "succeeded")["succeeded"], 3);
}

/// A gateway whose object store does not answer, with the notification of an upload that it has put off.
fn that_waits_for_its_store(fleet: &Fleet) -> (Gateway, String) {
    fleet.declare_exchange(&fleet.name("uploads"));
    let config = format!(
        "[notifications]\nexchange = {:?}\n[[notifications.rule]]\nbucket = \"bucket\"\nmodel = \"m\"\n",
        fleet.name("uploads")
    );
    let path = fleet.file("gateway.toml", &config);
    let nowhere = format!("http://{}", free_address());
    let gateway = Gateway::in_environment(fleet, Some(&path), &[], S3::environment(&nowhere));
    gateway.process.wait_until_event("takes_notifications");
    let record = serde_json::json!({ "Records": [{
        "eventName": "s3:ObjectCreated:Put", "eventSource": "minio:s3",
        "s3": { "bucket": { "name": "bucket" }, "object": { "key": "c.csv", "eTag": ETAG, "size": CONTENTS.len() } },
    }]});
    publish(fleet, "x", record.to_string().as_bytes());
    let waits = |delay: &str| fleet.waiting_in(&fleet.name(&format!("gateway.notifications.{delay}"))) == Some(1);
    within(Duration::from_secs(90), "it is put off", || (waits("5s") || waits("30s")).then_some(()));
    (gateway, nowhere)
}

const CONTENTS: &str = "company_id\n1\n2\n";
/// Its MD5.
const ETAG: &str = "18a111a2d1b482c83ee943eee59865dc";

#[test]
fn an_object_whose_store_is_away_is_a_job_once_it_is_back() {
    let fleet = Fleet::fresh();
    let Some(s3) = S3::start(&fleet) else { return };
    s3.put("c.csv", CONTENTS);
    let _aggregator = fleet.aggregator(&[]);
    let (mut gateway, _) = that_waits_for_its_store(&fleet);
    gateway.process.kill_9();
    let next = Gateway::in_environment(&fleet, Some(&fleet.path("gateway.toml")), &[], S3::environment(&s3.endpoint()));
    let job = within(Duration::from_secs(90), "it is a job", || next.jobs().first().cloned());
    let enqueued = next.wait_until(job["job"].as_str().unwrap(), "running");
    assert_eq!((&enqueued["total"], fleet.waiting_in(&fleet.name("gateway.dead"))), (&2.into(), Some(0)));
}

#[test]
fn an_object_whose_store_is_away_for_a_day_goes_to_the_dead_letters() {
    let Some(clock) = FakeClock::installed() else { return };
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let (mut gateway, nowhere) = that_waits_for_its_store(&fleet);
    gateway.process.kill_9();
    let environment = S3::environment(&nowhere).into_iter().chain(clock.environment("+25h"));
    let next_day = Gateway::in_environment(&fleet, Some(&fleet.path("gateway.toml")), &[], environment);
    let refusal = within(Duration::from_secs(120), "it is given up", || {
        next_day.get("/v1/refusals").expect(200).json()["refusals"].as_array().unwrap().first().cloned()
    });
    assert_eq!((&refusal["trigger"], &refusal["subject"]), (&"notifications".into(), &"bucket/c.csv".into()));
    assert_eq!(fleet.waiting_in(&fleet.name("gateway.dead")), Some(1));
}
