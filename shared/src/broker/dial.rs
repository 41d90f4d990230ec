//! Connects to the first of the broker's addresses that answers.
//!
//! lapin tries the addresses one after another, each until the system's timeout, so that it never reaches one after an unresponsive one. Here
//! the next address is tried as soon as one fails, or after a short delay (RFC 8305), and the first that connects is used.
//! Certificates are checked against the name, whatever the address.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Shutdown, SocketAddr, ToSocketAddrs};
use std::os::fd::AsFd;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_compat::{Compat, CompatExt};
use futures_util::stream::{FuturesUnordered, StreamExt};
use lapin::runtime::default_runtime;
use lapin::tcp::{AsyncTcpStream, TLSConfig};
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{Connection, ConnectionProperties, ErrorKind};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::error::reason;
use super::frame_max;

/// The next address is tried if the last has not connected within this time, or within its share of a shorter limit.
const NEXT_AFTER: Duration = Duration::from_millis(300);

/// Why there is no connection.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", match self { Fault::Unreachable(reason) | Fault::Refused(reason) | Fault::OutOfResources(reason) => reason })]
pub(super) enum Fault {
    /// Nothing answers; with the error of the network.
    Unreachable(String),
    /// The broker answered, and refused.
    Refused(String),
    /// This machine or process lacks a resource; with its name and advice.
    OutOfResources(String),
}

impl Fault {
    /// Whether another address may succeed.
    fn is_of_the_address(&self) -> bool {
        matches!(self, Fault::Unreachable(_))
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Fault {
        match lacking(&error) {
            Some(advice) => Fault::OutOfResources(format!("{error}; {advice}")),
            None => Fault::Unreachable(error.to_string()),
        }
    }
}

impl From<lapin::Error> for Fault {
    fn from(error: lapin::Error) -> Fault {
        match error.kind() {
            ErrorKind::ProtocolError(_) => Fault::Refused(reason(&error)),
            ErrorKind::IOError(cause) => match lacking(cause) {
                Some(advice) => Fault::OutOfResources(format!("{cause}; {advice}")),
                None => Fault::Unreachable(reason(&error)),
            },
            _ => Fault::Unreachable(reason(&error)),
        }
    }
}

/// What to do about an error of this machine or process; `None` if it is an error of the network.
fn lacking(error: &io::Error) -> Option<&'static str> {
    // Linux and the BSDs have the same numbers, except for the first.
    const EAGAIN: [i32; 2] = [11, 35];
    const ENOMEM: i32 = 12;
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    match error.raw_os_error()? {
        EMFILE => Some("raise the limit of open files (ulimit -n)"),
        ENFILE => Some("this machine has too many open files"),
        ENOMEM => Some("free memory, or raise the limit of it"),
        code if EAGAIN.contains(&code) => Some("raise the limits of processes and of memory (ulimit -u, ulimit -v)"),
        _ => None,
    }
}

/// Connects within `limit`.
pub(super) async fn connect(uri: &AMQPUri, properties: &ConnectionProperties, limit: Duration) -> Result<Connection, Fault> {
    let deadline = Instant::now() + limit;
    let in_time = humantime::format_duration(limit);
    let resolved = timeout_at(deadline, resolve(&uri.authority.host, uri.authority.port)).await;
    let addresses = resolved.unwrap_or_else(|_| Err(Fault::Unreachable(format!("its name is not resolved within {in_time}"))))?;
    to_one_of(addresses, limit, |stream| shake_hands(uri.clone(), stream, properties.clone())).await
}

/// Connects to one of the addresses and performs the handshake, all within `limit`.
async fn to_one_of<T, S: Future<Output = Result<T, Fault>>>(
    addresses: Vec<SocketAddr>,
    limit: Duration,
    shake_hands: impl Fn(TcpStream) -> S,
) -> Result<T, Fault> {
    let deadline = Instant::now() + limit;
    let silent = || Fault::Unreachable(format!("no answer within {}", humantime::format_duration(limit)));
    let mut dialer = Dialer::new(addresses, limit);
    loop {
        let connected = timeout_at(deadline, dialer.first_to_connect()).await;
        let Some((address, stream)) = connected.unwrap_or(Ok(None))? else { return Err(dialer.fault(silent)) };
        // An address that accepts the connection and does not answer must leave time for the others.
        let until = if dialer.left.is_empty() { deadline } else { Instant::now() + deadline.duration_since(Instant::now()) / 2 };
        let shaken = timeout_at(until, shake_hands(stream)).await;
        match shaken.unwrap_or_else(|_| Err(silent())) {
            Err(fault) if fault.is_of_the_address() => dialer.failed.push((address, fault)),
            ended => return ended,
        }
    }
}

