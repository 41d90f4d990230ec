//! A broker that is down or refuses: one line of error in time, and never a password in the output.

use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};
use rollcall_tests::{Ended, Fleet, Process};

/// A process that cannot connect reports that within ten seconds; one more for a busy machine to start it.
const DEADLINE: Duration = Duration::from_secs(11);

const PASSWORD: &str = "open-sesame";

/// Starts every command that needs a broker.
fn start_all(fleet: &Fleet) -> Vec<Process> {
    let file = fleet.file("c.csv", "company_id\na\n");
    let file = file.to_str().unwrap();
    vec![
        fleet.start_producer(&["enqueue", file, "-m", "m"]),
        fleet.start_producer(&["enqueue", file, "-m", "m", "--job", "j", "--wait"]),
        fleet.start_producer(&["status"]),
        fleet.start_producer(&["watch", "j"]),
        fleet.start_producer(&["results", "j"]),
        fleet.program("consumer", &["--model", "m", "--scorer", "command:cat"]),
        fleet.program("aggregator", &["--log-format", "text"]),
    ]
}

/// Asserts that every program, given `url`, ends with exit code 3 and one line that contains `expected` and no password.
fn assert_refused(url: &str, expected: &[&str]) {
    assert_ended(3, url, expected);
}

fn assert_ended(code: i32, url: &str, expected: &[&str]) {
    let fleet = Fleet::fresh().at(url);
    for mut process in start_all(&fleet) {
        let ended = process.wait(DEADLINE).expect(code);
        for words in expected {
            assert!(ended.error().contains(words), "expected {words:?} in {}", ended.error());
        }
        assert!(!format!("{ended:?}").contains(PASSWORD), "the password is shown: {ended:?}");
    }
}

/// The parts of a broker's URL: user, password, host with port, and vhost.
fn parts(url: &str) -> [&str; 4] {
    let (credentials, place) = url.strip_prefix("amqp://").unwrap().rsplit_once('@').unwrap();
    let ((user, password), (host, vhost)) = (credentials.split_once(':').unwrap(), place.split_once('/').unwrap());
    [user, password, host, vhost]
}

#[test]
fn a_broker_that_is_down_is_named_and_not_waited_for() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let expected = ["cannot reach", &format!("amqp://ann:***@127.0.0.1:{port}/fleet"), "AMQP_URL"];
    assert_refused(&format!("amqp://ann:{PASSWORD}@127.0.0.1:{port}/fleet"), &expected);
}

#[test]
fn a_host_that_does_not_exist_is_named() {
    assert_refused(&format!("amqp://ann:{PASSWORD}@broker.invalid/fleet"), &["cannot reach", "ann:***@broker.invalid"]);
}

#[test]
fn a_port_that_takes_the_connection_and_says_nothing_is_given_up_in_time() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    assert_refused(&format!("amqp://ann:{PASSWORD}@127.0.0.1:{port}/fleet"), &["cannot reach", "no answer within 8s"]);
}

#[test]
fn a_wrong_password_is_refused() {
    let fleet = Fleet::fresh();
    let [user, _, host, vhost] = parts(fleet.url());
    assert_refused(&format!("amqp://{user}:{PASSWORD}@{host}/{vhost}"), &["refuses", "***", "check the user, the password"]);
}

#[test]
fn a_vhost_that_does_not_exist_is_refused() {
    let fleet = Fleet::fresh();
    let [user, password, host, _] = parts(fleet.url());
    assert_refused(&format!("amqp://{user}:{password}@{host}/nowhere"), &["refuses", "/nowhere", "the vhost"]);
}

#[test]
fn what_is_no_url_is_bad_usage_and_not_repeated() {
    for url in [
        "nonsense",
        &format!("http://ann:{PASSWORD}@host/"),
        &format!("amqp://ann:{PASSWORD}@host:port/{PASSWORD}"),
        &format!("amqp://ann:12?{PASSWORD}@host/v"),
        &format!("amqp://ann:{PASSWORD}@host/v?hartbeat=5"),
        &format!("amqp://ann:{PASSWORD}@host1,host2/v"),
    ] {
        assert_ended(2, url, &["expected an AMQP URL", "AMQP_URL"]);
    }
}

#[test]
fn help_and_bad_usage_do_not_show_the_url() {
    let fleet = Fleet::fresh().at(&format!("amqp://ann:{PASSWORD}@host/"));
    for program in ["producer", "consumer", "aggregator"] {
        for (flag, code) in [("--help", 0), ("--no-such-flag", 2)] {
            let ended = fleet.program(program, &[flag]).wait(DEADLINE).expect(code);
            assert!(!format!("{ended:?}").contains(PASSWORD), "the password is shown: {ended:?}");
        }
    }
}

