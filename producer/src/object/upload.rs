//! Writes an object, whole or not at all: as several parts that become an object once all are there, or at once if it is small.

use std::fmt::Display;
use std::io::{self, Write};
use std::time::Duration;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStoreExt, PutPayload, WriteMultipart};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::error::ObjectError;
use super::store::{Purpose, Store, path};
use crate::location::{ObjectUrl, Place};

/// At least the 5 MiB that S3 asks for. It takes 10,000 parts, so 80 GB.
const PART_BYTES: usize = 8 << 20;

/// Parts on their way at the same time. With the one that is being filled and the one that waits, they are what an upload holds in memory.
const IN_FLIGHT: usize = 3;

/// How long an upload that is not to be may take to be cleaned up: the process waits for it.
const DISCARD_WITHIN: Duration = Duration::from_secs(10);

/// The end of an upload that a thread fills.
pub(crate) struct UploadWriter {
    part: Vec<u8>,
    parts: mpsc::Sender<Bytes>,
}

/// An upload under way. If it is dropped, it is cleaned up as long as the runtime lasts.
pub(crate) struct Upload {
    /// Without it, there is to be no object.
    complete: oneshot::Sender<()>,
    task: JoinHandle<Result<(), ObjectError>>,
}

/// Starts to write the object at a URL. Nothing is there before [`Upload::complete`].
pub(crate) async fn upload(url: &ObjectUrl) -> Result<(UploadWriter, Upload), ObjectError> {
    let (store, path) = open(url, Purpose::Write).await?;
    let (parts, received) = mpsc::channel(1);
    let (complete, is_complete) = oneshot::channel();
    let transfer = Transfer { store, path, first: None, creating: None, multipart: None };
    let task = tokio::spawn(transfer.run(received, is_complete));
    Ok((UploadWriter { part: Vec::new(), parts }, Upload { complete, task }))
}

async fn open(url: &ObjectUrl, purpose: Purpose) -> Result<(Store, Path), ObjectError> {
    match url.place() {
        Place::Store { kind, bucket, key } => Ok((Store::open(*kind, bucket, purpose).await?, path(key)?)),
        Place::Web(_) => Err(ObjectError::NotWritable),
    }
}

/// Finds out whether an object can be written: begins to, and takes it back. Azure has no beginning; there, its container is looked at.
pub(crate) async fn check(url: &ObjectUrl) -> Result<(), ObjectError> {
    let (store, path) = open(url, Purpose::Check).await?;
    if let Store::Azure(container) = &store {
        return match container.head(&path).await {
            Ok(_) => Ok(()),
            Err(error) => match ObjectError::of_store(&error) {
                ObjectError::NoObject => Ok(()),
                error => Err(error),
            },
        };
    }
    let mut begun = store.objects().put_multipart(&path).await.map_err(|error| ObjectError::of_store(&error))?;
    begun.abort().await.map_err(|error| ObjectError::of_store(&error))
}

impl UploadWriter {
    /// Hands over what is left.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        if self.part.is_empty() { Ok(()) } else { self.send() }
    }

    fn send(&mut self) -> io::Result<()> {
        let part = std::mem::take(&mut self.part);
        // The upload itself says why it has ended.
        self.parts.blocking_send(part.into()).map_err(|_| io::Error::other("the upload has ended"))
    }
}

impl Write for UploadWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(PART_BYTES - self.part.len());
        self.part.extend_from_slice(&bytes[..taken]);
        if self.part.len() == PART_BYTES {
            self.send()?;
        }
        Ok(taken)
    }

    /// A part is sent once it is full.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Upload {
    /// Makes an object of what was written. The writer must have finished.
    pub(crate) async fn complete(self) -> Result<(), ObjectError> {
        // The task says why it no longer listens.
        self.complete.send(()).ok();
        joined(self.task.await)
    }

    /// Takes back what was written; returns why the upload had ended before, if it had.
    pub(crate) async fn discard(self) -> Option<ObjectError> {
        drop(self.complete);
        match tokio::time::timeout(DISCARD_WITHIN, self.task).await {
            Ok(ended) => joined(ended).err(),
            Err(_) => {
                warn_of_parts("no answer in time");
                None
            }
        }
    }
}

