//! The API: what is uploaded becomes a job, which can be followed, controlled and fetched.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use rollcall_tests::{Fleet, Gateway, Relay, SCORER, Way, answer, eventually, free_address, metrics, request, value, within};
use serde_json::Value;

/// Companies whose scorer does as they say.
fn companies(number: usize, what: &str) -> String {
    let rows: String = (0..number).map(|row| format!("{row},{what}\n")).collect();
    format!("company_id,do\n{rows}")
}

#[test]
fn an_upload_is_one_job_whose_results_can_be_fetched_in_each_format() {
    let fleet = Fleet::fresh();
    let (_aggregator, _consumer) = (fleet.aggregator(&[]), fleet.consumer("m", SCORER, &[]));
    let gateway = Gateway::plain(&fleet);
    let created = gateway.upload("model=m", companies(1_500, "succeed")).expect(202);
    let document = created.json();
    let job = document["job"].as_str().unwrap();
    assert_eq!((document["total"].as_u64(), created.header("location")), (Some(1_500), Some(format!("/v1/jobs/{job}").as_str())));
    assert_eq!(document["remarks"], serde_json::json!([]));
    assert!(document["detected"].as_str().unwrap().starts_with("CSV"), "{document}");
    let done = gateway.wait_until(job, "succeeded");
    assert_eq!((done["succeeded"].as_u64(), done["duplicates"].as_u64()), (Some(1_500), Some(0)));
    let rows = |format: &str| gateway.get(&format!("/v1/jobs/{job}/results?format={format}")).expect(200).body;
    let lines = String::from_utf8(rows("jsonl")).unwrap();
    assert_eq!(lines.lines().count(), 1_500);
    assert!(lines.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()));
    assert_eq!(String::from_utf8(rows("csv")).unwrap().lines().count(), 1_501);
    assert!(rows("parquet").ends_with(b"PAR1"));
    assert_eq!(gateway.jobs().len(), 1);
}

#[test]
fn a_format_is_known_by_its_first_bytes_its_name_or_what_the_request_says() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let gateway = Gateway::plain(&fleet);
    let lines = "{\"company_id\":\"a\"}\n{\"company_id\":\"b\"}\n";
    let packed = zstd::encode_all(lines.as_bytes(), 3).unwrap();
    for (query, body) in [
        ("model=m", lines.as_bytes()),
        ("model=m", &packed),
        ("model=m&file_name=x.csv", b"company_id\na\nb\n"),
        ("model=m&format=csv", b"company_id\na\nb\n"),
    ] {
        let created = gateway.upload(query, body).expect(202).json();
        assert_eq!(created["total"], 2, "{query}");
    }
    let long_window = {
        let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
        encoder.window_log(27).unwrap();
        encoder.write_all(&vec![b'a'; 20 << 20]).unwrap();
        encoder.finish().unwrap()
    };
    let refused = gateway.upload("model=m", long_window).expect(422).json();
    assert!(refused["detail"].as_str().unwrap().contains("--long=23"), "{refused}");
    let refused = gateway.upload("model=m&format=parquet", lines).expect(422).json();
    assert_eq!(refused["code"], "bad_input");
}

