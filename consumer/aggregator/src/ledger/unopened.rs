//! Records of jobs of which no opening has been read: kept apart for a while, for the opening may be on its way.

use std::collections::VecDeque;

use rollcall_shared::message::{Job, JobEvent, ResultHeaders};
use serde::{Deserialize, Serialize, Serializer};

use super::Record;

/// Records kept at most, whatever jobs they are of. Only of a producer that does not wait for the confirm of its opening can any
/// come before it, and then no more than are scored in the meantime.
const RECORDS: usize = 10_000;

/// What they may take together in memory; in a checkpoint it is about as much.
const BYTES: usize = 2 << 20;

/// How many records of the ledger one is kept for: at the most that the aggregator reads, some seconds.
const KEPT_FOR: u64 = 100_000;

/// The records, the oldest first.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(from = "VecDeque<Early>")]
pub(super) struct Unopened {
    records: VecDeque<Early>,
    bytes: usize,
}

/// A record and where it stands in the ledger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Early {
    offset: u64,
    said: Said,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Said {
    Result(ResultHeaders),
    /// In a box: results are many, and an event is large.
    Event(Box<JobEvent>),
}

impl Unopened {
    /// Keeps a record. Of events, only those that a producer or a person may say before the opening is read: the others follow from
    /// the count of a job.
    pub(super) fn keep(&mut self, offset: u64, record: Record) {
        let said = match record {
            Record::Result(result) => Said::Result(result),
            Record::Event(
                event @ (JobEvent::Enqueued(_)
                | JobEvent::Sealed(_)
                | JobEvent::Cancelled(_)
                | JobEvent::Paused(_)
                | JobEvent::Resumed(_)),
            ) => Said::Event(Box::new(event)),
            Record::Event(_) | Record::Nothing => return,
        };
        let early = Early { offset, said };
        self.bytes += early.bytes();
        self.records.push_back(early);
        while self.records.len() > RECORDS || self.bytes > BYTES {
            self.drop_oldest();
        }
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Drops what is too old by now, where the ledger has been read up to `offset`.
    pub(super) fn drop_old(&mut self, offset: u64) {
        while self.records.front().is_some_and(|oldest| offset.saturating_sub(oldest.offset) > KEPT_FOR) {
            self.drop_oldest();
        }
    }

    /// Takes out the records of `job`, in their order.
    pub(super) fn take(&mut self, job: &Job) -> Vec<(u64, Record)> {
        if !self.records.iter().any(|early| early.job() == job) {
            return Vec::new();
        }
        let (theirs, others): (VecDeque<Early>, VecDeque<Early>) =
            std::mem::take(&mut self.records).into_iter().partition(|early| early.job() == job);
        *self = others.into();
        theirs.into_iter().map(|early| (early.offset, early.said.into())).collect()
    }

    fn drop_oldest(&mut self) {
        if let Some(oldest) = self.records.pop_front() {
            self.bytes -= oldest.bytes();
        }
    }
}

impl Early {
    fn job(&self) -> &Job {
        match &self.said {
            Said::Result(result) => &result.job,
            Said::Event(event) => event.job(),
        }
    }

    fn bytes(&self) -> usize {
        let text = match &self.said {
            Said::Result(result) => result.cause.len(),
            Said::Event(event) => {
                let text = match &**event {
                    JobEvent::Cancelled(cancelled) => cancelled.reason.len(),
                    _ => 0,
                };
                size_of::<JobEvent>() + text
            }
        };
        size_of::<Early>() + self.job().as_str().len() + text
    }
}

impl From<Said> for Record {
    fn from(said: Said) -> Record {
        match said {
            Said::Result(result) => Record::Result(result),
            Said::Event(event) => Record::Event(*event),
        }
    }
}

impl From<VecDeque<Early>> for Unopened {
    fn from(records: VecDeque<Early>) -> Unopened {
        let bytes = records.iter().map(Early::bytes).sum();
        Unopened { records, bytes }
    }
}

impl Serialize for Unopened {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.records.serialize(serializer)
    }
}
