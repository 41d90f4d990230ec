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
use crate::source::SourceError;

/// Parts of an upload that wait for the thread. Each is what the connection read at once, 64 KiB mostly.
const PARTS: usize = 8;

/// A client that sends, or takes, less than this in each [`SLOWEST_WITHIN`] that is waited for it holds a connection for nothing.
pub(crate) const SLOWEST_BYTES: usize = 64 << 10;
pub(crate) const SLOWEST_WITHIN: Duration = Duration::from_secs(60);

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
    #[error("expected the upload to end before the gateway, found that it goes on: the gateway is stopping; send it again")]
    Stopping,
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
            UploadFault::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "interrupted"),
            UploadFault::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "upload_too_large"),
            UploadFault::Idle(_) | UploadFault::TooSlow | UploadFault::TooLong(_) => {
                (StatusCode::REQUEST_TIMEOUT, "upload_too_slow")
            }
        };
        let problem = Problem::new(status, code, fault.to_string());
        if status == StatusCode::SERVICE_UNAVAILABLE { problem.retry_after(5) } else { problem }
    }
}

type Part = Result<Bytes, UploadFault>;

/// Where the connection's bytes go. If it is dropped before it has said that this is all, the upload broke off.
pub(super) struct ToReader(pub(super) mpsc::Sender<Part>);

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

    /// The first bytes, at least so many unless there are fewer; they are read again.
    pub(super) async fn head(&mut self, at_least: usize) -> io::Result<&[u8]> {
        if self.current.len() < at_least && !self.is_whole {
            let mut head = Vec::from(std::mem::take(&mut self.current));
            while head.len() < at_least && !self.is_whole {
                let part = self.parts.recv().await;
                self.take(part)?;
                head.extend_from_slice(&self.current);
            }
            self.current = head.into();
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
            Some(Err(fault)) => Err(SourceError::Sender(fault.to_string()).into()),
            None => Err(SourceError::Sender(UploadFault::BrokeOff(self.read).to_string()).into()),
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
        let frame = tokio::select! {
            frame = timeout_at(ends, pace.next(&mut body, limits.idle)) => frame,
            () = gateway.grace_over.requested() => break UploadFault::Stopping,
        };
        let frame = match frame {
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
            return Ok(());
        }
    };
    drop(to.0.send(Err(fault.clone())).await);
    Err(fault)
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
