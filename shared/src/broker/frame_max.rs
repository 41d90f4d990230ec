//! How large the broker allows a frame to be.
//!
//! lapin agrees to no less than 8,192 bytes, which RabbitMQ 4.1 and later ask for, unless less was proposed to begin with. An older broker that
//! allows less refuses without a word, by closing the connection. So where that has happened, the broker is asked.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use lapin::uri::{AMQPUri, SASLMechanism};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// RabbitMQ waits for three seconds before it closes a connection without a word.
pub(super) const CLOSED_WITHOUT_A_WORD: Duration = Duration::from_millis(2_500);

/// The largest frame proposed to a broker of which nothing else is known: RabbitMQ's own default. lapin keeps buffers of 64 frames,
/// and would go with a broker that allows ten megabytes, or any size at all. It takes less where the broker says less.
const PROPOSED: u32 = 131_072;

/// RabbitMQ 4.1 and later agree to no less.
pub(super) const LEAST_OF_LATER_BROKERS: u32 = 8_192;

/// What the broker was found to allow: a process has one, and asking it takes those seconds.
static ALLOWED: AtomicU32 = AtomicU32::new(PROPOSED);

/// What to propose, where the URL says `asked`.
pub(super) fn to_propose(asked: Option<u32>) -> u32 {
    asked.unwrap_or(PROPOSED).min(ALLOWED.load(Ordering::Relaxed))
}

/// Takes note of what the broker allows; 0 is any size.
pub(super) fn note(allowed: u32) {
    ALLOWED.store(if allowed == 0 { PROPOSED } else { allowed }, Ordering::Relaxed);
}

/// Asks the broker behind `stream`, by going half-way through the beginning of a connection.
pub(super) async fn ask(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), uri: &AMQPUri) -> io::Result<u32> {
    stream.write_all(b"AMQP\0\0\x09\x01").await?;
    method(stream, [0, 10, 0, 10]).await?;
    stream.write_all(&start_ok(uri)?).await?;
    let tune = method(stream, [0, 10, 0, 30]).await?;
    let frame_max = tune.get(2..6).and_then(|bytes| bytes.try_into().ok());
    frame_max.map(u32::from_be_bytes).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Reads a frame that must be a method of channel 0, of this class and number; returns its arguments.
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
    // No properties of the client, and the locale that every broker has.
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
