//! Companies taken from the broker and not yet being scored: between the one task that takes and the threads that score.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rollcall_shared::message::Priority;

use crate::intake::Taken;

/// The companies waiting: first those that must be scored alone, then those of express jobs.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    queues: Mutex<Queues>,
    arrived: Condvar,
}

#[derive(Debug, Default)]
struct Queues {
    alone: VecDeque<Taken>,
    express: VecDeque<Taken>,
    normal: VecDeque<Taken>,
    closed: bool,
}

impl Queues {
    fn batched(&self) -> usize {
        self.express.len() + self.normal.len()
    }

    fn pop(&mut self) -> Option<Taken> {
        self.express.pop_front().or_else(|| self.normal.pop_front())
    }

    fn remove(&mut self, unwanted: impl Fn(&Taken) -> bool) -> Vec<Taken> {
        let mut removed = Vec::new();
        for queue in [&mut self.alone, &mut self.express, &mut self.normal] {
            let (out, kept) = std::mem::take(queue).into_iter().partition::<VecDeque<Taken>, _>(&unwanted);
            *queue = kept;
            removed.extend(out);
        }
        removed
    }
}

impl Waiting {
    /// Adds companies.
    pub(crate) fn add(&self, taken: impl IntoIterator<Item = Taken>) {
        let mut queues = self.lock();
        for taken in taken {
            let queue = match taken.work.priority {
                _ if taken.alone => &mut queues.alone,
                Priority::High => &mut queues.express,
                Priority::Normal => &mut queues.normal,
            };
            queue.push_back(taken);
        }
        self.arrived.notify_all();
    }

    /// Waits for companies and takes one that must be alone, or a fair share of the others for one of `threads`: at least
    /// one, at most as `most` says when they are there, without waiting for more. None once it is closed.
    pub(crate) fn take(&self, most: impl Fn() -> usize, threads: usize) -> Option<Vec<Taken>> {
        let mut queues = self.lock();
        loop {
            if queues.closed {
                return None;
            }
            if let Some(alone) = queues.alone.pop_front() {
                return Some(vec![alone]);
            }
            if queues.batched() > 0 {
                let share = queues.batched().div_ceil(threads).clamp(1, most());
                return Some(std::iter::from_fn(|| queues.pop()).take(share).collect());
            }
            queues = self.arrived.wait(queues).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes out all that nobody has begun to score.
    pub(crate) fn clear(&self) -> Vec<Taken> {
        self.lock().remove(|_| true)
    }

    /// Takes out those that `unwanted` names.
    pub(crate) fn remove(&self, unwanted: impl Fn(&Taken) -> bool) -> Vec<Taken> {
        self.lock().remove(unwanted)
    }

    /// Takes out those that have waited for longer than `age`.
    pub(crate) fn remove_older_than(&self, age: Duration) -> Vec<Taken> {
        self.lock().remove(|taken| taken.taken_at.elapsed() > age)
    }

    /// Takes out the last of what is scored in batches, where more than twice `allowed` of a priority wait: all beyond `allowed` that
    /// have been here for `age`. What must be scored alone stays: elsewhere it would be put into a batch again.
    pub(crate) fn remove_excess(&self, allowed: usize, age: Duration) -> Vec<Taken> {
        let mut queues = self.lock();
        let mut removed = Vec::new();
        let Queues { express, normal, .. } = &mut *queues;
        for queue in [express, normal].into_iter().filter(|queue| queue.len() > 2 * allowed) {
            while queue.len() > allowed && queue.back().is_some_and(|last| last.taken_at.elapsed() >= age) {
                removed.extend(queue.pop_back());
            }
        }
        removed
    }

    /// Closes the queue: `take` returns `None`.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_all();
    }

    /// Whether it was closed.
    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    fn lock(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