/// The addresses of a name, resolved in a thread that is left behind if the name server does not answer in time.
async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, Fault> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let (to, resolved) = oneshot::channel();
    let host = host.to_owned();
    std::thread::Builder::new().name("resolve".to_owned()).spawn(move || {
        drop(to.send((host.as_str(), port).to_socket_addrs().map(Iterator::collect::<Vec<SocketAddr>>)));
    })?;
    let resolved = resolved.await.map_err(|_| Fault::Unreachable("resolving its name crashed".to_owned()))?;
    let addresses = resolved.map_err(|error| Fault::Unreachable(format!("its name is not resolved: {error}")))?;
    if addresses.is_empty() { Err(Fault::Unreachable("its name has no address".to_owned())) } else { Ok(addresses) }
}

/// Each address once, in the system's order, but with the two families alternating, since the network may lack one of them.
fn in_turn(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let six_first = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, other): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|address| address.is_ipv6() == six_first);
    let (mut first, mut other) = (first.into_iter(), other.into_iter());
    let mut ordered = Vec::new();
    loop {
        let next = [first.next(), other.next()];
        if next == [None, None] {
            return ordered;
        }
        for address in next.into_iter().flatten() {
            if !ordered.contains(&address) {
                ordered.push(address);
            }
        }
    }
}

/// The addresses of one broker, and how far each was tried.
struct Dialer {
    /// Not yet tried.
    left: VecDeque<SocketAddr>,
    /// Connecting.
    trying: Vec<SocketAddr>,
    failed: Vec<(SocketAddr, Fault)>,
    next_after: Duration,
}

impl Dialer {
    fn new(addresses: Vec<SocketAddr>, limit: Duration) -> Dialer {
        let most = u32::try_from(addresses.len()).unwrap_or(u32::MAX).saturating_add(1);
        let next_after = NEXT_AFTER.min(limit / most);
        Dialer { left: in_turn(addresses).into(), trying: Vec::new(), failed: Vec::new(), next_after }
    }

    /// The first address that connects; `None` if all have failed.
    async fn first_to_connect(&mut self) -> Result<Option<(SocketAddr, TcpStream)>, Fault> {
        let mut connecting = FuturesUnordered::new();
        let mut next = true;
        loop {
            if next && let Some(address) = self.left.pop_front() {
                self.trying.push(address);
                connecting.push(async move { (address, TcpStream::connect(address).await) });
            }
            if connecting.is_empty() {
                return Ok(None);
            }
            next = tokio::select! {
                Some((address, connected)) = connecting.next() => {
                    self.trying.retain(|&trying| trying != address);
                    match connected.map_err(Fault::from) {
                        Ok(stream) => {
                            // If the handshake fails with this address, the others are tried again.
                            self.left.extend(self.trying.drain(..));
                            return Ok(Some((address, stream)));
                        }
                        Err(fault) if fault.is_of_the_address() => self.failed.push((address, fault)),
                        Err(fault) => return Err(fault),
                    }
                    true
                }
                () = tokio::time::sleep(self.next_after), if !self.left.is_empty() => true,
            };
        }
    }

    /// Why none of the addresses can be used; those that have not failed are `silent`.
    fn fault(self, silent: impl Fn() -> Fault) -> Fault {
        let silent = self.trying.into_iter().chain(self.left).map(|address| (address, silent()));
        let mut faults: Vec<_> = self.failed.into_iter().chain(silent).collect();
        if faults.len() == 1 {
            return faults.swap_remove(0).1;
        }
        let each = faults.into_iter().map(|(address, fault)| format!("{address}: {fault}")).collect::<Vec<_>>();
        Fault::Unreachable(format!("none of its {} addresses answers ({})", each.len(), each.join("; ")))
    }
}

