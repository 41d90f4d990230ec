//! What the page knows of the broker. A page that is open is fetched every second or two, by any number of people, and must not cost the
//! broker a question each time.

mod fleets;
mod history;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rollcall_shared::message::JobStatus;

use crate::serve::api::{ListQuery, list_jobs};
use crate::serve::event_log::tail::Tail;
use crate::serve::event_log::{Topic, since};
use crate::serve::gateway::Gateway;
use crate::serve::http::problem::Problem;
pub(super) use fleets::{Fleet, FleetUnknown, Fleets};
pub(super) use history::{History, LogEntry, ProgressPoint, Told};

/// Jobs whose events are followed. More are rarely looked at at a time, and a further one costs no more than reading its events again.
const JOBS: usize = 64;

/// A list of jobs is good for so long.
const FRESH: Duration = Duration::from_secs(1);

/// What the page knows of the broker.
#[derive(Default)]
pub(super) struct PageCache {
    pub(super) fleets: Fleets,
    jobs: Mutex<HashMap<String, LookedAt>>,
    lists: Mutex<HashMap<String, (Instant, Listed)>>,
}

/// Jobs, and where the next page begins.
type Listed = (Vec<JobStatus>, Option<u64>);

/// When the events of a job were looked at last, and what is known of them.
type LookedAt = (Instant, Arc<Tail<History>>);

impl PageCache {
    /// The events of a job up to now, as far as they are kept.
    ///
    /// # Errors
    /// If the broker cannot be reached.
    pub(super) async fn history(&self, job: &JobStatus, gateway: &Gateway) -> Result<Arc<History>, Problem> {
        self.tail(job.job.as_str()).up_to_now(gateway, Topic::Job(job.job.clone()), since(job.opened_at)).await
    }

    /// The jobs that a query selects, and where the next page begins.
    ///
    /// # Errors
    /// If the broker or the aggregator does not answer.
    pub(super) async fn list(&self, query: &ListQuery, gateway: &Gateway) -> Result<Listed, Problem> {
        let key = format!("{query:?}");
        {
            let mut lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
            lists.retain(|_, (found, _)| found.elapsed() < FRESH);
            if let Some((_, listed)) = lists.get(&key) {
                return Ok(listed.clone());
            }
        }
        let listed = list_jobs(gateway, query.clone()).await?;
        self.lists.lock().unwrap_or_else(PoisonError::into_inner).insert(key, (Instant::now(), listed.clone()));
        Ok(listed)
    }

    fn tail(&self, job: &str) -> Arc<Tail<History>> {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        if jobs.len() >= JOBS && !jobs.contains_key(job) {
            let oldest = jobs.iter().min_by_key(|(_, (used, _))| *used).map(|(job, _)| job.clone());
            oldest.map(|oldest| jobs.remove(&oldest));
        }
        let (used, tail) = jobs.entry(job.to_owned()).or_insert_with(|| (Instant::now(), Arc::default()));
        *used = Instant::now();
        Arc::clone(tail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_more_jobs_than_are_kept_the_one_that_was_looked_at_least_recently_is_forgotten() {
        let cache = PageCache::default();
        let first = cache.tail("first");
        let second = Arc::downgrade(&cache.tail("second"));
        for number in 0..JOBS - 2 {
            cache.tail(&number.to_string());
        }
        assert!(Arc::ptr_eq(&first, &cache.tail("first")));
        cache.tail("one more");
        assert!(second.upgrade().is_none() && Arc::ptr_eq(&first, &cache.tail("first")));
        assert_eq!(cache.jobs.lock().unwrap().len(), JOBS);
    }
}
