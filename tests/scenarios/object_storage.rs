//! Files in object storage and on web servers: read and written as those of this machine are, whole or not at all.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use parquet::file::reader::{FileReader, SerializedFileReader};
use rollcall_tests::{Ended, Fleet, Process, S3, SCORER, eventually, free_address, project};
use serde_json::{Value, json};

const DEADLINE: Duration = Duration::from_secs(120);

fn gzip(text: &str) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(text.as_bytes()).unwrap();
    packed.finish().unwrap()
}

fn unzip(packed: &[u8]) -> String {
    let mut text = String::new();
    GzDecoder::new(packed).read_to_string(&mut text).unwrap();
    text
}

fn rows(companies: u64) -> String {
    let rows: String = (0..companies).map(|row| format!("c{row},{row}\n")).collect();
    format!("company_id,sector\n{rows}")
}

/// By a program that shares no code with the producer.
fn sha256(fleet: &Fleet, contents: &[u8]) -> String {
    let file = fleet.file("hashed", contents);
    let output = Command::new("sha256sum").arg(file).output().unwrap();
    String::from_utf8(output.stdout).unwrap().split_whitespace().next().unwrap().to_owned()
}

fn json_of(contents: &[u8]) -> Value {
    serde_json::from_slice(contents).unwrap()
}

/// Starts a web server of the fleet's folder that closes each connection after `bytes`.
fn web_server(fleet: &Fleet, bytes: usize, more: &[&str]) -> (Process, String) {
    let address = free_address();
    let mut server = Command::new("/usr/bin/python3");
    server.arg(project().join("tests/fixtures/web.py")).arg(fleet.path(""));
    server.args([&address.port().to_string(), &bytes.to_string()]).args(more);
    let server = fleet.start("web", server);
    eventually("the web server answers", || std::net::TcpStream::connect(address).ok());
    (server, format!("http://ann:very-secret@{address}"))
}

fn web_producer(fleet: &Fleet, arguments: &[&str]) -> Ended {
    let mut command = fleet.producer_command(arguments);
    command.env("NO_PROXY", "127.0.0.1");
    fleet.start("producer", command).wait(DEADLINE)
}

#[test]
fn companies_come_from_a_bucket_and_results_go_to_it_with_a_manifest_that_is_true() {
    let fleet = Fleet::fresh();
    let Some(s3) = S3::start(&fleet) else { return };
    let _aggregator = fleet.aggregator(&[]);
    let _consumer = fleet.consumer("m", SCORER, &["--threads", "1"]);
    s3.put("in/companies.csv.gz", gzip(&rows(500)));
    let enqueue = ["enqueue", "s3://bucket/in/companies.csv.gz", "--model", "m", "--job", "j", "--wait"];
    s3.producer(&fleet, &enqueue).expect(0);
    fleet.finished("j").assert_counted_once(500);
    let status = fleet.status("j");
    assert_eq!(status["source"], "s3://bucket/in/companies.csv.gz");
    assert!(status["content_hash"].as_str().unwrap().starts_with("etag:"), "{status}");
    for (name, format, compression) in [("r.parquet", "parquet", Value::Null), ("R.CSV.gz", "csv", json!("gzip"))] {
        let to = format!("s3://bucket/out/{name}");
        let written = s3.producer(&fleet, &["results", "j", "--to", &to, "--output", "json"]).expect(0).json();
        let manifest = format!("out/{}.manifest.json", name.split('.').next().unwrap());
        assert_eq!((&written["file"], &written["manifest"]), (&json!(to), &json!(format!("s3://bucket/{manifest}"))));
        let (contents, manifest) = (s3.object(&format!("out/{name}")).unwrap(), json_of(&s3.object(&manifest).unwrap()));
        let part = json!({
            "file": name, "format": format, "compression": compression, "bytes": contents.len(), "rows": 500,
            "sha256": sha256(&fleet, &contents),
        });
        assert_eq!(manifest["parts"], json!([part]));
        let counts = json!({ "total": 500, "succeeded": 500, "failed": 0, "cancelled": 0, "rows": 500 });
        assert_eq!((&manifest["counts"], &manifest["job"], &manifest["state"]), (&counts, &json!("j"), &json!("succeeded")));
        assert_eq!((&manifest["type"], &manifest["partial"]), (&json!("rollcall.results.v1"), &json!(false)));
        if format == "csv" {
            assert_eq!(unzip(&contents).lines().count(), 501);
        } else {
            let file = File::open(fleet.file("r.parquet", &contents)).unwrap();
            assert_eq!(SerializedFileReader::new(file).unwrap().metadata().file_metadata().num_rows(), 500);
        }
    }
    assert_eq!(s3.uploads(), [] as [String; 0]);
    // Results in a bucket can be enqueued as companies: Parquet in parts, and by whoever knows nothing of S3.
    s3.put("public.parquet", s3.object("out/r.parquet").unwrap());
    for file in ["s3://bucket/out/r.parquet", &s3.web_url("public.parquet"), &s3.web_url("in/companies.csv.gz")] {
        let read = s3.producer(&fleet, &["enqueue", file, "--model", "m", "--dry-run"]).expect(0);
        assert!(read.stdout.contains(&format!("{file}: 500 companies")), "{read:?}");
    }
}

