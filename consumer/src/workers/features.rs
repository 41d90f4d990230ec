//! Companies without features: no field of their record is a feature of the model, so nothing of them goes into their prediction.
//!
//! One such company may be intended; a whole file of them has the wrong columns, and would get the same prediction for each. So these
//! companies fail until one company of their job is seen to have features. The failure is retryable: by the next attempt this consumer has
//! seen more of the job, so the order of the companies in the file matters less.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use rollcall_score::{Prediction, ScoreError};
use rollcall_shared::message::{Job, Work};
use rollcall_shared::telemetry::ConsumerMetrics;

use crate::intake::work_item::WorkItem;

/// Jobs to remember. Beyond that all are forgotten, and learned again from their next companies.
const JOBS_AT_MOST: usize = 1_000;

/// What is known of the features of each job's companies.
pub(crate) struct Features {
    /// Whether companies without features are scored anyway.
    allow_none: bool,
    metrics: Arc<ConsumerMetrics>,
    jobs: Mutex<HashMap<Job, Seen>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    /// Whether a company of the job had features.
    some: bool,
    warned: bool,
}

impl Features {
    pub(crate) fn new(allow_none: bool, metrics: Arc<ConsumerMetrics>) -> Features {
        Features { allow_none, metrics, jobs: Mutex::default() }
    }

    /// Counts the companies of a batch that have no features, logs them once per job, and fails those whose job has shown no features so far.
    pub(crate) fn check(&self, batch: &[WorkItem], scores: &mut [Result<Prediction, ScoreError>]) {
        let mut warnings = Vec::new();
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        if jobs.len() > JOBS_AT_MOST {
            jobs.clear();
        }
        // First over the whole batch: within it, the order must not matter.
        for (item, score) in batch.iter().zip(scores.iter()) {
            if matches!(score, Ok(Prediction { no_features: None, .. }))
                && !jobs.get(&item.work.job).is_some_and(|seen| seen.some)
            {
                jobs.entry(item.work.job.clone()).or_default().some = true;
            }
        }
        for (item, score) in batch.iter().zip(scores) {
            let Ok(Prediction { no_features: Some(message), .. }) = score else { continue };
            let seen = jobs.entry(item.work.job.clone()).or_default();
            let is_scored = self.allow_none || seen.some;
            self.metrics.no_features.inc();
            if !std::mem::replace(&mut seen.warned, true) {
                warnings.push((&item.work, is_scored, message.clone()));
            }
            if !is_scored {
                let message = std::mem::take(message);
                *score = Err(ScoreError { cause: "no_features".to_owned(), message, retryable: true });
            }
        }
        drop(jobs);
        for (Work { job, index, .. }, is_scored, message) in warnings {
            tracing::warn!(event = "no_features", %job, %index, is_scored, "no field of a company is a feature of the model: {message}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::work_item::test_item;

    /// Whether each company is scored, where `lacks` says of each, by job, that it has no features.
    fn scored(features: &Features, companies: &[(&str, bool)]) -> Vec<bool> {
        let batch: Vec<WorkItem> = companies
            .iter()
            .map(|(job, _)| {
                let mut item = test_item(0, "{}");
                item.work.job = job.parse().unwrap();
                item
            })
            .collect();
        let score = |&(_, lacks): &(&str, bool)| {
            Ok(Prediction { json: "1".parse().unwrap(), no_features: lacks.then(|| "none".to_owned()) })
        };
        let mut scores: Vec<_> = companies.iter().map(score).collect();
        features.check(&batch, &mut scores);
        assert!(
            scores.iter().all(|score| score.as_ref().err().is_none_or(|error| error.cause == "no_features" && error.retryable))
        );
        scores.iter().map(Result::is_ok).collect()
    }

    fn features(allow_none: bool) -> Features {
        Features::new(allow_none, Arc::new(ConsumerMetrics::new().unwrap()))
    }

    #[test]
    fn companies_without_features_fail_until_one_of_their_job_has_some() {
        let features = features(false);
        assert_eq!(scored(&features, &[("a", true), ("b", false), ("a", true)]), [false, true, false]);
        assert_eq!(scored(&features, &[("a", true), ("a", false), ("b", true)]), [true, true, true]);
        assert_eq!(scored(&features, &[("a", true), ("c", true)]), [true, false]);
        assert_eq!(features.metrics.no_features.get(), 6);
    }

    #[test]
    fn where_it_is_allowed_they_are_scored_and_counted() {
        let features = features(true);
        assert_eq!(scored(&features, &[("a", true)]), [true]);
        assert_eq!(features.metrics.no_features.get(), 1);
    }

    #[test]
    fn the_jobs_that_are_remembered_are_bounded() {
        let features = features(false);
        (0..3 * JOBS_AT_MOST).for_each(|job| drop(scored(&features, &[(&format!("j{job}"), false)])));
        assert!(features.jobs.lock().unwrap().len() <= JOBS_AT_MOST + 1);
    }
}
