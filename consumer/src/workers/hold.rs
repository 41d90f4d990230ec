//! How much work a consumer holds: of each work queue and for each worker about `--hold` at the measured speed, so that a
//! consumer that starts later finds work. The least is one company for each worker, or whole batches where those are faster.
//!
//! A scorer's speed is not known beforehand, spans orders of magnitude, and may change at any moment. So it is measured continuously, and
//! a call that has not returned counts as soon as it is late.

mod batch_size;
mod bytes;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use self::batch_size::{BatchSize, CallSeconds};
use self::bytes::{Bytes, whole};

/// Seconds per company, until one has been scored.
const UNMEASURED_SECONDS: f64 = 1.0;

/// The clock may see no time pass: avoids a division by zero.
const LEAST_SECONDS: f64 = 1e-9;

/// The least weight of the newest call in the mean: ten calls make up for any change.
const LEAST_WEIGHT: f64 = 0.25;

/// The part of `--hold` that a call may take. No other consumer can take over a company in a call; longer calls gain little, since their
/// fixed costs are already well spread.
const CALL_PART: f64 = 1.0 / 20.0;

/// A scorer that needs the same time for a batch of any size is fast only with whole batches. Each worker then has one in its scorer, one
/// that waits, and two whose results are on their way to the broker, or whose companies are on their way from it.
const WHOLE_BATCHES: usize = 4;

/// For a trial of a larger batch, a whole one must wait beside the call before it.
const TRIAL_BATCHES: usize = 2;

/// A call that takes this much longer than expected is late, even if `--hold` is longer.
const LATE_AFTER_AT_MOST: Duration = Duration::from_secs(30);

/// Limits set by the consumer's flags.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HoldLimits {
    /// How much work to hold of each work queue for each worker, in time at the measured speed.
    pub(crate) hold: Duration,
    /// Number of scoring threads.
    pub(crate) workers: usize,
    /// Companies of each work queue to hold at most.
    pub(crate) prefetch: usize,
    /// Companies in one call of a scorer at most.
    pub(crate) batch: usize,
    /// The time-out of one call of a scorer.
    pub(crate) score_timeout: Duration,
}

/// Measures how fast companies are scored, and computes how many to hold. The workers report calls; the session reads the target.
#[derive(Debug)]
pub(crate) struct Hold {
    limits: HoldLimits,
    measured: Mutex<Measured>,
}

/// How many companies of each work queue to hold now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Target {
    /// All of them, including those that are being scored.
    pub(crate) companies: usize,
    /// Of those, the ones that no worker has begun.
    pub(crate) waiting: usize,
    /// In the calls of all workers, if each has one of the present batch size.
    pub(crate) in_calls: usize,
}

/// A call of a scorer that has begun, to be passed to [`Hold::end`].
#[derive(Debug)]
pub(crate) struct Call(u64);

#[derive(Debug)]
struct Measured {
    /// A moving geometric mean over calls, because speeds differ by orders of magnitude and one outlier among many is no new speed. `None`
    /// before the first call.
    log_seconds_per_company: Option<f64>,
    batch: BatchSize,
    bytes: Bytes,
    /// Workers that can score.
    workers: usize,
    running: Vec<RunningCall>,
    calls_begun: u64,
}

#[derive(Debug)]
struct RunningCall {
    call: u64,
    companies: usize,
    began: Instant,
}

impl Hold {
    /// A hold that has measured nothing yet.
    pub(crate) fn new(limits: HoldLimits) -> Hold {
        let measured = Measured::new(&limits);
        Hold { limits, measured: Mutex::new(measured) }
    }

    /// A worker begins a call with this many companies.
    pub(crate) fn begin(&self, companies: usize) -> Call {
        let mut measured = self.lock();
        measured.calls_begun += 1;
        let call = measured.calls_begun;
        measured.running.push(RunningCall { call, companies, began: Instant::now() });
        Call(call)
    }

    /// The call has ended or was abandoned. Only one that has `scored` its companies is a measurement.
    pub(crate) fn end(&self, call: &Call, scored: bool) {
        let mut measured = self.lock();
        let Some(at) = measured.running.iter().position(|running| running.call == call.0) else { return };
        let RunningCall { companies, began, .. } = measured.running.swap_remove(at);
        if scored {
            measured.scored(companies, began.elapsed().as_secs_f64(), &self.limits);
        }
    }

    /// A company has arrived, with a record of this size.
    pub(crate) fn arrived(&self, record_bytes: usize) {
        self.lock().bytes.arrived(record_bytes);
    }

    /// A company has been scored, with a prediction of this size.
    pub(crate) fn answered(&self, answer_bytes: usize) {
        self.lock().bytes.answered(answer_bytes);
    }

