//! Records of jobs whose opening has not been read. They are kept for a while, because the opening may follow.

use std::collections::VecDeque;

use rollcall_shared::message::{Job, JobEvent, ResultHeaders};
use serde::{Deserialize, Serialize, Serializer};

use super::record::Record;

/// Records kept at most, of all jobs together. Only a producer that does not wait for the confirm of its opening can have any
/// before it, and then no more than are scored in the meantime.
const MAX_RECORDS: usize = 10_000;

/// What they may take together in memory; in a checkpoint it is about as much.
const MAX_BYTES: usize = 2 << 20;

/// A record is kept for so many further records of the ledger: some seconds at the highest rate at which an aggregator reads.
const KEPT_FOR_RECORDS: u64 = 100_000;

/// The records, the oldest first.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(from = "VecDeque<EarlyRecord>")]
pub(super) struct EarlyRecords {
    records: VecDeque<EarlyRecord>,
    bytes: usize,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct EarlyRecord {
    offset: u64,
    content: Content,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Content {
    Result(ResultHeaders),
    /// Boxed: results are many, and an event is large.
    Event(Box<JobEvent>),
}

impl EarlyRecords {
    /// Keeps a record, if it is a result or an event that a producer or a person may publish before the opening is read. All other
    /// events follow from the count of a job.
    pub(super) fn keep(&mut self, offset: u64, record: Record) {
        let content = match record {
            Record::Result(result) => Content::Result(result),
            Record::Event(
                event @ (JobEvent::Enqueued(_)
                | JobEvent::Sealed(_)
                | JobEvent::Cancelled(_)
                | JobEvent::Paused(_)
                | JobEvent::Resumed(_)),
            ) => Content::Event(Box::new(event)),
            Record::Event(_) | Record::Other => return,
        };
        let record = EarlyRecord { offset, content };
        self.bytes += record.bytes();
        self.records.push_back(record);
        while self.records.len() > MAX_RECORDS || self.bytes > MAX_BYTES {
            self.drop_oldest();
        }
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Drops the records that are too old when the ledger has been read up to `offset`.
    pub(super) fn drop_old(&mut self, offset: u64) {
        while self.records.front().is_some_and(|oldest| offset.saturating_sub(oldest.offset) > KEPT_FOR_RECORDS) {
            self.drop_oldest();
        }
    }

    /// Takes the records of `job` out, in the ledger's order.
    pub(super) fn take(&mut self, job: &Job) -> Vec<(u64, Record)> {
        if !self.records.iter().any(|record| record.job() == job) {
            return Vec::new();
        }
        let (own, others): (VecDeque<EarlyRecord>, VecDeque<EarlyRecord>) =
            std::mem::take(&mut self.records).into_iter().partition(|record| record.job() == job);
        *self = others.into();
        own.into_iter().map(|record| (record.offset, record.content.into())).collect()
    }

    fn drop_oldest(&mut self) {
        if let Some(oldest) = self.records.pop_front() {
            self.bytes -= oldest.bytes();
        }
    }
}

impl EarlyRecord {
    fn job(&self) -> &Job {
        match &self.content {
            Content::Result(result) => &result.job,
            Content::Event(event) => event.job(),
        }
    }

    fn bytes(&self) -> usize {
        let text = match &self.content {
            Content::Result(result) => result.cause.len(),
            Content::Event(event) => {
                let text = match &**event {
                    JobEvent::Cancelled(cancelled) => cancelled.reason.len(),
                    _ => 0,
                };
                size_of::<JobEvent>() + text
            }
        };
        size_of::<EarlyRecord>() + self.job().as_str().len() + text
    }
}

impl From<Content> for Record {
    fn from(content: Content) -> Record {
        match content {
            Content::Result(result) => Record::Result(result),
            Content::Event(event) => Record::Event(*event),
        }
    }
}

impl From<VecDeque<EarlyRecord>> for EarlyRecords {
    fn from(records: VecDeque<EarlyRecord>) -> EarlyRecords {
        let bytes = records.iter().map(EarlyRecord::bytes).sum();
        EarlyRecords { records, bytes }
    }
}

impl Serialize for EarlyRecords {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.records.serialize(serializer)
    }
}