/// Performs the handshake with the process that accepted the connection.
async fn shake_hands(mut uri: AMQPUri, stream: TcpStream, properties: ConnectionProperties) -> Result<Connection, Fault> {
    let (address, asked, began) = (stream.peer_addr()?, uri.query.frame_max, Instant::now());
    uri.query.frame_max = Some(frame_max::to_propose(asked));
    let fault = match open(uri.clone(), stream, properties.clone()).await {
        Err(fault) if fault.is_of_the_address() && began.elapsed() >= frame_max::CLOSED_SILENTLY_AFTER => fault,
        ended => return ended,
    };
    let (plain, _cut) = with_cut(TcpStream::connect(address).await?)?;
    let Ok(allowed) = frame_max::ask(&mut encrypted(plain, &uri).await?.compat(), &uri).await else { return Err(fault) };
    frame_max::note(allowed);
    let proposed = frame_max::to_propose(asked);
    if uri.query.frame_max == Some(proposed) {
        return Err(if proposed < frame_max::LEAST_OF_LATER_BROKERS { too_small(proposed) } else { fault });
    }
    uri.query.frame_max = Some(proposed);
    open(uri, TcpStream::connect(address).await?, properties).await
}

fn too_small(proposed: u32) -> Fault {
    Fault::Refused(format!(
        "it closed the connection over frame_max={proposed}, and RabbitMQ 4.1 and later ask for {} at least; leave frame_max out",
        frame_max::LEAST_OF_LATER_BROKERS
    ))
}

/// Performs lapin's handshake. If it is dropped before its end, the connection is cut: lapin's thread would otherwise wait for an answer for
/// as long as the process lives.
async fn open(uri: AMQPUri, stream: TcpStream, properties: ConnectionProperties) -> Result<Connection, Fault> {
    let (stream, mut cut) = with_cut(stream)?;
    let once = Mutex::new(Some(encrypted(stream, &uri).await?));
    let give = async move |_, _| {
        let stream = once.lock().unwrap_or_else(PoisonError::into_inner).take();
        stream.ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected).into())
    };
    let connection = Connection::connector(uri, default_runtime()?, give, properties).await?;
    cut.0 = None;
    Ok(connection)
}

/// The stream as it is, or encrypted if the URL asks for it. The certificate must be valid for the host name.
async fn encrypted(stream: TcpStream, uri: &AMQPUri) -> io::Result<AsyncTcpStream<Compat<TcpStream>>> {
    let stream = AsyncTcpStream::Plain(stream.compat());
    match uri.scheme {
        AMQPScheme::AMQP => Ok(stream),
        AMQPScheme::AMQPS => stream.into_tls(&uri.authority.host, TLSConfig::default()).await,
    }
}

fn with_cut(stream: TcpStream) -> io::Result<(TcpStream, Cut)> {
    stream.set_nodelay(true)?;
    let same = stream.as_fd().try_clone_to_owned()?;
    Ok((stream, Cut(Some(same.into()))))
}

/// Shuts a connection down when it is dropped.
struct Cut(Option<std::net::TcpStream>);