    /// How many companies fit into memory, whatever their speed.
    pub(crate) fn most_in_memory(&self) -> usize {
        self.lock().bytes.most_held()
    }

    /// Whether a call that began before that moment is still running.
    pub(crate) fn has_call_since_before(&self, moment: Instant) -> bool {
        self.lock().running.iter().any(|running| running.began < moment)
    }

    /// The whole process was suspended for this time, which does not count as time of its calls.
    pub(crate) fn was_suspended_for(&self, suspended: Duration) {
        self.lock().running.iter_mut().for_each(|running| running.began += suspended);
    }

    /// Sets how many workers can score.
    pub(crate) fn set_workers(&self, workers: usize) {
        self.lock().workers = workers;
    }

    /// How many companies to score in one call at most.
    pub(crate) fn batch(&self) -> usize {
        let measured = self.lock();
        measured.batch.most().min(measured.bytes.most_in_a_call())
    }

    /// How many companies of each work queue to hold now.
    pub(crate) fn target(&self) -> Target {
        self.lock().target(&self.limits, Instant::now())
    }

    /// The seconds that a worker needs for a company; `None` until one has been scored.
    pub(crate) fn seconds_per_company(&self) -> Option<f64> {
        self.lock().seconds_per_company()
    }

    /// Whether [`Hold::try_larger_batch`] is to be called if many companies wait on the broker for each that is in a call.
    pub(crate) fn wants_larger_batch(&self) -> bool {
        let measured = self.lock();
        measured.batch.wants_backlog() && !measured.running.is_empty()
    }

    /// Lets the next calls have twice as many companies, to measure whether they take longer.
    pub(crate) fn try_larger_batch(&self) {
        self.lock().batch.try_larger();
    }

    fn lock(&self) -> MutexGuard<'_, Measured> {
        self.measured.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Measured {
    fn new(limits: &HoldLimits) -> Measured {
        let hold = limits.hold.as_secs_f64();
        // A trial may take twice as long as predicted.
        let most = limits.score_timeout.as_secs_f64() / 2.0;
        let call = CallSeconds { usual: hold * CALL_PART, trial: hold, most };
        Measured {
            log_seconds_per_company: None,
            batch: BatchSize::new(limits.batch, call, UNMEASURED_SECONDS),
            bytes: Bytes::default(),
            workers: limits.workers,
            running: Vec::with_capacity(limits.workers),
            calls_begun: 0,
        }
    }

    fn scored(&mut self, companies: usize, seconds: f64, limits: &HoldLimits) {
        let each = (seconds / companies.max(1) as f64).max(LEAST_SECONDS).ln();
        // A call as long as `--hold` says more about the speed than a short one.
        let weight = LEAST_WEIGHT.max(1.0 - (-seconds / limits.hold.as_secs_f64()).exp());
        let before = self.log_seconds_per_company.unwrap_or(each);
        self.log_seconds_per_company = Some(before + weight * (each - before));
        self.batch.measured(companies, seconds);
    }

    fn seconds_per_company(&self) -> Option<f64> {
        self.log_seconds_per_company.map(f64::exp)
    }

    fn target(&self, limits: &HoldLimits, now: Instant) -> Target {
        let hold = limits.hold.as_secs_f64();
        let each = self.seconds_per_company().unwrap_or(UNMEASURED_SECONDS);
        let late_after = limits.hold.min(LATE_AFTER_AT_MOST).as_secs_f64();
        let is_late = |running: &&RunningCall| {
            let age = now.saturating_duration_since(running.began).as_secs_f64();
            age > late_after + each * running.companies as f64
        };
        // Until the trial of a larger batch has shown whether it is faster, no further batches of that size are held.
        let is_awaited = self.batch.is_trial() && !self.running.iter().any(|running| running.companies >= self.batch.most());
        let batches = match self.batch.needs_whole_batches() {
            true => WHOLE_BATCHES,
            false if is_awaited => TRIAL_BATCHES,
            false => 1,
        };
        let a_worker = whole((hold / each).round()).max(self.batch.most() * batches);
        let late = self.running.iter().filter(is_late).count();
        let with_late: usize = self.running.iter().filter(is_late).map(|running| running.companies).sum();
        let in_calls: usize = self.running.iter().map(|running| running.companies).sum();
        let least = self.workers.min(limits.prefetch);
        let companies = self.workers.saturating_sub(late).saturating_mul(a_worker).saturating_add(with_late);
        let companies = companies.clamp(least, limits.prefetch).min(self.bytes.most_held().max(least));
        Target {
            companies,
            waiting: companies.saturating_sub(in_calls),
            in_calls: self.workers.saturating_mul(self.batch.most()),
        }
    }
}

#[cfg(test)]
mod tests;
