//! The bytes of an upload, from the connection to the thread that reads rows.

use std::error::Error;
use std::io::{self, Read};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use http_body_util::BodyExt;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

use super::super::config::HttpConfig;
use super::super::gateway::Gateway;
use super::super::http::problem::Problem;

/// Parts of an upload that wait for the thread. Each is what the connection read at once, 64 KiB mostly.
const PARTS: usize = 8;

/// A client that sends less than this in each [`SLOWEST_WITHIN`] that is waited for it holds a connection for nothing.
const SLOWEST_BYTES: usize = 1_024;
const SLOWEST_WITHIN: Duration = Duration::from_secs(60);

/// A client may not read an answer before it has sent everything, so that so much more is taken of an upload that has failed.
const DRAINED_WITHIN: Duration = Duration::from_secs(60);

/// What is wrong with an upload, whatever is in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UploadFault {
    #[error("expected the whole upload, found its end after {0} bytes: the client has gone away; send it again")]
    BrokeOff(u64),
    #[error("expected an upload of at most {0} bytes, found more; split the file, compress it, or raise [http] max_upload")]
    TooLarge(u64),
    #[error("expected the upload to go on, found nothing for {0:?}; send it again")]
    Idle(Duration),
    #[error(
        "expected an upload of at least {SLOWEST_BYTES} bytes in {SLOWEST_WITHIN:?}, found a slower one; send it again over a faster line"
    )]
    TooSlow,
    #[error("expected the file as the last field of the form, found another field behind it; put all other fields before it")]
    FieldAfterFile,
    #[error("expected the upload to end within {0:?}, found that it goes on; split the file, or raise [http] upload_within")]
    TooLong(Duration),
}

impl UploadFault {
    /// The fault that a body has failed with; `None` if it was its connection.
    pub(crate) fn of(error: &axum::Error) -> Option<UploadFault> {
        let mut error: &(dyn Error + 'static) = error;
        loop {
            if let Some(fault) = error.downcast_ref::<UploadFault>() {
                return Some(fault.clone());
            }
            error = error.source()?;
        }
    }
}

impl From<UploadFault> for Problem {
    fn from(fault: UploadFault) -> Problem {
        let (status, code) = match fault {
            UploadFault::BrokeOff(_) => (StatusCode::BAD_REQUEST, "upload_broke_off"),
            UploadFault::FieldAfterFile => (StatusCode::BAD_REQUEST, "bad_request"),
            UploadFault::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "upload_too_large"),
            UploadFault::Idle(_) | UploadFault::TooSlow | UploadFault::TooLong(_) => {
                (StatusCode::REQUEST_TIMEOUT, "upload_too_slow")
            }
        };
        Problem::new(status, code, fault.to_string())
    }
}

type Part = Result<Bytes, UploadFault>;

/// Where the connection's bytes go. If it is dropped before it has said that this is all, the upload broke off.
pub(super) struct ToReader(mpsc::Sender<Part>);

/// The bytes of an upload for a thread that reads them.
pub(super) struct BodyReader {
    parts: mpsc::Receiver<Part>,
    current: Bytes,
    read: u64,
    is_whole: bool,
}

impl BodyReader {
    pub(super) fn channel() -> (ToReader, BodyReader) {
        let (to, parts) = mpsc::channel(PARTS);
        (ToReader(to), BodyReader { parts, current: Bytes::new(), read: 0, is_whole: false })
    }

    /// The first bytes, as many as come together; they are read again. Empty at the end.
    pub(super) async fn head(&mut self) -> io::Result<&[u8]> {
        if self.current.is_empty() && !self.is_whole {
            let part = self.parts.recv().await;
            self.take(part)?;
        }
        Ok(&self.current)
    }

    fn take(&mut self, part: Option<Part>) -> io::Result<()> {
        match part {
            // An empty part is the end.
            Some(Ok(bytes)) => {
                self.is_whole = bytes.is_empty();
                self.current = bytes;
                Ok(())
            }
            Some(Err(fault)) => Err(io::Error::other(fault)),
            None => Err(io::Error::other(UploadFault::BrokeOff(self.read))),
        }
    }
}

impl Read for BodyReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        if self.current.is_empty() && !self.is_whole {
            let part = self.parts.blocking_recv();
            self.take(part)?;
        }
        let count = out.len().min(self.current.len());
        out[..count].copy_from_slice(&self.current.split_to(count));
        self.read += count as u64;
        Ok(count)
    }
}

/// Hands the body of a request to its reader. Ends early, and well, if the reader needs no more, as after a bad row.
pub(super) async fn pump(mut body: Body, to: ToReader, limits: HttpConfig, gateway: &Gateway) -> Result<(), UploadFault> {
    let ends = Instant::now() + limits.upload_within;
    let mut pace = Pace::default();
    let mut taken = 0;
    let fault = loop {
        let frame = match timeout_at(ends, pace.next(&mut body, limits.idle)).await {
            Ok(Ok(frame)) => frame,
            Ok(Err(fault)) => break fault,
            Err(_) => break UploadFault::TooLong(limits.upload_within),
        };
        let bytes = match frame {
            None => {
                // The reader may have seen enough.
                drop(to.0.send(Ok(Bytes::new())).await);
                return Ok(());
            }
            Some(Err(error)) => break UploadFault::of(&error).unwrap_or(UploadFault::BrokeOff(taken)),
            Some(Ok(bytes)) => bytes,
        };
        taken += bytes.len() as u64;
        gateway.metrics.upload_bytes.inc_by(bytes.len() as u64);
        if taken > limits.max_upload {
            break UploadFault::TooLarge(limits.max_upload);
        }
        if !bytes.is_empty() && to.0.send(Ok(bytes)).await.is_err() {
            drain_in_background(body);
            return Ok(());
        }
    };
    drop(to.0.send(Err(fault.clone())).await);
    if matches!(fault, UploadFault::TooLarge(_)) {
        drain_in_background(body);
    }
    Err(fault)
}

/// Takes what the client still sends, for a while: it would otherwise see its connection reset in place of the answer.
pub(crate) fn drain_in_background(mut body: Body) {
    tokio::spawn(timeout(DRAINED_WITHIN, async move { while let Some(Ok(_)) = body.frame().await {} }));
}

/// How fast a client sends, by the time that was waited for it.
#[derive(Default)]
struct Pace {
    waited: Duration,
    bytes: usize,
}

impl Pace {
    /// The next part of the body; `None` at its end.
    async fn next(&mut self, body: &mut Body, idle: Duration) -> Result<Option<Result<Bytes, axum::Error>>, UploadFault> {
        let began = Instant::now();
        let frame = timeout(idle, body.frame()).await.map_err(|_| UploadFault::Idle(idle))?;
        self.waited += began.elapsed();
        let frame = frame.map(|frame| frame.map(|frame| frame.into_data().unwrap_or_default()));
        self.bytes += frame.as_ref().and_then(|frame| frame.as_ref().ok()).map_or(0, Bytes::len);
        if self.waited >= SLOWEST_WITHIN {
            if self.bytes < SLOWEST_BYTES && frame.is_some() {
                return Err(UploadFault::TooSlow);
            }
            *self = Pace::default();
        }
        Ok(frame)
    }
}
