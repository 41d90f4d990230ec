//! The local queue: items taken from the broker's work queues that no worker has begun, between the session's task and the worker
//! threads.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rollcall_shared::message::Priority;

use crate::intake::work_item::{Isolation, WorkItem};

/// A batch gets no further item once its records have this many bytes: the request to the scorer is put together in memory.
const CALL_BYTES: usize = 4 << 20;

/// The items that no worker has begun.
#[derive(Debug, Default)]
pub(crate) struct LocalQueue {
    queues: Mutex<Queues>,
    arrived: Condvar,
}

/// The queue of each [`ItemClass`], in the order in which they are taken from.
#[derive(Debug, Default)]
struct Queues {
    alone: VecDeque<WorkItem>,
    express: VecDeque<WorkItem>,
    normal: VecDeque<WorkItem>,
    closed: bool,
}

/// Which items wait in one line. A batch takes those of high priority first, and then those of normal priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ItemClass {
    /// Those that are scored in a call of their own, whatever their priority.
    Alone,
    /// Those that may be scored in a batch, of this priority.
    Batched(Priority),
}

impl ItemClass {
    const ALL: [ItemClass; 3] = [ItemClass::Alone, ItemClass::Batched(Priority::High), ItemClass::Batched(Priority::Normal)];

    fn of(item: &WorkItem) -> ItemClass {
        match item.isolation {
            Isolation::Batched => ItemClass::Batched(item.work.priority),
            Isolation::Alone | Isolation::Quarantined => ItemClass::Alone,
        }
    }
}

impl Queues {
    fn of(&mut self, class: ItemClass) -> &mut VecDeque<WorkItem> {
        match class {
            ItemClass::Alone => &mut self.alone,
            ItemClass::Batched(Priority::High) => &mut self.express,
            ItemClass::Batched(Priority::Normal) => &mut self.normal,
        }
    }

    fn batched(&self) -> usize {
        self.express.len() + self.normal.len()
    }

    fn pop(&mut self) -> Option<WorkItem> {
        self.express.pop_front().or_else(|| self.normal.pop_front())
    }

    /// At most `share` items and at least one; fewer if their records are large.
    fn pop_batch(&mut self, share: usize) -> Vec<WorkItem> {
        let (mut batch, mut bytes) = (Vec::with_capacity(share), 0);
        while batch.len() < share && bytes < CALL_BYTES {
            let Some(item) = self.pop() else { break };
            bytes += item.work.record.len();
            batch.push(item);
        }
        batch
    }

    fn remove(&mut self, unwanted: impl Fn(&WorkItem) -> bool) -> Vec<WorkItem> {
        let mut removed = Vec::new();
        for queue in [&mut self.alone, &mut self.express, &mut self.normal] {
            let (out, kept) = std::mem::take(queue).into_iter().partition::<VecDeque<WorkItem>, _>(&unwanted);
            *queue = kept;
            removed.extend(out);
        }
        removed
    }
}

impl LocalQueue {
    /// Adds items.
    pub(crate) fn add(&self, items: impl IntoIterator<Item = WorkItem>) {
        let mut queues = self.lock();
        for item in items {
            queues.of(ItemClass::of(&item)).push_back(item);
        }
        self.arrived.notify_all();
    }

