//! Webhooks: the done event, signed, at least once.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rollcall_tests::{FakeClock, Fleet, Gateway, SCORER, eventually, within};
use serde_json::json;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A receiver that answers with a status that the test sets, and keeps what it was sent.
struct Receiver {
    address: SocketAddr,
    status: Arc<AtomicU16>,
    received: Arc<Mutex<Vec<String>>>,
    /// Who has it keeps the receiver from answering.
    answers: Arc<Mutex<()>>,
}

impl Receiver {
    fn start() -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, status) = (listener.local_addr().unwrap(), Arc::new(AtomicU16::new(204)));
        let (received, answers) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<Mutex<()>>::default());
        let receiver = Receiver { address, status: status.clone(), received: received.clone(), answers: answers.clone() };
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut text = String::new();
                let mut part = [0; 65_536];
                while !is_whole(&text) {
                    let read = stream.read(&mut part).unwrap_or(0);
                    if read == 0 {
                        break;
                    }
                    text += &String::from_utf8_lossy(&part[..read]);
                }
                received.lock().unwrap().push(text);
                drop(answers.lock().unwrap());
                let status = status.load(Ordering::Relaxed);
                let location = if status == 302 { format!("Location: http://{address}/elsewhere\r\n") } else { String::new() };
                drop(write!(stream, "HTTP/1.1 {status} X\r\n{location}Content-Length: 0\r\nConnection: close\r\n\r\n"));
            }
        });
        receiver
    }

    fn received(&self) -> Vec<String> {
        self.received.lock().unwrap().clone()
    }

    fn config(&self, fleet: &Fleet, more: &str) -> String {
        let secret = fleet.file("secret", format!("{SECRET}\n"));
        format!(
            "[[webhook]]\nname = \"w\"\nurl = \"http://{}/hook?token=hidden\"\nsecret_file = {:?}\n{more}\n",
            self.address,
            secret.to_str().unwrap()
        )
    }
}

fn is_whole(text: &str) -> bool {
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok());
    body.len() >= length.unwrap_or(0)
}

fn header(message: &str, name: &str) -> String {
    let found = message.lines().find_map(|line| line.split_once(": ").filter(|(found, _)| found.eq_ignore_ascii_case(name)));
    found.map(|(_, value)| value.to_owned()).unwrap_or_default()
}

#[test]
fn a_webhook_gets_the_done_event_of_its_models_and_its_signature_is_right() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    let _consumers = ["m", "other"].map(|model| fleet.consumer(model, SCORER, &[]));
    let receiver = Receiver::start();
    let gateway = Gateway::with(&fleet, &receiver.config(&fleet, "models = [\"m\"]\nallow_private_address = true"));
    gateway.upload("model=other&job=o", "company_id,do\n1,succeed\n").expect(202);
    gateway.wait_until("o", "succeeded");
    gateway.upload("model=m&job=j", "company_id,do\n1,succeed\n").expect(202);
    let message = eventually("it is told", || receiver.received().first().cloned());
    assert_eq!(header(&message, "webhook-id"), "j/done");
    let body = message.split_once("\r\n\r\n").unwrap().1;
    let event: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!((&event["type"], &event["data"]["state"]), (&"rollcall.job.done".into(), &"succeeded".into()));
    let verify = "import sys,hmac,hashlib,base64; key,id,at=sys.argv[1:]; \
        print('v1,'+base64.b64encode(hmac.new(base64.b64decode(key[6:]),f'{id}.{at}.'.encode()+sys.stdin.buffer.read(),hashlib.sha256).digest()).decode())";
    let body_file = fleet.file("body", body);
    let mut python = fleet.command("/usr/bin/python3");
    python
        .args(["-c", verify, SECRET, "j/done", &header(&message, "webhook-timestamp")])
        .stdin(std::fs::File::open(body_file).unwrap());
    assert_eq!(
        fleet.start("verify", python).wait(Duration::from_secs(30)).expect(0).stdout.trim(),
        header(&message, "webhook-signature")
    );
    assert_eq!(receiver.received().len(), 1, "not that of another model");
}