impl Drop for Cut {
    fn drop(&mut self) {
        if let Some(stream) = self.0.take() {
            // An error means that it is closed already.
            drop(stream.shutdown(Shutdown::Both));
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    /// Long enough for a busy machine; a test that needs less does not wait for more.
    const LIMIT: Duration = Duration::from_secs(20);

    async fn listening() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    /// An address that does not answer connection attempts, for as long as the returned pair is kept: the backlog of its listener is full.
    async fn silent() -> (SocketAddr, (TcpListener, TcpStream)) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        let only = TcpStream::connect(address).await.unwrap();
        (address, (listener, only))
    }

    /// An address at which nothing listens.
    fn nobody() -> SocketAddr {
        std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
    }

    async fn address_of(stream: TcpStream) -> Result<SocketAddr, Fault> {
        Ok(stream.peer_addr()?)
    }

    #[tokio::test]
    async fn behind_addresses_that_are_silent_or_refuse_the_one_that_answers_is_found_within_a_second() {
        let ((first, _kept), (second, _kept_too), (_listener, address)) = (silent().await, silent().await, listening().await);
        let began = Instant::now();
        let found = to_one_of(vec![first, nobody(), second, address], LIMIT, address_of).await;
        assert_eq!(found, Ok(address));
        assert!(began.elapsed() < LIMIT / 4, "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn where_an_address_takes_connections_and_says_nothing_the_next_is_tried_in_time() {
        let ((_mute, mute), (_listener, address)) = (listening().await, listening().await);
        let limit = Duration::from_secs(2);
        let found = to_one_of(vec![mute, address], limit, move |stream: TcpStream| async move {
            if stream.peer_addr()? == mute {
                std::future::pending::<()>().await;
            }
            address_of(stream).await
        });
        assert_eq!(found.await, Ok(address));
    }

    #[tokio::test]
    async fn where_none_answers_each_is_named_with_its_reason_and_the_limit_holds() {
        let ((quiet, _kept), refusing) = (silent().await, nobody());
        let fault = to_one_of(vec![quiet, refusing], Duration::from_secs(1), address_of).await.unwrap_err();
        let Fault::Unreachable(reason) = &fault else { panic!("{fault:?}") };
        for words in [&format!("{refusing}: Connection refused"), &format!("{quiet}: no answer within 1s"), "none of its 2"] {
            assert!(reason.contains(words), "expected {words:?} in {reason:?}");
        }
        let alone = to_one_of(vec![quiet], Duration::from_secs(1), address_of).await.unwrap_err();
        assert_eq!(alone, Fault::Unreachable("no answer within 1s".to_owned()));
    }

    #[tokio::test]
    async fn a_broker_that_refuses_is_not_one_that_does_not_answer() {
        let ((_one, one), (_other, other)) = (listening().await, listening().await);
        let refused = || Fault::Refused("ACCESS_REFUSED".to_owned());
        let ended = to_one_of(vec![one, other], LIMIT, async |_| Err::<(), Fault>(refused())).await;
        assert_eq!(ended, Err(refused()));
    }

    #[tokio::test]
    async fn a_connection_that_is_given_up_is_cut() {
        let (listener, address) = listening().await;
        let uri =
            AMQPUri { authority: lapin::uri::AMQPAuthority { port: address.port(), ..Default::default() }, ..Default::default() };
        let limit = Duration::from_millis(500);
        let properties = ConnectionProperties::default();
        let connecting = connect(&uri, &properties, limit);
        let (ended, accepted) = tokio::join!(connecting, listener.accept());
        assert!(matches!(ended, Err(Fault::Unreachable(_))), "{:?}", ended.err());
        // The protocol header, and then the end.
        let mut said = Vec::new();
        tokio::time::timeout(LIMIT, accepted.unwrap().0.read_to_end(&mut said)).await.unwrap().unwrap();
        assert!(said.starts_with(b"AMQP"), "{said:?}");
    }

    #[tokio::test]
    async fn a_name_has_the_addresses_that_the_system_knows_and_an_address_is_its_own() {
        assert!(resolve("localhost", 5).await.unwrap().iter().all(|address| address.ip().is_loopback() && address.port() == 5));
        assert_eq!(resolve("::1", 5).await, Ok(vec!["[::1]:5".parse().unwrap()]));
        let Err(Fault::Unreachable(reason)) = resolve("broker.invalid", 5).await else { panic!("a name that cannot be") };
        assert!(reason.contains("its name is not resolved"), "{reason}");
    }

    #[test]
    fn the_families_take_turns_and_no_address_is_tried_twice() {
        let addresses = |text: &str| text.split(' ').map(|address| address.parse().unwrap()).collect::<Vec<SocketAddr>>();
        let found = in_turn(addresses("[::1]:1 [::2]:1 [::1]:1 [::3]:1 1.1.1.1:1 2.2.2.2:1 1.1.1.1:1"));
        assert_eq!(found, addresses("[::1]:1 1.1.1.1:1 [::2]:1 2.2.2.2:1 [::3]:1"));
        assert_eq!(in_turn(addresses("1.1.1.1:1 [::1]:1")), addresses("1.1.1.1:1 [::1]:1"));
    }

    #[test]
    fn too_few_files_memory_or_threads_are_no_fault_of_the_network() {
        for (code, words) in [(24, "ulimit -n"), (23, "open files"), (12, "memory"), (11, "ulimit -u")] {
            let fault = Fault::from(io::Error::from_raw_os_error(code));
            assert!(matches!(&fault, Fault::OutOfResources(said) if said.contains(words)), "{fault:?}");
        }
        assert!(Fault::from(io::Error::from(io::ErrorKind::ConnectionRefused)).is_of_the_address());
    }
}
