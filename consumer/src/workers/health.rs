//! Whether the scorer works at all: distinguishes a company that cannot be scored from a scorer that fails on every company.
//!
//! Before the scorer has scored its first company, a failure may mean either. A company on which it fails then goes back to its queue,
//! uncharged, behind others; after failures on [`GIVE_UP_AFTER`] different companies, the scorer is given up. A company that comes back before
//! any was scored is charged: with no other company to compare, the two cases cannot be told apart, and its job must end.
//!
//! Later, a failure is followed by a test: if the scorer also fails on a company that it has scored before, the failing company is not the
//! cause, and the worker pauses.

use std::collections::HashSet;
use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rollcall_score::{Company, Prediction, ScoreError};
use rollcall_shared::lifecycle::Stop;
use rollcall_shared::message::{Index, Job, Work};

/// Two bad companies may come one after the other; more in a row are unlikely.
const GIVE_UP_AFTER: usize = 3;

/// The company that the scorer is tested with is replaced after this time: what the scorer accepts may change.
const SAMPLE_FOR: Duration = Duration::from_secs(10);

/// What all workers know about their scorers.
pub(crate) struct Health {
    scorer: String,
    /// How to try the scorer by hand.
    how_to_try: &'static str,
    stop: Stop,
    /// Whether a fleet is told, by a line on standard output, that the scorer has scored a company.
    tells_fleet: bool,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// A company that was scored, and when that was.
    sample: Option<(Instant, Company)>,
    /// Companies on which the scorer failed, each alone, since it last scored any.
    failed: HashSet<(Job, Index)>,
    failing_since: Option<Instant>,
    /// Workers whose scorer fails on a company that it has scored before, and the last such failure.
    paused: usize,
    fault: String,
    given_up: Option<String>,
}

/// What becomes of a company on which the scorer failed before it had scored any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UnprovenFailure {
    /// It goes back to its queue uncharged, behind others.
    Uncharged,
    /// The scorer has failed on it before, and has scored no other since.
    Charged,
}

impl Health {
    /// A scorer of which nothing is known yet. If it is given up, `stop` ends the process.
    pub(crate) fn new(scorer: String, how_to_try: &'static str, stop: Stop, tells_fleet: bool) -> Health {
        Health { scorer, how_to_try, stop, tells_fleet, known: Mutex::default() }
    }

    /// The scorer has answered a call validly.
    pub(crate) fn answered(&self, companies: &[Company], scores: &[Result<Prediction, ScoreError>]) {
        let mut known = self.lock();
        known.failed.clear();
        known.failing_since = None;
        if known.sample.as_ref().is_none_or(|(taken_at, _)| taken_at.elapsed() > SAMPLE_FOR)
            && let Some((company, _)) = companies.iter().zip(scores).find(|(_, score)| score.is_ok())
        {
            let is_first = known.sample.replace((Instant::now(), company.clone())).is_none();
            if is_first && self.tells_fleet {
                // An error says that the fleet is gone.
                writeln!(io::stdout(), "scored").ok();
            }
        }
    }

    /// A company that was scored before, to test a scorer with.
    pub(crate) fn sample(&self) -> Option<Company> {
        self.lock().sample.as_ref().map(|(_, company)| company.clone())
    }

    /// The scorer failed on a company alone before it has scored any. It is given up once it has failed on enough of them, unless `is_awaited`
    /// says that a call which began before the first of those failures is still running.
    pub(crate) fn failed_unproven(
        &self,
        work: &Work,
        error: &ScoreError,
        is_awaited: impl Fn(Instant) -> bool,
    ) -> UnprovenFailure {
        let mut known = self.lock();
        let since = *known.failing_since.get_or_insert_with(Instant::now);
        if !known.failed.insert((work.job.clone(), work.index)) {
            return UnprovenFailure::Charged;
        }
        let failed = known.failed.len();
        drop(known);
        if failed >= GIVE_UP_AFTER && !is_awaited(since) {
            self.give_up(&format!("failed on {failed} companies"), error);
        }
        UnprovenFailure::Uncharged
    }

    /// The scorer fails on every company: ends the process.
    pub(crate) fn give_up(&self, what: &str, error: &ScoreError) {
        self.lock().given_up.get_or_insert_with(|| {
            format!(
                "expected the scorer {:?} to answer, found that it {what} in a row and has never scored one, the last time with {error}; \
                 {}; the first failure of each company was not counted as an attempt",
                self.scorer, self.how_to_try
            )
        });
        self.stop.now();
    }