#[test]
fn what_is_wrong_with_an_upload_is_told_with_a_code_and_its_place_and_makes_no_job_or_cancels_it() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let gateway = Gateway::plain(&fleet);
    for (query, body, status, code, words) in [
        ("", "company_id\n1\n", 400, "bad_request", "model"),
        ("model=m&modle=x", "company_id\n1\n", 400, "bad_request", "did you mean"),
        ("model=m&tolerate_failures=many", "company_id\n1\n", 400, "bad_request", "many"),
        ("model=m", "", 422, "bad_input", "header line"),
        ("model=m", "company_id\n", 422, "bad_input", "at least one company"),
        ("model=m", "company_id\n1\n1\n", 422, "bad_input", "row 2"),
        ("model=m&format=", "company_id\n1\n", 400, "bad_request", "leave format out"),
        ("model=m&deadline=2001-01-31T06:00:00Z", "company_id\n1\n", 422, "bad_options", "time to come"),
        ("model=m&retry_delays=2d", "company_id\n1\n", 422, "bad_options", "1day"),
        ("model=m&results_to=/etc/x.csv", "company_id\n1\n", 403, "place_not_allowed", "results_to"),
    ] {
        let refused = gateway.upload(query, body).expect(status);
        assert_eq!(refused.header("content-type"), Some("application/problem+json"));
        let problem = refused.json();
        assert_eq!((&problem["code"], problem["status"].as_u64()), (&code.into(), Some(status.into())), "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(words), "{query}: {problem}");
    }
    assert_eq!(gateway.jobs().len(), 0);
    let further_down = companies(5_000, "succeed") + "4999,succeed\n";
    let problem = gateway.upload("model=m", further_down).expect(422).json();
    let cancelled = gateway.wait_until(problem["job"].as_str().unwrap(), "cancelled");
    assert!(cancelled["reason"].as_str().unwrap().contains("row 5001"), "{cancelled}");
    let checked = gateway.upload("model=m&dry_run=true", "company_id\n1\n1\n2\n").expect(200).json();
    assert_eq!((&checked["companies"], &checked["bad_row_count"]), (&2.into(), &1.into()), "{checked}");
    assert_eq!(gateway.jobs().len(), 1, "a check makes no job");
}

#[test]
fn an_answer_says_what_was_read_differently_and_that_nobody_scores_the_model() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let gateway = Gateway::plain(&fleet);
    let remarks = |answer: Value| -> Vec<String> { serde_json::from_value(answer["remarks"].clone()).unwrap() };
    let told = remarks(gateway.upload("model=risk&job=j", "company_id,do\n1.0,refuse\n,\n2.0,refuse\n").expect(202).json());
    let [skipped, whole, nobody] = &told[..] else { panic!("{told:?}") };
    assert!(skipped.contains("without any value") && whole.contains("written with .0"), "{told:?}");
    assert!(nobody.contains("no consumer takes work of model risk"), "{told:?}");
    let consumer = fleet.consumer("risk", SCORER, &[]);
    gateway.wait_until("j", "failed");
    drop(consumer);
    eventually("the consumer is gone", || {
        let told = remarks(gateway.upload("model=risk", "company_id\n1\n").expect(202).json());
        (told.len() == 1 && told[0] == *nobody).then_some(())
    });
    assert_eq!(remarks(gateway.post("/v1/jobs/j/redrive", "{}").expect(202).json()), [nobody.as_str()]);
}

#[test]
fn an_upload_that_breaks_off_cancels_its_job_with_the_reason() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let gateway = Gateway::plain(&fleet);
    let stream = begin(&gateway, "", "model=m&job=broken");
    eventually("the job is open", || (gateway.get("/v1/jobs/broken").status == 200).then_some(()));
    stream.shutdown(Shutdown::Both).unwrap();
    let cancelled = gateway.wait_until("broken", "cancelled");
    assert!(cancelled["reason"].as_str().unwrap().contains("the client has gone away"), "{cancelled}");
}

#[test]
fn an_answer_before_the_end_of_a_large_upload_reaches_its_client() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let gateway = Gateway::plain(&fleet);
    let large = companies(20_000, &format!("succeed,{}", "x".repeat(1_000))).replace("company_id,do", "company_id,do,note");
    assert_eq!(gateway.upload("model=m&modle=x", &large).expect(400).json()["code"], "bad_request");
    let repeat =
        || request(gateway.address, "PUT", "/v1/jobs?model=m", &["Idempotency-Key: k"], large.as_bytes()).expect(202).json();
    let (first, second) = (repeat(), repeat());
    assert_eq!((&first["job"], &second["repeated"]), (&second["job"], &true.into()));
}

/// Sends the beginning of an upload.
fn begin(gateway: &Gateway, headers: &str, query: &str) -> TcpStream {
    let mut stream = TcpStream::connect(gateway.address).unwrap();
    let host = gateway.address;
    write!(stream, "PUT /v1/jobs?{query} HTTP/1.1\r\nHost: {host}\r\n{headers}Content-Length: 10000000\r\n\r\n").unwrap();
    stream.write_all(companies(20_000, "succeed").as_bytes()).unwrap();
    stream
}

