//! Companies taken from the broker and not yet being scored: between the one task that takes and the threads that score.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rollcall_shared::message::Priority;

use crate::intake::Taken;

/// A call of a scorer gets no further company once its records have so many bytes: its request is put together in memory.
const CALL_BYTES: usize = 4 << 20;

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

/// How a company waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waits {
    /// To be scored alone.
    Alone,
    /// To be scored in a batch, with this priority.
    Batched(Priority),
}

impl Waits {
    pub(crate) const ALL: [Waits; 3] = [Waits::Alone, Waits::Batched(Priority::High), Waits::Batched(Priority::Normal)];
}

impl Queues {
    fn of(&mut self, waits: Waits) -> &mut VecDeque<Taken> {
        match waits {
            Waits::Alone => &mut self.alone,
            Waits::Batched(Priority::High) => &mut self.express,
            Waits::Batched(Priority::Normal) => &mut self.normal,
        }
    }

    fn batched(&self) -> usize {
        self.express.len() + self.normal.len()
    }

    fn pop(&mut self) -> Option<Taken> {
        self.express.pop_front().or_else(|| self.normal.pop_front())
    }

    /// As many as `share`, at least one, but no more once they have bytes enough.
    fn pop_batch(&mut self, share: usize) -> Vec<Taken> {
        let (mut batch, mut bytes) = (Vec::with_capacity(share), 0);
        while batch.len() < share && bytes < CALL_BYTES {
            let Some(taken) = self.pop() else { break };
            bytes += taken.work.record.len();
            batch.push(taken);
        }
        batch
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
            let waits = if taken.alone { Waits::Alone } else { Waits::Batched(taken.work.priority) };
            queues.of(waits).push_back(taken);
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
                return Some(queues.pop_batch(share));
            }
            queues = self.arrived.wait(queues).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes out all that nobody has begun to score.
    pub(crate) fn clear(&self) -> Vec<Taken> {
        self.remove(|_| true)
    }

    /// Takes out those that `unwanted` names.
    pub(crate) fn remove(&self, unwanted: impl Fn(&Taken) -> bool) -> Vec<Taken> {
        self.lock().remove(unwanted)
    }

    /// Takes out of a queue, where more than twice `allowed` wait in it, those behind the first `allowed` that `may_go`. What came by the
    /// queue of suspects stays: it comes one at a time.
    pub(crate) fn remove_excess(&self, of: Waits, allowed: usize, may_go: impl Fn(&Taken) -> bool) -> Vec<Taken> {
        let mut queues = self.lock();
        let queue = queues.of(of);
        if queue.len() <= 2 * allowed {
            return Vec::new();
        }
        let behind = queue.split_off(allowed);
        let (excess, stays): (Vec<_>, Vec<_>) = behind.into_iter().partition(|taken| !taken.suspect && may_go(taken));
        queue.extend(stays);
        excess
    }

    /// Whether [`Waiting::remove_excess`] would take anything out of any queue.
    pub(crate) fn has_excess(&self, allowed: usize, may_go: impl Fn(&Taken) -> bool) -> bool {
        let mut queues = self.lock();
        Waits::ALL.into_iter().any(|of| {
            let queue = queues.of(of);
            queue.len() > 2 * allowed && queue.iter().skip(allowed).any(|taken| !taken.suspect && may_go(taken))
        })
    }

    /// Closes the queue: `take` returns `None`.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_all();
    }

    /// Waits for so long, or until it is closed; says whether it was.
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

    /// Whether it was closed.
    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    fn lock(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::just_taken;

    fn taken(index: u32, priority: Priority, alone: bool) -> Taken {
        let mut taken = Taken { alone, ..just_taken(index, "") };
        taken.work.priority = priority;
        taken
    }

    fn indices(companies: &[Taken]) -> Vec<u32> {
        companies.iter().map(|taken| taken.work.index.0).collect()
    }

    #[test]
    fn what_is_much_more_than_allowed_is_taken_out_from_behind_and_of_its_own_queue() {
        let waiting = Waiting::default();
        waiting.add((0..6).map(|index| taken(index, Priority::Normal, false)));
        waiting.add((6..9).map(|index| taken(index, Priority::High, false)));
        let normal = Waits::Batched(Priority::Normal);
        let all = |_: &Taken| true;
        assert!(!waiting.has_excess(3, all) && waiting.remove_excess(normal, 3, all).is_empty());
        assert!(!waiting.has_excess(2, |_| false) && waiting.remove_excess(normal, 2, |_| false).is_empty());
        assert!(waiting.has_excess(2, all));
        assert_eq!(indices(&waiting.remove_excess(normal, 2, all)), [2, 3, 4, 5]);
        assert_eq!(indices(&waiting.clear()), [6, 7, 8, 0, 1]);
    }

    #[test]
    fn a_batch_ends_with_the_company_that_makes_it_large() {
        let waiting = Waiting::default();
        let record = "x".repeat(CALL_BYTES / 2);
        waiting.add((0..4).map(|index| just_taken(index, &record)));
        assert_eq!(indices(&waiting.take(|| 32, 1).unwrap()), [0, 1]);
    }

    #[test]
    fn of_what_is_scored_alone_a_suspect_stays() {
        let waiting = Waiting::default();
        waiting.add([Taken { suspect: true, ..taken(0, Priority::Normal, true) }, taken(1, Priority::Normal, true)]);
        assert_eq!(indices(&waiting.remove_excess(Waits::Alone, 0, |_| true)), [1]);
    }
}