/// Says that parts of an upload that is not to be are left.
fn warn_of_parts(reason: impl Display) {
    tracing::warn!(
        event = "upload_not_discarded",
        %reason,
        "parts of an interrupted upload may be left; the bucket's rule for incomplete uploads removes them"
    );
}

fn joined(ended: Result<Result<(), ObjectError>, tokio::task::JoinError>) -> Result<(), ObjectError> {
    ended.unwrap_or_else(|crashed| Err(ObjectError::Unexpected(crashed.to_string())))
}

/// Sends parts as they come.
struct Transfer {
    store: Store,
    path: Path,
    /// The first part, until there is another: an object of one part needs one request.
    first: Option<Bytes>,
    /// Kept until it is known: an upload that was begun and forgotten would stay in the bucket.
    creating: Option<JoinHandle<Result<Box<dyn MultipartUpload>, object_store::Error>>>,
    multipart: Option<WriteMultipart>,
}

impl Transfer {
    async fn run(mut self, mut parts: mpsc::Receiver<Bytes>, mut complete: oneshot::Receiver<()>) -> Result<(), ObjectError> {
        let (sent, is_complete) = {
            let mut sending = std::pin::pin!(self.send_all(&mut parts));
            tokio::select! {
                biased;
                is_complete = &mut complete => match is_complete {
                    Ok(()) => (sending.await, Some(true)),
                    Err(_) => (Ok(()), Some(false)),
                },
                sent = &mut sending => (sent, None),
            }
        };
        let is_complete = match is_complete {
            Some(is_complete) => is_complete,
            None => sent.is_ok() && complete.await.is_ok(),
        };
        match sent {
            Ok(()) if is_complete => self.finish().await.map_err(|error| ObjectError::of_store(&error)),
            ended => {
                if let Err(error) = self.abort().await {
                    warn_of_parts(ObjectError::of_store(&error));
                }
                ended
            }
        }
    }

    /// Sends all parts until their writer has finished, or is gone.
    async fn send_all(&mut self, parts: &mut mpsc::Receiver<Bytes>) -> Result<(), ObjectError> {
        while let Some(part) = parts.recv().await {
            let sent = self.send(part).await;
            sent.map_err(|error| ObjectError::of_store(&error))?;
        }
        Ok(())
    }

    async fn send(&mut self, part: Bytes) -> Result<(), object_store::Error> {
        let Some(multipart) = &mut self.multipart else {
            let Some(first) = self.first.take() else {
                self.first = Some(part);
                return Ok(());
            };
            let multipart = self.create().await?;
            multipart.put(first);
            multipart.put(part);
            return Ok(());
        };
        multipart.wait_for_capacity(IN_FLIGHT).await?;
        multipart.put(part);
        Ok(())
    }

    async fn create(&mut self) -> Result<&mut WriteMultipart, object_store::Error> {
        let (store, path) = (self.store.clone(), self.path.clone());
        let creating = self.creating.insert(tokio::spawn(async move { store.objects().put_multipart(&path).await }));
        let created = creating.await?;
        self.creating = None;
        Ok(self.multipart.insert(WriteMultipart::new_with_chunk_size(created?, PART_BYTES)))
    }

    async fn finish(self) -> Result<(), object_store::Error> {
        match self.multipart {
            Some(multipart) => multipart.finish().await.map(drop),
            None => {
                let whole = PutPayload::from(self.first.unwrap_or_default());
                self.store.objects().put(&self.path, whole).await.map(drop)
            }
        }
    }

    async fn abort(self) -> Result<(), object_store::Error> {
        if let Some(creating) = self.creating {
            creating.await??.abort().await?;
        }
        match self.multipart {
            Some(multipart) => multipart.abort().await,
            None => Ok(()),
        }
    }
}