#[test]
fn an_upload_whose_gateway_is_killed_is_cancelled_by_another_one_and_can_be_repeated_with_its_key() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let (mut first, second) = (Gateway::plain(&fleet), Gateway::with(&fleet, "[http]\nidle = \"10m\"\n"));
    let _slow = begin(&second, "", "model=m&job=slow");
    let _broken = begin(&first, "Idempotency-Key: k\r\n", "model=m");
    let unsealed = || second.jobs().into_iter().filter(|job| job["state"] == "unsealed").collect::<Vec<_>>();
    eventually("both are being uploaded", || (unsealed().len() == 2).then_some(()));
    let job = unsealed().iter().map(|job| job["job"].as_str().unwrap().to_owned()).find(|job| job != "slow").unwrap();
    let repeat = || {
        let body = companies(20_000, "succeed");
        request(second.address, "PUT", "/v1/jobs?model=m", &["Idempotency-Key: k"], body.as_bytes())
    };
    let refused = repeat().expect(409);
    assert_eq!((refused.json()["code"].as_str(), refused.header("retry-after")), (Some("upload_in_progress"), Some("5")));
    first.process.kill_9();
    let cancelled = within(Duration::from_secs(60), "it is cancelled", || {
        let found = second.job(&job);
        (found["state"] == "cancelled").then_some(found)
    });
    assert!(cancelled["reason"].as_str().unwrap().contains("gateway that received"), "{cancelled}");
    let repeated = repeat().expect(202).json();
    assert_ne!(repeated["job"].as_str(), Some(job.as_str()));
    assert_eq!(second.job("slow")["state"], "unsealed", "its gateway lives");
}

#[test]
fn an_upload_whose_job_is_cancelled_meanwhile_is_told_so() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let gateway = Gateway::plain(&fleet);
    let mut stream = begin(&gateway, "", "model=m&job=j");
    eventually("the job is open", || (gateway.get("/v1/jobs/j").status == 200).then_some(()));
    gateway.post("/v1/jobs/j/cancel", "").expect(200);
    let sent = companies(20_000, "succeed").len();
    let rest: String = (20_000..).map(|row| format!("{row},succeed\n")).take(1_000_000).collect();
    stream.write_all(&rest.as_bytes()[..10_000_000 - sent - 1]).unwrap();
    stream.write_all(b"\n").unwrap();
    let refused = answer(&mut stream).expect(409).json();
    assert_eq!((&refused["code"], &refused["job"]), (&"job_ended".into(), &"j".into()));
    assert!(refused["detail"].as_str().unwrap().contains("local cancelled it"), "{refused}");
}

#[test]
fn a_gateway_that_is_asked_to_stop_lets_uploads_end_for_a_while_and_then_cancels_them() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let (mut stopped, other) = (Gateway::start(&fleet, None, &["--grace", "5s"]), Gateway::plain(&fleet));
    let mut slow = begin(&stopped, "", "model=m&job=slow");
    let rest = companies(2_000, "succeed");
    let more: String = (2_000..4_000).map(|row| format!("{row},succeed\n")).collect();
    let length = rest.len() + more.len();
    let mut quick = TcpStream::connect(stopped.address).unwrap();
    write!(quick, "PUT /v1/jobs?model=m&job=quick HTTP/1.1\r\nHost: {}\r\nContent-Length: {length}\r\n\r\n", stopped.address)
        .unwrap();
    quick.write_all(rest.as_bytes()).unwrap();
    eventually("both are being uploaded", || (other.jobs().len() == 2).then_some(()));
    stopped.process.terminate();
    stopped.process.wait_until_event("stopping");
    quick.write_all(more.as_bytes()).unwrap();
    assert_eq!(answer(&mut quick).status, 202);
    let cancelled = other.wait_until("slow", "cancelled");
    let reason = cancelled["reason"].as_str().unwrap();
    assert!(reason.contains("the gateway is stopping") || reason.contains("interrupted"), "{cancelled}");
    assert_eq!(answer(&mut slow).json()["code"], "interrupted");
    stopped.process.wait(Duration::from_secs(20)).expect(0);
}