#[test]
fn a_killed_producer_is_followed_by_one_that_goes_on_in_the_same_object_and_in_no_other() {
    const COMPANIES: u64 = 40_000;
    let fleet = Fleet::fresh();
    let Some(s3) = S3::start(&fleet) else { return };
    let _aggregator = fleet.aggregator(&[]);
    let _consumer = fleet.consumer("m", SCORER, &["--threads", "1"]);
    s3.put("companies.csv", rows(COMPANIES));
    s3.put("same.csv", rows(COMPANIES));
    let enqueue = ["enqueue", "s3://bucket/companies.csv", "--model", "m", "--job", "j", "--priority", "normal"];
    let mut killed = s3.start_producer(&fleet, &enqueue);
    eventually("the ledger has a position", || fleet.status("j")["enqueued"].as_u64().filter(|&enqueued| enqueued > 0));
    killed.kill_9();
    assert_eq!(fleet.status("j")["state"], "unsealed", "the job was sealed before the test has begun: make it longer");
    let go_on = |more: &[&str]| s3.producer(&fleet, &[&["enqueue", "--continue", "j"], more].concat());
    s3.put("companies.csv", format!("{}x,1\n", rows(COMPANIES)));
    let refused = go_on(&["s3://bucket/companies.csv"]).expect(2);
    assert!(refused.error().contains("the file that job j was opened with (s3://bucket/companies.csv, etag:"), "{refused:?}");
    // The same bytes have the same etag, wherever they are.
    let resumed = go_on(&["s3://bucket/same.csv", "--wait"]).expect(0);
    assert!(resumed.stderr.contains("going on after"), "{resumed:?}");
    fleet.finished("j").assert_counted_once(COMPANIES);
    s3.put("companies.csv", rows(COMPANIES));
    let redriven = s3.producer(&fleet, &["redrive", "j", "--index", "3", "--file", "s3://bucket/companies.csv", "--wait"]);
    assert!(redriven.expect(0).stdout.contains("succeeded"));
}

/// Runs a job whose results take 108 MB as JSON Lines.
fn job_with_large_results(fleet: &Fleet) -> impl Drop + use<> {
    let aggregator = fleet.aggregator(&[]);
    let _consumer = fleet.consumer("m", SCORER, &["--threads", "1"]);
    let text = "x".repeat(900_000);
    let rows: String = (0..120).map(|row| format!("{{\"company_id\":\"c{row}\",\"text\":\"{text}\"}}\n")).collect();
    fleet.enqueue(&fleet.file("large.jsonl", rows), "m", "j", &["--wait"]).expect(0);
    aggregator
}

#[test]
fn large_results_are_uploaded_in_parts_and_interrupted_ones_leave_neither_an_object_nor_parts() {
    let fleet = Fleet::fresh();
    let Some(s3) = S3::start(&fleet) else { return };
    let _aggregator = job_with_large_results(&fleet);
    let mut interrupted = s3.start_producer(&fleet, &["results", "j", "--to", "s3://bucket/r.jsonl"]);
    eventually("an upload has begun", || (!s3.uploads().is_empty()).then_some(()));
    // So that it cannot be complete before the signal comes.
    s3.freeze();
    interrupted.interrupt();
    s3.thaw();
    let ended = interrupted.wait(DEADLINE).expect(130);
    assert!(ended.stderr.contains("interrupted; no file was written"), "{ended:?}");
    assert_eq!((s3.uploads(), s3.keys()), (vec![], vec![]));
    let mut whole = s3.start_producer(&fleet, &["results", "j", "--to", "s3://bucket/r.jsonl"]);
    let mut peak = 0;
    let ended = eventually("the results are written", || {
        peak = whole.peak_kb().unwrap_or(peak);
        whole.ended()
    });
    ended.expect(0);
    let (contents, manifest) = (s3.object("r.jsonl").unwrap(), json_of(&s3.object("r.manifest.json").unwrap()));
    assert_eq!(manifest["parts"][0]["sha256"], sha256(&fleet, &contents).as_str());
    assert_eq!(contents.iter().filter(|byte| **byte == b'\n').count(), 120);
    assert!(contents.len() > 100_000_000 && s3.uploads().is_empty());
    assert!(peak < 130_000, "it took {peak} kB");
}

