//! The count as bytes, for the baton: JSON that a person can read, with bitmaps in the Roaring format as base64.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use roaring::RoaringBitmap;
use rollcall_shared::message::{Cancelled, Done, Job, Opened};
use serde::{Deserialize, Serialize};

use super::{JobCount, Ledger};

/// A snapshot that does not read back. Its holder replays the ledger instead.
#[derive(Debug, thiserror::Error)]
#[error("malformed checkpoint: {0}")]
pub struct BadSnapshot(String);

/// The count in the form in which it is written.
#[derive(Debug, Serialize, Deserialize)]
pub struct Snapshot {
    next_offset: u64,
    jobs: BTreeMap<Job, JobSnapshot>,
}

#[derive(Debug, Serialize, Deserialize)]
struct JobSnapshot {
    first_offset: u64,
    opened: Option<Opened>,
    total: Option<u64>,
    terminal: String,
    failed: String,
    causes: BTreeMap<String, u64>,
    duplicates: u64,
    retries: u64,
    cancelled: Option<Cancelled>,
    done: Option<Done>,
}

impl From<&Ledger> for Snapshot {
    fn from(ledger: &Ledger) -> Snapshot {
        let jobs = ledger.jobs.iter().map(|(job, count)| (job.clone(), JobSnapshot::from(count))).collect();
        Snapshot { next_offset: ledger.next_offset, jobs }
    }
}

impl TryFrom<Snapshot> for Ledger {
    type Error = BadSnapshot;
    fn try_from(snapshot: Snapshot) -> Result<Ledger, BadSnapshot> {
        let jobs = snapshot.jobs.into_iter().map(|(job, count)| Ok((job, JobCount::try_from(count)?)));
        Ok(Ledger { next_offset: snapshot.next_offset, jobs: jobs.collect::<Result<_, BadSnapshot>>()? })
    }
}

impl From<&JobCount> for JobSnapshot {
    fn from(count: &JobCount) -> JobSnapshot {
        JobSnapshot {
            first_offset: count.first_offset,
            opened: count.opened.clone(),
            total: count.total,
            terminal: written(&count.terminal),
            failed: written(&count.failed),
            causes: count.causes.clone(),
            duplicates: count.duplicates,
            retries: count.retries,
            cancelled: count.cancelled.clone(),
            done: count.done.clone(),
        }
    }
}

impl TryFrom<JobSnapshot> for JobCount {
    type Error = BadSnapshot;
    fn try_from(count: JobSnapshot) -> Result<JobCount, BadSnapshot> {
        Ok(JobCount {
            first_offset: count.first_offset,
            opened: count.opened,
            total: count.total,
            terminal: read(&count.terminal)?,
            failed: read(&count.failed)?,
            causes: count.causes,
            duplicates: count.duplicates,
            retries: count.retries,
            cancelled: count.cancelled,
            done: count.done,
        })
    }
}

fn written(bitmap: &RoaringBitmap) -> String {
    let mut bytes = Vec::with_capacity(bitmap.serialized_size());
    // Writing into a vector cannot fail; a snapshot cut short would be refused when it is read.
    if bitmap.serialize_into(&mut bytes).is_err() {
        bytes.clear();
    }
    STANDARD.encode(bytes)
}

fn read(text: &str) -> Result<RoaringBitmap, BadSnapshot> {
    let bytes = STANDARD.decode(text).map_err(|error| BadSnapshot(error.to_string()))?;
    RoaringBitmap::deserialize_from(bytes.as_slice()).map_err(|error| BadSnapshot(error.to_string()))
}