#[test]
fn an_upload_whose_client_has_gone_is_enqueued_before_its_gateway_stops() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let relay = Relay::before(fleet.url());
    let telemetry = free_address();
    let arguments = ["--grace", "20s", "--metrics-addr", &telemetry.to_string()];
    let mut gateway = Gateway::start(&fleet.behind(&relay), None, &arguments);
    gateway.upload("model=m&job=first", companies(1, "succeed")).expect(202);
    relay.hold("rollcall gateway: uploads", &[Way::ToBroker]);
    let mut client = TcpStream::connect(gateway.address).unwrap();
    let body = companies(100, "succeed");
    let (host, length) = (gateway.address, body.len());
    write!(client, "PUT /v1/jobs?model=m&job=j HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n\r\n{body}").unwrap();
    let read = || value(&metrics(telemetry), "rollcall_upload_bytes_total").unwrap_or(0.0);
    eventually("all of it is read", || (read() > length as f64).then_some(()));
    drop(client);
    gateway.process.terminate();
    gateway.process.wait_until_event("stopping");
    relay.pass();
    gateway.process.wait(Duration::from_secs(40)).expect(0);
    assert_eq!(fleet.status("j")["state"], "running");
}

#[test]
fn requests_with_one_idempotency_key_make_one_job_and_one_that_broke_off_can_be_repeated() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let (one, other) = (Gateway::plain(&fleet), Gateway::plain(&fleet));
    let upload = |gateway: &Gateway, key: &str, model: &str, body: &str| {
        let key = format!("Idempotency-Key: {key}");
        request(gateway.address, "POST", &format!("/v1/jobs?model={model}"), &[&key], body.as_bytes())
    };
    let body = companies(3, "succeed");
    let job = |answer: rollcall_tests::Answer| answer.expect(202).json()["job"].as_str().unwrap().to_owned();
    let first = job(upload(&one, "k", "m", &body));
    assert_eq!(job(upload(&one, "k", "m", &body)), first);
    assert_eq!(job(upload(&other, "k", "m", &body)), first, "at another gateway");
    assert_ne!(job(upload(&one, "l", "m", &body)), first);
    assert_ne!(job(upload(&one, "k", "n", &body)), first, "of another model");
    let bad = companies(2_000, "succeed") + "1,succeed\n";
    let refused = upload(&one, "again", "m", &bad).expect(422).json();
    let second = job(upload(&one, "again", "m", &companies(2_000, "succeed")));
    assert_ne!(refused["job"].as_str(), Some(second.as_str()));
    assert_eq!(job(upload(&other, "again", "m", &companies(2_000, "succeed"))), second);
    one.post(&format!("/v1/jobs/{second}/cancel"), "").expect(200);
    let ended = upload(&one, "again", "m", &companies(2_000, "succeed")).expect(409).json();
    assert_eq!((&ended["code"], ended["job"].as_str()), (&"job_ended".into(), Some(second.as_str())));
}