#[test]
fn a_done_event_that_was_not_taken_is_sent_again_also_by_another_gateway() {
    let fleet = Fleet::fresh();
    let (_aggregator, _consumer) = (fleet.aggregator(&[]), fleet.consumer("m", SCORER, &[]));
    let receiver = Receiver::start();
    receiver.status.store(503, Ordering::Relaxed);
    let config = receiver.config(&fleet, "allow_private_address = true");
    let mut gateway = Gateway::with(&fleet, &config);
    gateway.upload("model=m&job=j", "company_id,do\n1,succeed\n").expect(202);
    eventually("it was tried", || (!receiver.received().is_empty()).then_some(()));
    gateway.process.kill_9();
    receiver.status.store(204, Ordering::Relaxed);
    let _other = Gateway::with(&fleet, &config);
    within(Duration::from_secs(40), "it is sent again", || (receiver.received().len() >= 2).then_some(()));
    let ids: Vec<String> = receiver.received().iter().map(|message| header(message, "webhook-id")).collect();
    assert!(ids.iter().all(|id| id == "j/done"), "{ids:?}");
    eventually("nothing is left", || (fleet.waiting_in(&fleet.name("gateway.webhook.w")) == Some(0)).then_some(()));
}

#[test]
fn a_webhook_that_is_being_told_as_its_gateway_stops_is_told_once() {
    let fleet = Fleet::fresh();
    let (_aggregator, _consumer) = (fleet.aggregator(&[]), fleet.consumer("m", SCORER, &[]));
    let receiver = Receiver::start();
    let mut gateway = Gateway::with(&fleet, &receiver.config(&fleet, "allow_private_address = true"));
    let waits = receiver.answers.lock().unwrap();
    gateway.upload("model=m&job=j", "company_id,do\n1,succeed\n").expect(202);
    eventually("it is being told", || (!receiver.received().is_empty()).then_some(()));
    gateway.process.terminate();
    gateway.process.wait_until_event("stopping");
    drop(waits);
    gateway.process.wait(Duration::from_secs(20)).expect(0);
    assert_eq!(fleet.waiting_in(&fleet.name("gateway.webhook.w")), Some(0), "it is acknowledged");
}

#[test]
fn a_done_event_that_somebody_has_made_up_while_nobody_can_tell_is_not_passed_on() {
    let fleet = Fleet::fresh();
    let receiver = Receiver::start();
    let gateway = Gateway::with(&fleet, &receiver.config(&fleet, "allow_private_address = true"));
    let done = json!({
        "specversion": "1.0", "id": "j/done", "source": "/rollcall", "type": "rollcall.job.done", "subject": "j",
        "time": "2027-01-31T06:00:00Z", "datacontenttype": "application/json",
        "data": {
            "job": "j", "model": "m", "state": "succeeded", "total": 1, "succeeded": 1, "failed": 0, "cancelled": 0,
            "duplicates": 0, "retries": 0, "opened_at": null, "done_at": null, "duration_seconds": 1.0, "companies_per_second": 1.0,
            "causes": [],
        },
    });
    fleet.publish_from_python("events", "job.j.done", "rollcall.job.done", &json!({}), &done.to_string());
    within(Duration::from_secs(60), "it was tried", || gateway.process.stderr().contains("no aggregator answers").then_some(()));
    let _aggregator = fleet.aggregator(&[]);
    let refusal = within(Duration::from_secs(120), "it is given up", || {
        gateway.get("/v1/refusals").expect(200).json()["refusals"].as_array().unwrap().first().cloned()
    });
    assert_eq!((&refusal["trigger"], &refusal["subject"]), (&"webhook".into(), &"j".into()), "{refusal}");
    assert_eq!(receiver.received(), Vec::<String>::new());
}