/// Declares a queue as another program might: durable, classic, without arguments.
pub(super) fn declare_classic(fleet: &Fleet, queue: &str) {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let connection = Connection::connect(fleet.url(), ConnectionProperties::default()).await.unwrap();
        let durable = QueueDeclareOptions { durable: true, ..Default::default() };
        let channel = connection.create_channel().await.unwrap();
        channel.queue_declare(queue.into(), durable, FieldTable::default()).await.unwrap();
        connection.close(200, "".into()).await.unwrap();
    });
}

fn assert_names_the_queue(ended: &Ended, queue: &str) {
    for words in [queue, "inequivalent arg 'x-", "delete it or choose another --prefix"] {
        assert!(ended.error().contains(words), "expected {words:?} in {}", ended.error());
    }
}

#[test]
fn a_queue_that_exists_with_other_arguments_is_named_with_the_argument() {
    let fleet = Fleet::fresh();
    declare_classic(&fleet, &fleet.name("work.m"));
    let file = fleet.file("c.csv", "company_id\na\n");
    for more in [&["--job", "j"][..], &["--job", "j", "--wait"]] {
        let enqueue = [&["enqueue", Path::to_str(&file).unwrap(), "-m", "m"], more].concat();
        assert_names_the_queue(&fleet.start_producer(&enqueue).wait(DEADLINE).expect(3), &fleet.name("work.m"));
    }
    let mut consumer = fleet.program("consumer", &["--model", "m", "--scorer", "command:cat"]);
    assert_names_the_queue(&consumer.wait(DEADLINE).expect(3), &fleet.name("work.m"));
    declare_classic(&fleet, &fleet.name("checkpoint"));
    let mut aggregator = fleet.program("aggregator", &["--log", "info"]);
    assert_names_the_queue(&aggregator.wait(DEADLINE).expect(3), &fleet.name("checkpoint"));
}

#[test]
fn a_watch_that_may_have_no_queue_is_told_why_and_ends() {
    let fleet = Fleet::fresh();
    let _aggregator = fleet.aggregator(&[]);
    fleet.enqueue(&fleet.file("c.csv", "company_id\na\n"), "m", "j", &[]).expect(0);
    fleet.status("j");
    if !fleet.refuse_queues(true) {
        return;
    }
    let refused = fleet.start_producer(&["watch", "j"]).wait(DEADLINE).expect(3);
    for words in [&format!("cannot declare queue \"{}", fleet.name("watch.j.")), "set_vhost_limits"] {
        assert!(refused.error().contains(words), "expected {words:?} in {}", refused.error());
    }
}

/// The passwords contain characters that have a meaning in a URL.
#[test]
fn a_password_that_is_not_encoded_is_not_shown_whatever_becomes_of_the_url() {
    for url in [
        format!("amqp://ann:p@127.0.0.1/{PASSWORD}@127.0.0.1:1/v"),
        format!("amqp://ann:p@127.0.0.1?heartbeat={PASSWORD}@127.0.0.1:1/v"),
        format!("amqp://ann:p@127.0.0.1#{PASSWORD}@127.0.0.1:1/v"),
        format!("amqp://ann:{PASSWORD}"),
    ] {
        assert_ended(2, &url, &["expected an AMQP URL", "AMQP_URL"]);
    }
    let encoded = format!("amqp://ann:p%40%2f%23{PASSWORD}@127.0.0.1:1/v");
    assert_refused(&encoded, &["cannot reach the broker at amqp://ann:***@127.0.0.1:1/v"]);
    assert_refused(&format!("amqp://ann:p@{PASSWORD}@127.0.0.1:1/v"), &["amqp://ann:***@127.0.0.1:1/v"]);
}

#[test]
fn a_url_in_the_wrong_place_is_not_shown() {
    let fleet = Fleet::fresh();
    let url = format!("amqp://ann:{PASSWORD}@127.0.0.1:1/v");
    for arguments in [&[url.as_str()][..], &["status", &url], &["status", "--prefix", &url], &["status", "--ampq-url", &url]] {
        let ended = fleet.producer(arguments).expect(2);
        assert!(!format!("{ended:?}").contains(PASSWORD), "the password is shown: {ended:?}");
    }
}

/// The trace logs of the AMQP library must not contain the password either.
#[test]
fn the_most_detailed_log_does_not_have_the_password() {
    let fleet = Fleet::fresh().at(&format!("amqp://ann:{PASSWORD}@{}/v", parts(Fleet::fresh().url())[2]));
    let mut aggregator = fleet.program("aggregator", &["--log", "trace"]);
    let said = format!("{:?}", aggregator.wait(DEADLINE).expect(3));
    let bytes = format!("{:?}", PASSWORD.as_bytes());
    assert!(!said.contains(PASSWORD) && !said.contains(bytes.trim_matches(['[', ']'])), "the password is logged");
}
