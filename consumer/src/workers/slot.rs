//! What each worker is doing: the batch that it scores, or whose call has failed, for the watchdog and the session to take over.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use rollcall_score::Company;

use super::hold::Call;
use crate::intake::work_item::WorkItem;

/// The slot of one worker.
#[derive(Default)]
pub(crate) struct Slot {
    running: Mutex<Option<RunningBatch>>,
    /// A batch whose call has failed, until it is decided what happens to it.
    failed: Mutex<Option<Arc<Vec<WorkItem>>>>,
}

/// A batch in a call of the scorer.
pub(crate) struct RunningBatch {
    /// The items, without their records.
    pub(crate) batch: Vec<WorkItem>,
    /// The records of the batch, in its order.
    pub(crate) companies: Arc<Vec<Company>>,
    pub(crate) call: Call,
    /// When its worker counts as stuck.
    pub(crate) until: Instant,
}

impl RunningBatch {
    /// The batch, with its records.
    pub(crate) fn into_batch(self) -> Vec<WorkItem> {
        let companies = Arc::try_unwrap(self.companies).unwrap_or_else(|shared| shared.as_ref().clone());
        let mut batch = self.batch;
        for (item, company) in batch.iter_mut().zip(companies) {
            item.work.record = company.record;
        }
        batch
    }
}

impl Slot {
    /// Notes that a call has begun.
    pub(super) fn begin(&self, batch: RunningBatch) {
        *self.lock() = Some(batch);
    }

    /// Takes the running batch; `None` if it took too long and the watchdog or the session has taken it.
    pub(super) fn take_running(&self) -> Option<RunningBatch> {
        self.lock().take()
    }

    /// Takes the running batch if its worker is stuck.
    pub(super) fn take_overdue(&self) -> Option<RunningBatch> {
        let mut running = self.lock();
        if running.as_ref().is_some_and(|batch| batch.until < Instant::now()) { running.take() } else { None }
    }

    /// Keeps a batch whose call has failed.
    pub(super) fn keep_failed(&self, batch: Vec<WorkItem>) -> Arc<Vec<WorkItem>> {
        let batch = Arc::new(batch);
        *self.lock_failed() = Some(Arc::clone(&batch));
        batch
    }

    /// Takes the failed batch; empty if the watchdog or the session has taken it.
    pub(super) fn take_failed(&self) -> Vec<WorkItem> {
        self.lock_failed().take().map(Arc::unwrap_or_clone).unwrap_or_default()
    }

    /// Gives the running batch more time.
    pub(super) fn extend(&self, by: Duration) {
        if let Some(batch) = self.lock().as_mut() {
            batch.until += by;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<RunningBatch>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_failed(&self) -> MutexGuard<'_, Option<Arc<Vec<WorkItem>>>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The slots of all workers.
#[derive(Default)]
pub(crate) struct Slots {
    slots: Mutex<Vec<Weak<Slot>>>,
}

impl Slots {
    pub(super) fn add(&self, slot: &Arc<Slot>) {
        self.lock().push(Arc::downgrade(slot));
    }

    /// The items in calls, without their records, and the items in calls that have failed.
    pub(crate) fn in_calls(&self) -> Vec<WorkItem> {
        let running = |slot: &Slot| slot.lock().as_ref().map(|running| running.batch.clone()).unwrap_or_default();
        let failed = |slot: &Slot| slot.lock_failed().as_deref().cloned().unwrap_or_default();
        self.all().flat_map(|slot| [running(&slot), failed(&slot)]).flatten().collect()
    }

    /// Takes the items out of their calls, with their records. The outcomes of those calls are ignored.
    pub(crate) fn take_all(&self) -> Vec<WorkItem> {
        let running = |slot: &Slot| slot.take_running().map(RunningBatch::into_batch).unwrap_or_default();
        self.all().flat_map(|slot| [running(&slot), slot.take_failed()]).flatten().collect()
    }

    fn all(&self) -> impl Iterator<Item = Arc<Slot>> {
        self.lock().iter().filter_map(Weak::upgrade).collect::<Vec<_>>().into_iter()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Weak<Slot>>> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.retain(|slot| slot.strong_count() > 0);
        slots
    }
}
