//! How much work a consumer holds: about `--hold` of it at the measured speed, so that a consumer that starts later finds work.
//!
//! A scorer's speed is not known beforehand, spans orders of magnitude and may change at any moment. So it is measured as it goes, and a
//! call that has not come back counts as soon as it is late.

mod batch_size;
mod bytes;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use self::batch_size::{BatchSize, CallSeconds};
use self::bytes::Bytes;

/// What a company is taken to need before one has been scored.
const UNMEASURED_SECONDS: f64 = 1.0;

/// The clock may see no time pass; nothing is divided by that.
const LEAST_SECONDS: f64 = 1e-9;

/// The weight of the newest call in the mean, at least: ten calls make up for any change.
const LEAST_WEIGHT: f64 = 0.25;

/// Part of `--hold` that a call may take. A call is what no other consumer can take over; its fixed costs are well spread by then.
const CALL_PART: f64 = 1.0 / 20.0;

/// A scorer that needs the same time for a batch of any size is only fast with whole batches. Each worker then has one in its scorer, one
/// that waits, and two whose results are on their way to the broker or whose companies are on their way from it.
const WHOLE_BATCHES: usize = 4;

/// For a trial of a larger batch, one must be there whole beside the call that goes before it.
const TRIAL_BATCHES: usize = 2;

/// A call that takes this much longer than it should is late, however much work is to be held.
const LATE_AFTER_AT_MOST: Duration = Duration::from_secs(30);

/// The limits that the consumer's flags set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HoldLimits {
    /// How much work to hold, as time.
    pub(crate) hold: Duration,
    /// Threads that score.
    pub(crate) workers: usize,
    /// Companies held of one queue, at most.
    pub(crate) prefetch: usize,
    /// Companies in one call of a scorer, at most.
    pub(crate) batch: usize,
    /// How long a scorer may take for a call.
    pub(crate) score_timeout: Duration,
}

/// Measures how fast companies are scored, and says how many to hold. Shared by the workers, which report, and the session, which asks.
#[derive(Debug)]
pub(crate) struct Hold {
    limits: HoldLimits,
    measured: Mutex<Measured>,
}

/// How many companies to hold now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Target {
    /// In all, those included that are being scored.
    pub(crate) companies: usize,
    /// Of those, the ones that no worker has begun with.
    pub(crate) waiting: usize,
    /// Companies that the workers take in one call each.
    pub(crate) in_calls: usize,
}

/// A call of a scorer that has begun; whoever ends it gives it back.
#[derive(Debug)]
pub(crate) struct Call(u64);

#[derive(Debug)]
struct Measured {
    /// A moving geometric mean over calls: speeds differ by orders of magnitude, and one outlier among many is no new speed. `None` before
    /// the first.
    log_seconds_per_company: Option<f64>,
    batch: BatchSize,
    bytes: Bytes,
    /// Threads that have a scorer.
    workers: usize,
    running: Vec<Running>,
    calls_begun: u64,
}

#[derive(Debug)]
struct Running {
    call: u64,
    companies: usize,
    began: Instant,
}

impl Hold {
    /// Nothing measured yet.
    pub(crate) fn new(limits: HoldLimits) -> Hold {
        let measured = Measured::new(&limits);
        Hold { limits, measured: Mutex::new(measured) }
    }

    /// A worker begins to score so many companies in one call.
    pub(crate) fn begin(&self, companies: usize) -> Call {
        let mut measured = self.lock();
        measured.calls_begun += 1;
        let call = measured.calls_begun;
        measured.running.push(Running { call, companies, began: Instant::now() });
        Call(call)
    }

    /// The call has ended, or is given up. Only one that has `scored` its companies says how fast that is.
    pub(crate) fn end(&self, call: &Call, scored: bool) {
        let mut measured = self.lock();
        let Some(at) = measured.running.iter().position(|running| running.call == call.0) else { return };
        let Running { companies, began, .. } = measured.running.swap_remove(at);
        if scored {
            measured.scored(companies, began.elapsed().as_secs_f64(), &self.limits);
        }
    }

    /// A company has arrived, with a record of so many bytes.
    pub(crate) fn arrived(&self, record_bytes: usize) {
        self.lock().bytes.arrived(record_bytes);
    }

    /// A company has been answered for, with so many bytes.
    pub(crate) fn answered(&self, answer_bytes: usize) {
        self.lock().bytes.answered(answer_bytes);
    }

    /// How many companies there is memory for, whatever their speed.
    pub(crate) fn most_in_memory(&self) -> usize {
        self.lock().bytes.most_held()
    }

    /// Whether a call that began before that moment has not ended yet.
    pub(crate) fn has_call_since_before(&self, moment: Instant) -> bool {
        self.lock().running.iter().any(|running| running.began < moment)
    }

    /// The process was stopped for so long: that is no time of its scorers'.
    pub(crate) fn was_stopped_for(&self, pause: Duration) {
        self.lock().running.iter_mut().for_each(|running| running.began += pause);
    }

    /// So many threads have a scorer.
    pub(crate) fn set_workers(&self, workers: usize) {
        self.lock().workers = workers;
    }

    /// How many companies to score in one call, at most.
    pub(crate) fn batch(&self) -> usize {
        let measured = self.lock();
        measured.batch.most().min(measured.bytes.most_in_a_call())
    }

    /// How many companies to hold.
    pub(crate) fn target(&self) -> Target {
        self.lock().target(&self.limits, Instant::now())
    }

    /// The seconds that a worker needs for a company; `None` before one has been scored.
    pub(crate) fn seconds_per_company(&self) -> Option<f64> {
        self.lock().seconds_per_company()
    }

    /// Whether [`Hold::try_larger_batch`] is to be called where many companies wait on the broker for each that is in a call.
    pub(crate) fn wants_larger_batch(&self) -> bool {
        let measured = self.lock();
        measured.batch.wants_backlog() && !measured.running.is_empty()
    }

    /// Lets the next calls have twice as many companies, to see whether they take longer.
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
        // A trial may take twice as long as it was thought to.
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
        // A call that takes as long as all that is to be held says more than a short one.
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
        let is_late = |running: &&Running| {
            let age = now.saturating_duration_since(running.began).as_secs_f64();
            age > late_after + each * running.companies as f64
        };
        // Behind the call that tries a larger batch, no more of them are held before it has shown whether they are worth it.
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

/// The whole part, as a count.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "float to integer saturates, and NaN is 0")]
fn whole(number: f64) -> usize {
    number as usize
}

#[cfg(test)]
mod tests;
