//! The largest frame that the broker allows.
//!
//! lapin accepts no limit below 8,192 bytes, the least of RabbitMQ 4.1 and later, unless it proposed less itself. An older broker with a lower
//! limit then closes the connection without an error. So after such a close, this module asks the broker for its limit.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use lapin::uri::{AMQPUri, SASLMechanism};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// RabbitMQ waits for three seconds before it closes such a connection.
pub(super) const CLOSED_SILENTLY_AFTER: Duration = Duration::from_millis(2_500);

/// The proposal to a broker whose limit is not known: RabbitMQ's default. lapin keeps buffers of 64 frames, so it must not accept the
/// limit of a broker that allows ten megabytes or any size. If the broker's limit is lower, lapin uses that.
const PROPOSED: u32 = 131_072;

/// RabbitMQ 4.1 and later accept no less.
pub(super) const LEAST_OF_LATER_BROKERS: u32 = 8_192;

/// The limit of the broker: a process has one broker, and asking it takes seconds.
static ALLOWED: AtomicU32 = AtomicU32::new(PROPOSED);

/// The frame size to propose, if the URL asks for `asked`.
pub(super) fn to_propose(asked: Option<u32>) -> u32 {
    asked.unwrap_or(PROPOSED).min(ALLOWED.load(Ordering::Relaxed))
}

/// Records the limit of the broker; 0 means any size.
pub(super) fn note(allowed: u32) {
    ALLOWED.store(if allowed == 0 { PROPOSED } else { allowed }, Ordering::Relaxed);
}

/// Asks the broker at the other end of `stream` for its limit, by the first half of a handshake.
pub(super) async fn ask(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), uri: &AMQPUri) -> io::Result<u32> {
    stream.write_all(b"AMQP\0\0\x09\x01").await?;
    method(stream, [0, 10, 0, 10]).await?;
    stream.write_all(&start_ok(uri)?).await?;
    let tune = method(stream, [0, 10, 0, 30]).await?;
    let frame_max = tune.get(2..6).and_then(|bytes| bytes.try_into().ok());
    frame_max.map(u32::from_be_bytes).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Reads a frame that must be a method on channel 0 with the class and method id `expected`; returns its arguments.
async fn method(stream: &mut (impl AsyncRead + Unpin), expected: [u8; 4]) -> io::Result<Vec<u8>> {
    const MOST: u32 = 4_096;
    let mut head = [0; 7];
    stream.read_exact(&mut head).await?;
    let [kind, channel @ .., a, b, c, d] = head;
    let bytes = u32::from_be_bytes([a, b, c, d]);
    if (kind, channel) != (1, [0, 0]) || bytes > MOST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut payload = vec![0; bytes as usize + 1];
    stream.read_exact(&mut payload).await?;
    payload.strip_prefix(&expected).map(<[u8]>::to_vec).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn start_ok(uri: &AMQPUri) -> io::Result<Vec<u8>> {
    let (user, mechanism) = (&uri.authority.userinfo, uri.query.auth_mechanism.unwrap_or_default());
    let response = match mechanism {
        SASLMechanism::Plain => format!("\0{}\0{}", user.username, user.password),
        SASLMechanism::External | SASLMechanism::Anonymous => String::new(),
        SASLMechanism::AMQPlain | SASLMechanism::RabbitCrDemo => return Err(io::ErrorKind::Unsupported.into()),
    };
    let (mechanism, response) = (mechanism.name().as_bytes(), response.as_bytes());
    // No client properties, and the locale that every broker has.
    let parts: [&[u8]; 8] = [
        &[0, 10, 0, 11],
        &[0; 4],
        &[u8::try_from(mechanism.len()).unwrap_or(u8::MAX)],
        mechanism,
        &length(response),
        response,
        &[5],
        b"en_US",
    ];
    let payload = parts.concat();
    Ok([&[1, 0, 0][..], &length(&payload), &payload, &[0xce]].concat())
}

fn length(bytes: &[u8]) -> [u8; 4] {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes()
}
