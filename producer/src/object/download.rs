//! Reads an object from its first byte to its last, whatever happens to its connections.

use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use futures_util::{StreamExt, stream};
use rollcall_shared::broker::Backoff;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::client::Object;
use super::error::ObjectError;
use super::identity::Identity;
use super::request::{Answer, ByteStream, Span};
use crate::location::ObjectUrl;
use crate::read_ahead::{Receiver, Sender, read_ahead};

/// Attempts at the same byte, the pauses between which sum to about 30 s.
const ATTEMPTS: u32 = 10;

/// An object that has been opened: what is read of it later is of the same object.
#[derive(Clone)]
pub(crate) struct OpenObject {
    object: Arc<Object>,
    identity: Arc<Identity>,
    /// Whether it is known that the server gives parts.
    takes_ranges: bool,
    runtime: Handle,
}

/// A part of what was read.
enum Chunk {
    Bytes(Bytes),
    /// Everything has been read. Without it, the runtime has ended.
    End,
    Failed(ObjectError),
}

impl OpenObject {
    /// Opens the object at a URL, and reads it ahead. For a thread that may block, in the context of the runtime.
    pub(crate) fn open(url: &ObjectUrl) -> io::Result<(OpenObject, ObjectBytes)> {
        let (url, runtime) = (url.clone(), Handle::try_current().map_err(io::Error::other)?);
        let (opened, answer) = oneshot::channel();
        runtime.spawn(async move {
            let open = async {
                let object = Object::at(&url).await?;
                let answer = object.open().await?;
                Ok::<_, ObjectError>((object, answer))
            };
            // If the receiver is gone, so is this thread.
            drop(opened.send(open.await));
        });
        let answer = answer.blocking_recv().map_err(|_| io::Error::other("the runtime has ended"))?;
        let (object, (identity, takes_ranges, bytes)) = answer?;
        let object = OpenObject { object: Arc::new(object), identity: Arc::new(identity), takes_ranges, runtime };
        let bytes = object.read_ahead(Span { start: 0, end: object.size() }, Some(bytes));
        Ok((object, bytes))
    }

    /// Its size in bytes, if the server says it.
    pub(crate) fn size(&self) -> Option<u64> {
        self.identity.size
    }

    /// Whether parts of it can be read in any order, and are known to be parts of the same object.
    pub(crate) fn is_seekable(&self) -> bool {
        self.takes_ranges && self.size().is_some() && self.identity.content_hash().is_some()
    }

    /// Reads parts of it at the same time. For a thread that may block.
    pub(super) fn read(&self, ranges: &[Range<u64>]) -> io::Result<Vec<Bytes>> {
        let begin = |range: &Range<u64>| self.read_ahead(Span { start: range.start, end: Some(range.end) }, None);
        let parts: Vec<ObjectBytes> = ranges.iter().map(begin).collect();
        let read = |mut part: ObjectBytes| {
            let mut bytes = Vec::new();
            part.read_to_end(&mut bytes)?;
            Ok(bytes.into())
        };
        parts.into_iter().map(read).collect()
    }

    /// Starts to read a part of it; `bytes` are those of an answer that has begun.
    pub(super) fn read_ahead(&self, span: Span, bytes: Option<ByteStream>) -> ObjectBytes {
        let (to, chunks) = read_ahead();
        self.runtime.spawn(Download::of(self.clone(), span).run(bytes, to));
        ObjectBytes { chunks, chunk: Bytes::new(), has_ended: false }
    }
}

/// Whether somebody still reads.
enum Wanted {
    Yes,
    NoLonger,
}

/// The bytes of an object, or of a part of it.
pub(crate) struct ObjectBytes {
    chunks: Receiver<Chunk>,
    chunk: Bytes,
    has_ended: bool,
}

