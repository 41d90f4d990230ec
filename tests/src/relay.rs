//! A TCP relay in front of a broker that can cut, hold and delay its links, to simulate network faults.
//!
//! A link is identified by its connection's name (`rollcall consumer m: work`), which AMQP clients send unencrypted at the
//! start.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// A direction of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From the client to the broker.
    ToBroker,
    /// From the broker to the client.
    ToClient,
}

/// Both directions.
pub const BOTH: &[Way] = &[Way::ToBroker, Way::ToClient];

/// The size of a read, in bytes.
const CHUNK: usize = 16 << 10;

/// Chunks buffered in one direction: all that a delayed link has in flight, and all that a held link accepts.
const IN_FLIGHT: usize = 64;

/// The client sends its connection's name within this many bytes.
const NAMED_WITHIN: usize = 4 << 10;

/// A relay that listens on its own port. Its links are cut when it is dropped.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    broker: Arc<Mutex<String>>,
    links: Arc<Mutex<Vec<Arc<Link>>>>,
    closed: Arc<AtomicBool>,
}

impl Relay {
    /// Starts a relay in front of the broker at `url`.
    pub fn before(url: &str) -> Relay {
        Relay::listening(TcpListener::bind("127.0.0.1:0").unwrap(), url)
    }

    /// Starts a relay that accepts its clients from `listener`.
    pub fn listening(listener: TcpListener, url: &str) -> Relay {
        let broker = Arc::new(Mutex::new(host_and_port(url).to_owned()));
        let address = listener.local_addr().unwrap();
        let relay = Relay { address, broker: Arc::clone(&broker), links: Arc::default(), closed: Arc::default() };
        let (links, closed) = (Arc::clone(&relay.links), Arc::clone(&relay.closed));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if closed.load(Ordering::Relaxed) {
                    return;
                }
                // If the broker does not accept, the client's connection is closed.
                let broker = lock(&broker).clone();
                if let Ok(broker) = TcpStream::connect(broker) {
                    lock(&links).push(Link::between(client, broker));
                }
            }
        });
        relay
    }

    /// Connects new links to the broker at `url`, as a load balancer does after a failover.
    pub fn redirect_to(&self, url: &str) {
        host_and_port(url).clone_into(&mut lock(&self.broker));
    }

    /// The same URL with the relay's address.
    pub fn url(&self, url: &str) -> String {
        url.replacen(host_and_port(url), &self.address.to_string(), 1)
    }

    /// Closes every link whose name contains `words`, on both sides. Panics if there is none.
    pub fn cut(&self, words: &str) {
        self.each(words, Link::cut);
    }

    /// Closes every open link; returns their number.
    pub fn cut_all(&self) -> usize {
        let links = std::mem::take(&mut *lock(&self.links));
        let open = links.iter().filter(|link| !link.closed.load(Ordering::Relaxed));
        open.map(|link| link.cut()).count()
    }

    /// Stops forwarding in these directions on every matching link, without closing it. Panics if there is none.
    pub fn hold(&self, words: &str, ways: &[Way]) {
        self.each(words, |link| ways.iter().for_each(|&way| link.set(way, |gate| gate.held = true)));
    }

    /// Ends all holds and delays. Held data is forwarded first.
    pub fn pass(&self) {
        for link in lock(&self.links).iter() {
            for &way in BOTH {
                link.set(way, |gate| *gate = Gate::default());
            }
        }
    }

    /// Delays these directions of every matching link. Panics if there is none.
    pub fn delay(&self, words: &str, ways: &[Way], delay: Duration) {
        self.each(words, |link| ways.iter().for_each(|&way| link.set(way, |gate| gate.delay = delay)));
    }

    /// The number of open links whose name contains `words`.
    pub fn links(&self, words: &str) -> usize {
        let mut links = lock(&self.links);
        links.retain(|link| !link.closed.load(Ordering::Relaxed));
        links.iter().filter(|link| link.is_named(words)).count()
    }

    fn each(&self, words: &str, act: impl Fn(&Link)) {
        assert!(self.links(words) > 0, "no link through the relay is named {words:?}");
        lock(&self.links).iter().filter(|link| link.is_named(words)).for_each(|link| act(link));
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::Relaxed);
        lock(&self.links).iter().for_each(|link| link.cut());
        // Wakes the accepting thread, which then sees that the relay is closed.
        drop(TcpStream::connect(self.address));
    }
}

