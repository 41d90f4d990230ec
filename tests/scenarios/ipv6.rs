//! A broker at an IPv6 address: the client connects to that one only.

use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};
use std::time::Duration;

use rollcall_tests::{Fleet, Relay, SCORER, skip};

/// A listener on the IPv6 loopback address, and one on the same port of the IPv4 loopback address, to which no client must
/// connect. Returns `None`, and reports the test as skipped, if there is no IPv6.
fn listeners() -> Option<(TcpListener, TcpListener)> {
    let Ok(six) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) else {
        skip("this machine has no IPv6");
        return None;
    };
    let port = six.local_addr().unwrap().port();
    let four = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    four.set_nonblocking(true).unwrap();
    Some((six, four))
}

#[test]
fn a_job_goes_to_the_broker_at_an_ipv6_address_and_to_no_other() {
    let Some((six, four)) = listeners() else { return };
    let fleet = Fleet::fresh();
    let relay = Relay::listening(six, fleet.url());
    let by_ipv6 = fleet.behind(&relay);
    assert!(by_ipv6.url().contains("@[::1]:"), "{}", by_ipv6.url());
    let _aggregator = by_ipv6.aggregator(&[]);
    let _consumer = by_ipv6.consumer("echo", SCORER, &["--threads", "1"]);
    by_ipv6.enqueue(&fleet.file("c.csv", "company_id\na\nb\n"), "echo", "j", &["--wait"]).expect(0);
    assert_eq!(fleet.finished("j").outcomes.len(), 2);
    assert!(four.accept().is_err(), "somebody has connected to localhost in its place");
}

#[test]
fn an_ipv6_address_where_no_broker_is_is_named_and_no_other_is_taken() {
    let Some((six, _four)) = listeners() else { return };
    let address = six.local_addr().unwrap();
    drop(six);
    for address in [address.to_string(), format!("[2001:db8::1]:{}", address.port())] {
        let fleet = Fleet::fresh().at(&format!("amqp://ann:secret@{address}/%2f?connection_timeout=2000"));
        let mut producer = fleet.start_producer(&["status"]);
        let refused = producer.wait(Duration::from_secs(11)).expect(3);
        assert!(refused.error().contains(&format!("cannot reach the broker at amqp://ann:***@{address}/%2f")), "{refused:?}");
    }
}