#[test]
fn what_cannot_be_read_or_written_is_told_in_one_line_with_what_to_do_and_without_secrets() {
    let fleet = Fleet::fresh();
    let Some(s3) = S3::start(&fleet) else { return };
    s3.put("c.csv", rows(3));
    let dry_run = |file: &str, variable: &str, value: &str| {
        let mut command = s3.producer_command(&fleet, &["enqueue", file, "--model", "m", "--dry-run"]);
        command.env(variable, value);
        fleet.start("producer", command).wait(DEADLINE)
    };
    let nowhere = format!("http://{}", free_address());
    for (file, variable, value, code, words) in [
        ("s3://bucket/no-such.csv", "", "", 2, "found none of this name; check the URL"),
        ("s3://no-such-bucket/c.csv", "", "", 2, "expected a bucket"),
        ("s3://bucket/c.csv", "AWS_ENDPOINT_URL", nowhere.as_str(), 1, "Connection refused"),
        ("s3://bucket/c.csv", "AWS_ENDPOINT_URL", "http://no-such-host.invalid", 1, "look at the server and the network"),
        ("s3://bucket/c.csv", "AWS_PROFILE", "absent", 2, "AWS_PROFILE=absent"),
        ("s3://bucket/c.csv", "AWS_UNSIGNED_PAYLOAD", "perhaps", 2, "expected settings that work"),
        ("s3://very-secret:x@bucket/c.csv", "", "", 2, "credentials in it"),
        ("ftp://ann:very-secret@host/c.csv?very-secret", "", "", 2, "begins with ftp://"),
        ("https://ann:very-secret@no-such-host.invalid/c.csv?sig=very-secret", "", "", 1, "https://no-such-host.invalid/c.csv: "),
    ] {
        let variable = if variable.is_empty() { "UNUSED" } else { variable };
        let refused = dry_run(file, variable, value).expect(code);
        let error = refused.stderr.lines().next().unwrap();
        assert!(error.starts_with("error: ") && error.contains(words), "{file}: {refused:?}");
        assert!(!refused.stderr.contains("very-secret"), "{refused:?}");
    }
    for (to, code, words) in [
        ("s3://no-such-bucket/c.csv", 1, "cannot write s3://no-such-bucket/c.csv: expected a bucket"),
        ("https://host/c.csv?sig=very-secret", 2, "write a file, and send it there"),
        ("s3://bucket/folder/", 2, "the name of a folder"),
    ] {
        let refused = s3.producer(&fleet, &["generate", "--companies", "3", "--to", to]).expect(code);
        assert!(refused.stderr.contains(words) && !refused.stderr.contains("very-secret"), "{refused:?}");
    }
    assert_eq!(s3.keys(), ["c.csv"]);
    let Some(strict) = S3::that_refuses(&fleet) else { return };
    let refused = strict.producer(&fleet, &["enqueue", "s3://bucket/c.csv", "--model", "m", "--dry-run"]).expect(2);
    assert!(refused.error().contains("found it refused (403 InvalidAccessKeyId)"), "{refused:?}");
    let refused = strict.producer(&fleet, &["generate", "--companies", "3", "--to", "s3://bucket/c.csv"]).expect(1);
    assert!(refused.error().contains("found it refused (403 InvalidAccessKeyId)"), "{refused:?}");
}

