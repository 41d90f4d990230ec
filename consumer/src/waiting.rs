//! Companies taken from the broker and not yet being scored: between the one task that takes and the threads that score.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::intake::Taken;

/// The companies waiting, those of express jobs first.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    queues: Mutex<Queues>,
    arrived: Condvar,
}

#[derive(Debug, Default)]
struct Queues {
    express: VecDeque<Taken>,
    normal: VecDeque<Taken>,
    closed: bool,
}

impl Queues {
    fn len(&self) -> usize {
        self.express.len() + self.normal.len()
    }

    fn pop(&mut self) -> Option<Taken> {
        self.express.pop_front().or_else(|| self.normal.pop_front())
    }
}

impl Waiting {
    /// Adds companies.
    pub(crate) fn add(&self, taken: impl IntoIterator<Item = Taken>) {
        let mut queues = self.lock();
        for taken in taken {
            if taken.express { queues.express.push_back(taken) } else { queues.normal.push_back(taken) }
        }
        self.arrived.notify_all();
    }

    /// Waits for companies and takes a fair share of them for one of `threads`: at least one, at most `most`, without
    /// waiting for more. None once it is closed.
    pub(crate) fn take(&self, most: usize, threads: usize) -> Option<Vec<Taken>> {
        let mut queues = self.lock();
        while queues.len() == 0 && !queues.closed {
            queues = self.arrived.wait(queues).unwrap_or_else(PoisonError::into_inner);
        }
        if queues.closed {
            return None;
        }
        let share = queues.len().div_ceil(threads).clamp(1, most);
        Some(std::iter::from_fn(|| queues.pop()).take(share).collect())
    }

    /// Takes out all that nobody has begun to score.
    pub(crate) fn clear(&self) -> Vec<Taken> {
        let mut queues = self.lock();
        std::iter::from_fn(|| queues.pop()).collect()
    }

    /// Lets every waiting thread go home.
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