impl Read for ObjectBytes {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() && !self.has_ended && !out.is_empty() {
            match self.chunks.blocking_recv() {
                Some(Chunk::Bytes(bytes)) => self.chunk = bytes,
                Some(Chunk::End) => self.has_ended = true,
                Some(Chunk::Failed(error)) => return Err(error.into()),
                None => return Err(io::Error::other("reading it has crashed")),
            }
        }
        let read = self.chunk.len().min(out.len());
        self.chunk.copy_to_slice(&mut out[..read]);
        Ok(read)
    }
}

/// Reads an object, or a part of it, and goes on with a new connection when one breaks off.
struct Download {
    object: OpenObject,
    /// The next byte.
    position: u64,
    end: Option<u64>,
    /// In a row, without a byte between.
    failures: u32,
    backoff: Backoff,
    /// Why the last connection broke off.
    broken: String,
}

impl Download {
    fn of(object: OpenObject, span: Span) -> Download {
        let (failures, backoff, broken) = (0, Backoff::new(), String::new());
        Download { object, position: span.start, end: span.end, failures, backoff, broken }
    }

    async fn run(mut self, bytes: Option<ByteStream>, to: Sender<Chunk>) {
        let last = match self.read(bytes, &to).await {
            Ok(Wanted::Yes) => Chunk::End,
            Ok(Wanted::NoLonger) => return,
            Err(error) => Chunk::Failed(error),
        };
        // A receiver that was dropped wants no more.
        drop(to.send(last, 0).await);
    }

    async fn read(&mut self, mut bytes: Option<ByteStream>, to: &Sender<Chunk>) -> Result<Wanted, ObjectError> {
        loop {
            match self.forward(bytes.take(), to).await {
                Err(error) if error.may_pass() => self.pause(error).await?,
                ended => return ended,
            }
        }
    }

    /// Hands over what an answer has: the one that has begun, or another for the rest.
    async fn forward(&mut self, bytes: Option<ByteStream>, to: &Sender<Chunk>) -> Result<Wanted, ObjectError> {
        let mut bytes = match bytes {
            Some(bytes) => bytes,
            None => self.rest().await?,
        };
        while let Some(chunk) = bytes.next().await {
            let chunk = chunk?;
            let length = chunk.len();
            self.position += length as u64;
            (self.failures, self.backoff) = (0, Backoff::new());
            if to.send(Chunk::Bytes(chunk), length).await.is_err() {
                return Ok(Wanted::NoLonger);
            }
        }
        match self.end {
            Some(end) if self.position < end => Err(ObjectError::Unreachable("one that is cut short".to_owned())),
            _ => Ok(Wanted::Yes),
        }
    }

    async fn rest(&self) -> Result<ByteStream, ObjectError> {
        let span = Span { start: self.position, end: self.end };
        if span.end.is_some_and(|end| end <= span.start) {
            return Ok(stream::empty().boxed());
        }
        match self.object.object.get(span, Some(&self.object.identity)).await? {
            Answer::Bytes { bytes, .. } => Ok(bytes),
            Answer::WithoutRanges => Err(self.cannot_resume("its server gives no parts of files")),
        }
    }

    /// Waits before the next attempt.
    ///
    /// # Errors
    /// If there is to be no further one.
    async fn pause(&mut self, error: ObjectError) -> Result<(), ObjectError> {
        self.broken = error.in_short();
        if self.object.identity.content_hash().is_none() {
            return Err(
                self.cannot_resume("its server sends neither ETag nor Last-Modified, by which to know that it is the same file")
            );
        }
        self.failures += 1;
        if self.failures >= ATTEMPTS {
            return Err(error);
        }
        let (source, position, found) = (&self.object.object.url, self.position, &self.broken);
        tracing::warn!(event = "source_interrupted", %source, position, found, "the connection to the source broke off; reading on from there");
        tokio::time::sleep(self.backoff.pause()).await;
        Ok(())
    }

    fn cannot_resume(&self, reason: &'static str) -> ObjectError {
        ObjectError::CannotResume { position: self.position, broken: self.broken.clone(), reason }
    }
}