#[test]
fn a_redirect_is_not_followed_and_a_private_address_is_refused_unless_allowed() {
    let fleet = Fleet::fresh();
    let (_aggregator, _consumer) = (fleet.aggregator(&[]), fleet.consumer("m", SCORER, &[]));
    let receiver = Receiver::start();
    let refused =
        fleet.producer(&["serve", "--check", "--config", fleet.file("no.toml", receiver.config(&fleet, "")).to_str().unwrap()]);
    assert!(refused.expect(2).stderr.contains("private address"));
    let named = receiver.config(&fleet, "").replace("127.0.0.1", "localhost");
    receiver.status.store(302, Ordering::Relaxed);
    let allowed = receiver.config(&fleet, "allow_private_address = true").replace("\"w\"", "\"v\"");
    let gateway = Gateway::with(&fleet, &(named + &allowed));
    gateway.upload("model=m&job=j", "company_id,do\n1,succeed\n").expect(202);
    eventually("both have failed", || {
        let log = gateway.process.stderr();
        (log.contains("private address") && log.contains("found 302")).then_some(())
    });
    assert!(receiver.received().iter().all(|message| message.starts_with("POST /hook")), "{:?}", receiver.received());
    assert!(!gateway.process.stderr().contains("hidden"), "the URL may have a secret");
}

#[test]
fn a_receiver_that_is_gone_is_given_up_and_shown() {
    let fleet = Fleet::fresh();
    let (_aggregator, _consumer) = (fleet.aggregator(&[]), fleet.consumer("m", SCORER, &[]));
    let receiver = Receiver::start();
    receiver.status.store(410, Ordering::Relaxed);
    let gateway = Gateway::with(&fleet, &receiver.config(&fleet, "allow_private_address = true"));
    gateway.upload("model=m&job=j", "company_id,do\n1,succeed\n").expect(202);
    let refusal = eventually("it is given up", || {
        gateway.get("/v1/refusals").expect(200).json()["refusals"].as_array().unwrap().first().cloned()
    });
    assert_eq!((&refusal["trigger"], &refusal["subject"]), (&"webhook".into(), &"j".into()));
    assert!(refusal["reason"].as_str().unwrap().contains("410"), "{refusal}");
    assert_eq!(fleet.waiting_in(&fleet.name("gateway.dead")), Some(1));
}

#[test]
fn a_receiver_that_takes_nothing_for_a_day_is_given_up_and_shown() {
    let Some(clock) = FakeClock::installed() else { return };
    let fleet = Fleet::fresh();
    let (_aggregator, _consumer) = (fleet.aggregator(&[]), fleet.consumer("m", SCORER, &[]));
    let receiver = Receiver::start();
    receiver.status.store(503, Ordering::Relaxed);
    let config = receiver.config(&fleet, "allow_private_address = true");
    let mut gateway = Gateway::with(&fleet, &config);
    gateway.upload("model=m&job=j", "company_id,do\n1,succeed\n").expect(202);
    eventually("it is to be tried again", || gateway.process.stderr().contains("delivery_failed").then_some(()));
    let waits = |delay: &str| fleet.waiting_in(&fleet.name(&format!("gateway.webhook.w.{delay}"))) == Some(1);
    eventually("it waits for that", || (waits("5s") || waits("30s")).then_some(()));
    gateway.process.kill_9();
    let config = fleet.path("gateway.toml");
    let next_day = Gateway::in_environment(&fleet, Some(&config), &[], clock.environment("+25h"));
    let refusal = within(Duration::from_secs(60), "it is given up", || {
        next_day.get("/v1/refusals").expect(200).json()["refusals"].as_array().unwrap().first().cloned()
    });
    assert_eq!((&refusal["trigger"], &refusal["subject"]), (&"webhook".into(), &"j".into()));
    assert!(refusal["reason"].as_str().unwrap().contains("503"), "{refusal}");
    assert_eq!(fleet.waiting_in(&fleet.name("gateway.dead")), Some(1));
}
