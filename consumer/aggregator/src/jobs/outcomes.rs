//! Which companies of a job have an outcome, and which of them failed: a bit a company, not its result.

use std::collections::BTreeMap;

use roaring::RoaringBitmap;
use rollcall_shared::message::CauseCount;
use serde::{Deserialize, Serialize};

use super::bitmap::Bitmap;

/// Causes counted by name. The others are counted together, so that a scorer that invents causes cannot fill the memory.
const DISTINCT_CAUSES: usize = 100;
const OTHER_CAUSES: &str = "other";

/// The outcomes of a job's companies so far.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Outcomes {
    counted: Bitmap,
    /// The failed ones among them, by cause.
    failed: BTreeMap<String, Bitmap>,
    /// The number of failed companies: the sum over `failed`.
    failures: u64,
}

impl Outcomes {
    pub(super) fn len(&self) -> u64 {
        self.counted.0.len()
    }

    pub(super) fn failures(&self) -> u64 {
        self.failures
    }

    pub(super) fn contains(&self, index: u32) -> bool {
        self.counted.0.contains(index)
    }

    /// How many companies before index `end` have an outcome.
    pub(super) fn len_before(&self, end: u32) -> u64 {
        self.counted.0.range_cardinality(..end)
    }

    /// The companies with an outcome.
    pub(super) fn counted(&self) -> &RoaringBitmap {
        &self.counted.0
    }

    pub(super) fn failed(&self) -> RoaringBitmap {
        self.failed.values().fold(RoaringBitmap::new(), |all, indices| all | &indices.0)
    }

    pub(super) fn failed_for(&self, cause: &str) -> RoaringBitmap {
        self.failed.get(cause).map(|indices| indices.0.clone()).unwrap_or_default()
    }

    /// How many companies failed for each cause, the most frequent first.
    pub(super) fn causes(&self) -> Vec<CauseCount> {
        let count = |(cause, indices): (&String, &Bitmap)| CauseCount { cause: cause.clone(), count: indices.0.len() };
        let mut causes: Vec<CauseCount> = self.failed.iter().map(count).collect();
        causes.sort_by_key(|cause| std::cmp::Reverse(cause.count));
        causes
    }

    /// Counts a company that has no outcome yet.
    pub(super) fn add_success(&mut self, index: u32) {
        self.counted.0.insert(index);
    }

    /// Counts a company that has no outcome yet.
    pub(super) fn add_failure(&mut self, index: u32, cause: &str) {
        let is_named = self.failed.contains_key(cause) || self.failed.len() < DISTINCT_CAUSES;
        let cause = if is_named { cause } else { OTHER_CAUSES };
        self.failed.entry(cause.to_owned()).or_default().0.insert(index);
        self.failures += 1;
        self.counted.0.insert(index);
    }

    /// Removes the companies from index `end` on.
    pub(super) fn remove_from(&mut self, end: u64) {
        if let Ok(end) = u32::try_from(end) {
            self.remove_by(&|indices| indices.remove_range(end..));
        }
    }

    /// Removes these companies.
    pub(super) fn remove(&mut self, removed: &RoaringBitmap) {
        self.remove_by(&|indices| {
            let before = indices.len();
            *indices -= removed;
            before - indices.len()
        });
    }

    /// Applies `remove`, which returns how many it has removed, to every bitmap.
    fn remove_by(&mut self, remove: &dyn Fn(&mut RoaringBitmap) -> u64) {
        remove(&mut self.counted.0);
        self.failures -= self.failed.values_mut().map(|indices| remove(&mut indices.0)).sum::<u64>();
        self.failed.retain(|_, indices| !indices.0.is_empty());
    }

    /// Compresses runs of companies: most are counted in about their order, and a run takes a few bytes.
    pub(super) fn optimize(&mut self) {
        self.counted.0.optimize();
        for indices in self.failed.values_mut() {
            indices.0.optimize();
        }
    }

    /// Bytes that the bitmaps take in a checkpoint, before base64.
    pub(super) fn serialized_size(&self) -> usize {
        self.counted.0.serialized_size() + self.failed.values().map(|indices| indices.0.serialized_size()).sum::<usize>()
    }

    /// Whether the bitmaps and the counts agree, as they do after any records. Subtracting from others would go below zero.
    pub(super) fn adds_up(&self) -> bool {
        let failed = self.failed();
        let is_each_once = self.failed.values().map(|indices| indices.0.len()).sum::<u64>() == failed.len();
        is_each_once && self.failures == failed.len() && failed.is_subset(&self.counted.0)
    }
}