/// The `host:port` of a URL.
fn host_and_port(url: &str) -> &str {
    let (_, rest) = url.rsplit_once('@').expect("expected user and password in the URL");
    rest.split(['/', '?']).next().unwrap_or(rest)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A client's connection through the relay.
#[derive(Debug)]
struct Link {
    client: TcpStream,
    broker: TcpStream,
    first_bytes: Mutex<Vec<u8>>,
    closed: AtomicBool,
    gates: Mutex<[Gate; 2]>,
    changed: Condvar,
}

/// What happens to the data of one direction.
#[derive(Debug, Default, Clone, Copy)]
struct Gate {
    held: bool,
    delay: Duration,
}

type Chunk = (Instant, Vec<u8>);

impl Link {
    fn between(client: TcpStream, broker: TcpStream) -> Arc<Link> {
        // Only the delays that a test asks for.
        for stream in [&client, &broker] {
            stream.set_nodelay(true).unwrap();
        }
        let (closed, gates, changed) = Default::default();
        let link = Arc::new(Link { client, broker, first_bytes: Mutex::default(), closed, gates, changed });
        for &way in BOTH {
            let (reader, writer) = (Arc::clone(&link), Arc::clone(&link));
            let (to, chunks) = sync_channel(IN_FLIGHT);
            thread::spawn(move || reader.read(way, &to));
            thread::spawn(move || writer.write(way, &chunks));
        }
        link
    }

    fn ends(&self, way: Way) -> (&TcpStream, &TcpStream) {
        match way {
            Way::ToBroker => (&self.client, &self.broker),
            Way::ToClient => (&self.broker, &self.client),
        }
    }

    fn read(&self, way: Way, to: &SyncSender<Chunk>) {
        let (mut from, _) = self.ends(way);
        let mut buffer = vec![0; CHUNK];
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            if way == Way::ToBroker {
                self.record_first_bytes(&buffer[..read]);
            }
            if to.send((Instant::now(), buffer[..read].to_vec())).is_err() {
                return;
            }
        }
    }

    fn record_first_bytes(&self, bytes: &[u8]) {
        let mut first = lock(&self.first_bytes);
        let missing = NAMED_WITHIN.saturating_sub(first.len());
        first.extend(bytes.iter().take(missing));
    }

    fn write(&self, way: Way, chunks: &Receiver<Chunk>) {
        let (_, mut to) = self.ends(way);
        for (read_at, chunk) in chunks {
            if !self.may_pass(way, read_at) || to.write_all(&chunk).is_err() {
                break;
            }
        }
        // The end of the stream is held or delayed as its data is.
        self.may_pass(way, Instant::now());
        self.cut();
    }

    /// Waits until what was read at `read_at` may be forwarded; returns whether the link is still open.
    fn may_pass(&self, way: Way, read_at: Instant) -> bool {
        let mut gates = lock(&self.gates);
        while !self.closed.load(Ordering::Relaxed) {
            let Gate { held, delay } = gates[way as usize];
            let early = (read_at + delay).saturating_duration_since(Instant::now());
            gates = if held {
                self.changed.wait(gates).unwrap_or_else(PoisonError::into_inner)
            } else if early.is_zero() {
                return true;
            } else {
                self.changed.wait_timeout(gates, early).unwrap_or_else(PoisonError::into_inner).0
            };
        }
        false
    }

    fn set(&self, way: Way, change: impl Fn(&mut Gate)) {
        change(&mut lock(&self.gates)[way as usize]);
        self.changed.notify_all();
    }

    fn cut(&self) {
        let _gates = lock(&self.gates);
        self.closed.store(true, Ordering::Relaxed);
        self.changed.notify_all();
        for stream in [&self.client, &self.broker] {
            // It may be closed already.
            drop(stream.shutdown(Shutdown::Both));
        }
    }

    fn is_named(&self, words: &str) -> bool {
        let first = lock(&self.first_bytes);
        words.is_empty() || first.windows(words.len()).any(|part| part == words.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait::eventually;

    /// A link through a relay: the client's end, the broker's end, and the relay.
    fn link() -> (TcpStream, TcpStream, Relay) {
        let broker = TcpListener::bind("127.0.0.1:0").unwrap();
        let relay = Relay::before(&format!("amqp://guest:guest@{}/%2f", broker.local_addr().unwrap()));
        let mut client = TcpStream::connect(relay.address).unwrap();
        let (mut far, _) = broker.accept().unwrap();
        client.write_all(b"I am ann: work").unwrap();
        far.read_exact(&mut [0; 14]).unwrap();
        (client, far, relay)
    }

    fn read_within(stream: &mut TcpStream, milliseconds: u64) -> Option<usize> {
        stream.set_read_timeout(Some(Duration::from_millis(milliseconds))).unwrap();
        stream.read(&mut [0; 64]).ok()
    }

    #[test]
    fn what_is_held_waits_and_goes_on_in_one_direction_only() {
        let (mut client, mut far, relay) = link();
        relay.hold("ann: work", &[Way::ToBroker]);
        client.write_all(b"held").unwrap();
        far.write_all(b"passed").unwrap();
        assert_eq!((read_within(&mut client, 5_000), read_within(&mut far, 50)), (Some(6), None));
        relay.pass();
        assert_eq!(read_within(&mut far, 5_000), Some(4));
    }

    #[test]
    fn what_is_delayed_comes_later() {
        let (mut client, mut far, relay) = link();
        relay.delay("", BOTH, Duration::from_millis(200));
        let sent = Instant::now();
        client.write_all(b"slow").unwrap();
        assert_eq!(read_within(&mut far, 5_000), Some(4));
        assert!(sent.elapsed() >= Duration::from_millis(200));
    }

    #[test]
    fn what_is_cut_is_closed_on_both_sides_and_no_link_any_more() {
        let (mut client, mut far, relay) = link();
        relay.cut("ann");
        assert_eq!((read_within(&mut client, 5_000), read_within(&mut far, 5_000)), (Some(0), Some(0)));
        eventually("the link is gone", || (relay.links("ann") == 0).then_some(()));
    }

    #[test]
    #[should_panic(expected = "no link through the relay is named \"bob\"")]
    fn a_link_that_is_not_there_cannot_be_cut() {
        let (_client, _far, relay) = link();
        relay.cut("bob");
    }
}