#[test]
fn credentials_come_from_the_profile_and_without_any_the_command_says_so_within_seconds() {
    let fleet = Fleet::fresh();
    let Some(s3) = S3::start(&fleet) else { return };
    s3.put("c.csv", rows(3));
    // A machine that is none of a cloud's: what it sends to the address of the metadata service is lost.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let metadata = format!("http://{}", silent.local_addr().unwrap());
    let without_keys = || {
        let mut command = s3.producer_command(&fleet, &["enqueue", "s3://bucket/c.csv", "--model", "m", "--dry-run"]);
        for variable in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "AWS_REGION"] {
            // An empty variable is an unset one.
            command.env(variable, "");
        }
        command.env("AWS_METADATA_ENDPOINT", &metadata);
        fleet.start("producer", command)
    };
    let began = Instant::now();
    let refused = without_keys().wait(DEADLINE).expect(2);
    assert!(refused.error().contains("AWS_ACCESS_KEY_ID") && refused.error().contains("`aws configure`"), "{refused:?}");
    assert!(began.elapsed() < Duration::from_secs(15), "it took {:?}", began.elapsed());
    fs::create_dir(fleet.path(".aws")).unwrap();
    fleet.file(".aws/credentials", "[default]\naws_access_key_id = AKIATEST\naws_secret_access_key = very-secret\n");
    fleet.file(".aws/config", format!("[default]\nregion = eu-west-1\nendpoint_url = {}\n", s3.endpoint()));
    assert!(without_keys().wait(DEADLINE).expect(0).stdout.contains("3 companies"));
    fleet.file(".aws/credentials", "");
    fleet.file(".aws/config", "[default]\nsso_session = company\n");
    let refused = without_keys().wait(DEADLINE).expect(2);
    assert!(refused.error().contains("sso_session") && refused.error().contains("export-credentials"), "{refused:?}");
}

#[test]
fn a_job_is_scored_from_bucket_to_bucket_and_never_onto_its_own_file() {
    let fleet = Fleet::fresh();
    let Some(s3) = S3::start(&fleet) else { return };
    s3.put("c.csv", rows(50));
    let score = |to: &str| {
        let scorer = SCORER.replace("tests/", &format!("{}/tests/", project().display()));
        s3.producer(&fleet, &["score", "s3://bucket/c.csv", "--model", "m", "--scorer", &scorer, "--to", to])
    };
    assert!(score("s3://bucket/c.csv").expect(2).error().contains("found s3://bucket/c.csv for both"));
    assert!(score("s3://no-such-bucket/r.csv").expect(1).error().contains("expected a bucket"));
    score("s3://bucket/r.csv").expect(0);
    assert_eq!(String::from_utf8(s3.object("r.csv").unwrap()).unwrap().lines().count(), 51);
    assert_eq!((s3.keys(), s3.uploads()), (vec!["c.csv".to_owned(), "r.csv".to_owned(), "r.manifest.json".to_owned()], vec![]));
}

#[test]
fn a_web_server_that_breaks_off_is_read_on_from_and_one_without_parts_as_far_as_it_does_not() {
    const COMPANIES: u64 = 20_000;
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let _consumer = fleet.consumer("m", SCORER, &["--threads", "1"]);
    fleet.file("c.csv", rows(COMPANIES));
    let (_server, url) = web_server(&fleet, 60_000, &[]);
    let file = format!("{url}/c.csv?sig=very-secret");
    let enqueued = web_producer(&fleet, &["enqueue", &file, "--model", "m", "--job", "j", "--wait"]).expect(0);
    assert!(enqueued.stderr.contains("event=\"source_interrupted\""), "{enqueued:?}");
    fleet.finished("j").assert_counted_once(COMPANIES);
    let said = [enqueued.stderr, enqueued.stdout, fleet.status("j").to_string()].concat();
    assert!(!said.contains("very-secret"), "{said}");
    let (_server, url) = web_server(&fleet, 60_000, &["--without-parts"]);
    let broken = web_producer(&fleet, &["enqueue", &format!("{url}/c.csv"), "--model", "m", "--job", "k", "--wait"]).expect(1);
    assert!(broken.error().contains("gives no parts of files; download the file"), "{broken:?}");
    eventually("the job is cancelled", || (fleet.status("k")["state"] == "cancelled").then_some(()));
    let (_server, url) = web_server(&fleet, usize::MAX >> 1, &["--without-parts"]);
    let read = web_producer(&fleet, &["enqueue", &format!("{url}/c.csv"), "--model", "m", "--dry-run"]).expect(0);
    assert!(read.stdout.contains(": 20,000 companies"), "{read:?}");
}