#[test]
fn a_job_is_paused_resumed_cancelled_and_redriven_by_requests() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let gateway = Gateway::plain(&fleet);
    let file = companies(5, "succeed") + &(5..8).map(|row| format!("{row},refuse\n")).collect::<String>();
    gateway.upload("model=m&job=j", file).expect(202);
    gateway.post("/v1/jobs/j/pause", "").expect(200);
    gateway.wait_until("j", "paused");
    gateway.post("/v1/jobs/j/resume", "").expect(200);
    let _consumer = fleet.consumer("m", SCORER, &["--max-attempts", "1"]);
    let failed = gateway.wait_until("j", "failed");
    assert_eq!(failed["failed"], 3);
    let failures = gateway.get("/v1/jobs/j/failures").expect(200).json();
    let cause = failures["causes"][0]["cause"].as_str().unwrap().to_owned();
    assert_eq!((&failures["causes"][0]["count"], failures["causes"][0]["examples"].as_array().unwrap().len()), (&3.into(), 3));
    let again = gateway.post("/v1/jobs/j/redrive", format!("{{\"causes\":[\"{cause}\"]}}")).expect(202).json();
    assert_eq!((&again["companies"], &again["redrives"]), (&3.into(), &1.into()));
    eventually("it has ended again", || {
        let job = gateway.job("j");
        (job["state"] == "failed" && job["redrives"] == 1).then_some(())
    });
    let none = gateway.post("/v1/jobs/j/redrive", "{\"causes\":[\"never\"]}").expect(409).json();
    assert_eq!(none["code"], "usage");
    assert_eq!(gateway.post("/v1/jobs/j/cancel", "").expect(409).json()["code"], "job_state");
    assert_eq!(gateway.post("/v1/jobs/none/cancel", "").expect(404).json()["code"], "no_such_job");
    fleet.enqueue(&fleet.file("c.csv", companies(3, "long")), "n", "k", &[]).expect(0);
    gateway.post("/v1/jobs/k/cancel", "").expect(200);
    assert!(gateway.job("k")["reason"].as_str().unwrap().contains("local cancelled it"));
}

#[test]
fn jobs_are_listed_the_newest_first_by_state_and_model_in_pages() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let gateway = Gateway::plain(&fleet);
    for number in 0..5 {
        let model = if number % 2 == 0 { "even" } else { "odd" };
        gateway.upload(&format!("model={model}&job=z{}", 9 - number), "company_id\n1\n").expect(202);
    }
    gateway.post("/v1/jobs/z9/cancel", "").expect(200);
    let names = |query: &str| {
        let page = gateway.get(&format!("/v1/jobs?{query}")).expect(200).json();
        let names: Vec<String> =
            page["jobs"].as_array().unwrap().iter().map(|job| job["job"].as_str().unwrap().to_owned()).collect();
        (names.join(" "), page["next"].as_u64())
    };
    assert_eq!(names("").0, "z5 z6 z7 z8 z9");
    assert_eq!(names("model=odd").0, "z6 z8");
    assert_eq!(names("state=cancelled").0, "z9");
    let (first, next) = names("limit=2");
    let (second, last) = names(&format!("limit=3&after={}", next.unwrap()));
    assert_eq!((first.as_str(), second.as_str(), last), ("z5 z6", "z7 z8 z9", None));
    assert_eq!(gateway.get("/v1/jobs?limit=0").status, 400);
    assert_eq!(gateway.get("/v1/jobs?state=odd").status, 400);
}

/// The events of a job that a client has received: their ids and names.
fn events(text: &str) -> Vec<(u64, String)> {
    let field =
        |event: &str, name: &str| event.lines().find_map(|line| line.strip_prefix(name).map(str::trim).map(str::to_owned));
    let of = |event: &str| Some((field(event, "id:")?.parse().unwrap(), field(event, "event:")?));
    text.split("\n\n").filter_map(of).collect()
}

