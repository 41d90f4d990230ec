//! A channel from a thread that reads to a task that uses what is read, bounded by the number of batches and by their bytes.

use std::sync::Arc;

use rollcall_shared::broker::COALESCE;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// A batch is full at this many bytes. Its last item may exceed them.
const BATCH_BYTES: usize = 1 << 20;

/// The most batches in the channel.
const BATCHES: usize = 8;

/// The most bytes in the channel, in kilobytes, of which a semaphore can count enough.
const KILOBYTES: u32 = 4 << 10;

/// Collects items until there are enough to send together.
pub(crate) struct Batch<T> {
    items: Vec<T>,
    bytes: usize,
}

impl<T> Batch<T> {
    pub(crate) fn new() -> Batch<T> {
        Batch { items: Vec::with_capacity(COALESCE), bytes: 0 }
    }

    pub(crate) fn add(&mut self, item: T, bytes: usize) {
        self.items.push(item);
        self.bytes += bytes;
    }

    pub(crate) fn is_full(&self) -> bool {
        self.items.len() >= COALESCE || self.bytes >= BATCH_BYTES
    }

    /// Takes its items, and the sum of their bytes.
    pub(crate) fn take(&mut self) -> (Vec<T>, usize) {
        let Batch { items, bytes } = std::mem::replace(self, Batch::new());
        (items, bytes)
    }
}

pub(crate) struct Sender<T> {
    to: mpsc::Sender<(T, OwnedSemaphorePermit)>,
    room: Arc<Semaphore>,
}

pub(crate) struct Receiver<T> {
    from: mpsc::Receiver<(T, OwnedSemaphorePermit)>,
    room: Arc<Semaphore>,
}

/// The receiver has been dropped; its owner reports why.
#[derive(Debug)]
pub(crate) struct Gone;

/// Creates a channel.
pub(crate) fn read_ahead<T>() -> (Sender<T>, Receiver<T>) {
    let (to, from) = mpsc::channel(BATCHES);
    let room = Arc::new(Semaphore::new(KILOBYTES as usize));
    (Sender { to, room: Arc::clone(&room) }, Receiver { from, room })
}

impl<T> Sender<T> {
    /// Sends an item of this many bytes once there is room for it. An item larger than all the room waits until the channel is empty.
    pub(crate) async fn send(&self, item: T, bytes: usize) -> Result<(), Gone> {
        let kilobytes = u32::try_from(bytes / 1_024).unwrap_or(u32::MAX).clamp(1, KILOBYTES);
        let permit = Arc::clone(&self.room).acquire_many_owned(kilobytes).await.map_err(|_| Gone)?;
        self.to.send((item, permit)).await.map_err(|_| Gone)
    }

    /// Whether the receiver has been dropped.
    pub(crate) fn is_closed(&self) -> bool {
        self.to.is_closed()
    }
}

impl<T> Receiver<T> {
    /// The next item; `None` once the channel is empty and its sender dropped. Cancel-safe.
    pub(crate) async fn recv(&mut self) -> Option<T> {
        self.from.recv().await.map(|(item, _)| item)
    }

    /// [`Self::recv`] for a thread outside the runtime.
    pub(crate) fn blocking_recv(&mut self) -> Option<T> {
        self.from.blocking_recv().map(|(item, _)| item)
    }
}

/// Wakes a sender that waits for room, with [`Gone`].
impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.room.close();
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn what_waits_is_bounded_by_its_bytes_and_something_larger_than_the_bound_passes_alone() {
        let (to, mut from) = read_ahead();
        to.send(1, 3 << 20).await.unwrap();
        let mut second = pin!(to.send(2, 100 << 20));
        assert!(second.as_mut().now_or_never().is_none(), "there is no room beside the first");
        assert_eq!(from.recv().await, Some(1));
        second.await.unwrap();
        let mut third = pin!(to.send(3, 0));
        assert!(third.as_mut().now_or_never().is_none(), "there is no room beside the second");
        drop(from);
        assert!(third.await.is_err() && to.is_closed());
    }

    #[tokio::test]
    async fn what_waits_is_bounded_by_its_number() {
        let (to, _from) = read_ahead();
        for batch in 0..BATCHES {
            to.send(batch, 0).await.unwrap();
        }
        assert!(to.send(BATCHES, 0).now_or_never().is_none());
    }

    #[test]
    fn a_batch_ends_with_its_number_or_its_bytes() {
        let mut batch = Batch::new();
        (0..COALESCE - 1).for_each(|item| batch.add(item, 1));
        assert!(!batch.is_full());
        batch.add(0, 1);
        assert!(batch.is_full());
        assert_eq!((batch.take().1, batch.is_full()), (COALESCE, false));
        batch.add(0, BATCH_BYTES);
        assert!(batch.is_full());
    }
}