    /// Waits until there are items, and takes one that is to be scored alone, or a fair share of the others for one of `workers`: at least
    /// one, at most as many as `most` says at that moment, without waiting for more. `None` once the queue is closed.
    pub(crate) fn take(&self, most: impl Fn() -> usize, workers: usize) -> Option<Vec<WorkItem>> {
        let mut queues = self.lock();
        loop {
            if queues.closed {
                return None;
            }
            if let Some(alone) = queues.alone.pop_front() {
                return Some(vec![alone]);
            }
            if queues.batched() > 0 {
                let share = queues.batched().div_ceil(workers).clamp(1, most());
                return Some(queues.pop_batch(share));
            }
            queues = self.arrived.wait(queues).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Removes and returns all items.
    pub(crate) fn clear(&self) -> Vec<WorkItem> {
        self.remove(|_| true)
    }

    /// Removes and returns the items that are `unwanted`.
    pub(crate) fn remove(&self, unwanted: impl Fn(&WorkItem) -> bool) -> Vec<WorkItem> {
        self.lock().remove(unwanted)
    }

    /// If more than twice `allowed` items of a class wait, removes and returns those behind the first `allowed` that `may_go`. Quarantined
    /// items stay: they come one at a time.
    pub(crate) fn remove_excess(&self, of: ItemClass, allowed: usize, may_go: impl Fn(&WorkItem) -> bool) -> Vec<WorkItem> {
        let mut queues = self.lock();
        let queue = queues.of(of);
        if queue.len() <= 2 * allowed {
            return Vec::new();
        }
        let behind = queue.split_off(allowed);
        let (excess, stays): (Vec<_>, Vec<_>) = behind.into_iter().partition(|item| is_excess(item, &may_go));
        queue.extend(stays);
        excess
    }

    /// Whether [`LocalQueue::remove_excess`] would remove an item of any class.
    pub(crate) fn has_excess(&self, allowed: usize, may_go: impl Fn(&WorkItem) -> bool) -> bool {
        let mut queues = self.lock();
        ItemClass::ALL.into_iter().any(|of| {
            let queue = queues.of(of);
            queue.len() > 2 * allowed && queue.iter().skip(allowed).any(|item| is_excess(item, &may_go))
        })
    }

    /// Closes the queue: `take` returns `None`.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_all();
    }

    /// Waits for `pause`, or until the queue is closed; returns whether it was.
    pub(crate) fn closes_within(&self, pause: Duration) -> bool {
        let until = Instant::now() + pause;
        let mut queues = self.lock();
        while !queues.closed {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            queues = self.arrived.wait_timeout(queues, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    fn lock(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an item beyond those that are allowed is taken out: quarantined ones come one at a time.
fn is_excess(item: &WorkItem, may_go: impl Fn(&WorkItem) -> bool) -> bool {
    !item.isolation.is_quarantined() && may_go(item)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::work_item::test_item;

    fn item(index: u32, priority: Priority, isolation: Isolation) -> WorkItem {
        let mut item = WorkItem { isolation, ..test_item(index, "") };
        item.work.priority = priority;
        item
    }

    fn indices(companies: &[WorkItem]) -> Vec<u32> {
        companies.iter().map(|item| item.work.index.0).collect()
    }

    #[test]
    fn what_is_much_more_than_allowed_is_taken_out_from_behind_and_of_its_own_queue() {
        let queue = LocalQueue::default();
        queue.add((0..6).map(|index| item(index, Priority::Normal, Isolation::Batched)));
        queue.add((6..9).map(|index| item(index, Priority::High, Isolation::Batched)));
        let normal = ItemClass::Batched(Priority::Normal);
        let all = |_: &WorkItem| true;
        assert!(!queue.has_excess(3, all) && queue.remove_excess(normal, 3, all).is_empty());
        assert!(!queue.has_excess(2, |_| false) && queue.remove_excess(normal, 2, |_| false).is_empty());
        assert!(queue.has_excess(2, all));
        assert_eq!(indices(&queue.remove_excess(normal, 2, all)), [2, 3, 4, 5]);
        assert_eq!(indices(&queue.clear()), [6, 7, 8, 0, 1]);
    }

    #[test]
    fn a_batch_ends_with_the_company_that_makes_it_large() {
        let queue = LocalQueue::default();
        let record = "x".repeat(CALL_BYTES / 2);
        queue.add((0..4).map(|index| test_item(index, &record)));
        assert_eq!(indices(&queue.take(|| 32, 1).unwrap()), [0, 1]);
    }

    #[test]
    fn of_what_is_scored_alone_a_suspect_stays() {
        let queue = LocalQueue::default();
        queue.add([item(0, Priority::Normal, Isolation::Quarantined), item(1, Priority::Normal, Isolation::Alone)]);
        assert_eq!(indices(&queue.remove_excess(ItemClass::Alone, 0, |_| true)), [1]);
    }
}