/// The events of a job up to the first of that name.
fn follow(gateway: &Gateway, job: &str, headers: &str, until: &str) -> String {
    let mut stream = TcpStream::connect(gateway.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    write!(stream, "GET /v1/jobs/{job}/events HTTP/1.1\r\nHost: {}\r\n{headers}\r\n", gateway.address).unwrap();
    let (mut text, mut part) = (String::new(), [0; 4_096]);
    let is_whole = |text: &str| text.split_once(&format!("event: {until}\n")).is_some_and(|(_, rest)| rest.contains("\n\n"));
    while !is_whole(&text) {
        let read = stream.read(&mut part).unwrap();
        assert!(read > 0, "the stream has ended: {text}");
        text += &String::from_utf8_lossy(&part[..read]);
    }
    text
}

#[test]
fn a_client_that_lost_its_connection_goes_on_behind_its_last_event_at_another_gateway() {
    let fleet = Fleet::fresh();
    let (_aggregator, _consumer) = (fleet.aggregator(&[]), fleet.consumer("m", SCORER, &[]));
    let (one, other) = (Gateway::plain(&fleet), Gateway::plain(&fleet));
    one.upload("model=m&job=j", companies(10, "succeed")).expect(202);
    let all = events(&follow(&one, "j", "", "done"));
    let names: Vec<&str> = all.iter().map(|(_, name)| name.as_str()).collect();
    assert!(names.starts_with(&["opened"]) && names.contains(&"sealed") && names.ends_with(&["done"]), "{names:?}");
    let opened = all[0].0;
    let rest = events(&follow(&other, "j", &format!("Last-Event-ID: {opened}\r\n"), "done"));
    assert_eq!(rest, all[1..]);
}

#[test]
fn an_answer_to_an_unknown_path_or_method_is_a_problem_too() {
    let fleet = Fleet::fresh();
    let gateway = Gateway::plain(&fleet);
    assert_eq!(gateway.get("/v2").expect(404).json()["code"], "no_such_page");
    assert_eq!(request(gateway.address, "DELETE", "/v1/jobs", &[], b"").expect(405).json()["code"], "method_not_allowed");
    let away = gateway.get("/v1/jobs/j").expect(503);
    assert_eq!((away.json()["code"].as_str(), away.header("retry-after")), (Some("no_aggregator"), Some("5")));
}

#[test]
fn a_client_that_waits_to_be_asked_for_the_body_is_asked_or_refused_at_once() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let gateway = Gateway::plain(&fleet);
    let begin = |query: &str| {
        let mut stream = TcpStream::connect(gateway.address).unwrap();
        let head = "Content-Length: 13\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n";
        write!(stream, "PUT /v1/jobs?{query} HTTP/1.1\r\nHost: {}\r\n{head}", gateway.address).unwrap();
        stream
    };
    let mut refused = begin("model=m&modle=x");
    assert_eq!(answer(&mut refused).status, 400);
    let mut asked = begin("model=m");
    let mut part = [0; 25];
    asked.read_exact(&mut part).unwrap();
    assert_eq!(&part, b"HTTP/1.1 100 Continue\r\n\r\n");
    asked.write_all(b"company_id\n1\n").unwrap();
    assert_eq!(answer(&mut asked).status, 202);
}

#[test]
fn results_that_cannot_be_written_are_written_once_they_can_and_events_say_so() {
    let fleet = Fleet::fresh();
    let (_aggregator, _consumer) = (fleet.aggregator(&[]), fleet.consumer("m", SCORER, &[]));
    let outbox = fleet.path("outbox");
    let gateway = Gateway::with(&fleet, &format!("[exports]\nallow = [\"{}/\"]\n", outbox.display()));
    let to = format!("{}/{{job}}.csv", outbox.display());
    gateway.upload(&format!("model=m&job=j&results_to={to}"), companies(10, "succeed")).expect(202);
    let failed = follow(&gateway, "j", "", "export_failed");
    assert!(failed.contains("\"retry_in_seconds\":5") && failed.contains("outbox"), "{failed}");
    std::fs::create_dir(&outbox).unwrap();
    let exported = follow(&gateway, "j", "", "exported");
    assert!(exported.contains("\"rows\":10"), "{exported}");
    assert_eq!(std::fs::read_to_string(outbox.join("j.csv")).unwrap().lines().count(), 11);
    let file = fleet.file("c.csv", companies(1, "succeed"));
    let elsewhere = fleet.path("elsewhere.csv");
    fleet.enqueue(&file, "m", "elsewhere", &["--results-to", elsewhere.to_str().unwrap()]).expect(0);
    let refused = follow(&gateway, "elsewhere", "", "export_failed");
    assert!(refused.contains("\"retry_in_seconds\":null") && refused.contains("[exports] allow"), "{refused}");
    let refusal = eventually("it is among the refusals", || {
        gateway.get("/v1/refusals").expect(200).json()["refusals"].as_array().unwrap().first().cloned()
    });
    assert_eq!((&refusal["trigger"], elsewhere.exists()), (&"export".into(), false), "{refusal}");
}