    /// Why the scorer was given up; `None` if it was not.
    pub(crate) fn given_up(&self) -> Option<String> {
        self.lock().given_up.clone()
    }

    /// Ends the process, for another reason than the scorer.
    pub(crate) fn stop(&self) {
        self.stop.now();
    }

    /// A worker's scorer fails on a company that it has scored before; the worker pauses until the guard is dropped.
    pub(crate) fn pause(&self, error: &ScoreError) -> PauseGuard<'_> {
        let mut known = self.lock();
        known.paused += 1;
        known.fault = format!("the scorer fails on what it has scored before: {error}");
        PauseGuard(self)
    }

    /// How many workers pause, and why.
    pub(crate) fn paused(&self) -> Option<(usize, String)> {
        let known = self.lock();
        (known.paused > 0).then(|| (known.paused, known.fault.clone()))
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The pause of a worker.
pub(crate) struct PauseGuard<'h>(&'h Health);

impl Drop for PauseGuard<'_> {
    fn drop(&mut self) {
        self.0.lock().paused -= 1;
    }
}

#[cfg(test)]
mod tests {
    use rollcall_shared::json::Json;
    use rollcall_shared::lifecycle::Shutdown;

    use super::*;
    use crate::intake::work_item::test_item;

    fn error() -> ScoreError {
        ScoreError { cause: "scorer_crashed".to_owned(), message: "exit code 1".to_owned(), retryable: true }
    }

    fn health() -> (Health, Shutdown) {
        let (stop, shutdown) = Shutdown::manual();
        (Health::new("python3 s.py".to_owned(), "run it by hand", stop, false), shutdown)
    }

    fn fail(health: &Health, index: u32, is_awaited: bool) -> UnprovenFailure {
        health.failed_unproven(&test_item(index, "{}").work, &error(), |_| is_awaited)
    }

    #[test]
    fn a_scorer_that_fails_on_three_different_companies_before_any_answer_is_given_up() {
        let (health, shutdown) = health();
        assert_eq!([0, 1].map(|index| fail(&health, index, false)), [UnprovenFailure::Uncharged; 2]);
        assert!(health.given_up().is_none() && !shutdown.is_requested());
        assert_eq!(fail(&health, 2, false), UnprovenFailure::Uncharged);
        assert!(shutdown.is_requested());
        let reason = health.given_up().unwrap();
        let words = [
            "\"python3 s.py\"",
            "3 companies in a row",
            "scorer_crashed: exit code 1; run it by hand",
            "not counted as an attempt",
        ];
        for words in words {
            assert!(reason.contains(words), "{reason}");
        }
    }

    #[test]
    fn a_company_that_comes_back_before_any_answer_is_charged_so_that_its_job_ends() {
        let (health, shutdown) = health();
        let verdicts = [0, 1, 0, 1].map(|index| fail(&health, index, false));
        assert_eq!(
            verdicts,
            [UnprovenFailure::Uncharged, UnprovenFailure::Uncharged, UnprovenFailure::Charged, UnprovenFailure::Charged]
        );
        assert!(!shutdown.is_requested());
    }

    #[test]
    fn a_scorer_is_not_given_up_while_a_call_that_began_before_it_failed_may_be_answered() {
        let (health, shutdown) = health();
        for index in 0..10 {
            assert_eq!(fail(&health, index, true), UnprovenFailure::Uncharged);
        }
        assert!(!shutdown.is_requested());
        assert_eq!(fail(&health, 10, false), UnprovenFailure::Uncharged);
        assert!(shutdown.is_requested());
    }

    #[test]
    fn an_answer_makes_the_failures_before_it_those_of_their_companies() {
        let (health, shutdown) = health();
        let company = |record: &str| Company { record: record.as_bytes().to_vec() };
        for index in 0..2 {
            fail(&health, index, false);
        }
        health.answered(&[company("bad"), company("good")], &[Err(error()), Ok("1".parse::<Json>().unwrap().into())]);
        assert_eq!(health.sample(), Some(company("good")));
        fail(&health, 2, false);
        assert!(!shutdown.is_requested());
    }
}
