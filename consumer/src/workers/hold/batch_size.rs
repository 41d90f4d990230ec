//! How many companies to score in one call.
//!
//! Most scorers need twice the time for twice the companies: then calls are short, so that other consumers can take the rest. Some, such as
//! a remote service or a GPU, need the same time for any number: then whole batches are fastest. Doubling the batch shows which it is.

/// A larger call is faster if a company needs at most this part of the time that it needs in a call of half the size.
const FASTER: f64 = 0.75;

/// The last calls of a size, of which the fastest is compared with the larger size, so that chance does not make that look faster. Until any
/// larger size was faster, there must be two.
const COMPARED: usize = 4;
const COMPARED_AT_FIRST: usize = 2;

/// Calls in a row that prove a larger size to be faster, or to be faster no longer.
const PROOFS: u32 = 2;
const DOUBTS: u32 = 3;

/// A trial for which too few companies arrive ends after this many smaller calls.
const SMALL_CALLS: u32 = 8;

/// After this many calls, a size that was not faster is tried again, and one that was faster is compared again.
const TRY_AGAIN_AFTER: u64 = 64;

/// How long calls may take, in seconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct CallSeconds {
    /// The longest call, unless larger ones are faster per company.
    pub(super) usual: f64,
    /// A trial that may take longer than this is made only if many companies wait on the broker.
    pub(super) trial: f64,
    /// No trial may take longer than this.
    pub(super) most: f64,
}

/// The size of a batch, which grows and shrinks with the measured durations of calls.
#[derive(Debug)]
pub(super) struct BatchSize {
    /// The possible sizes: powers of two, and the largest allowed.
    sizes: Vec<Size>,
    /// The position of the present size.
    now: usize,
    /// The position of the largest size that was found to be faster; 0 if none was.
    proven: usize,
    proofs: u32,
    doubts: u32,
    /// During a trial of the present size: calls since then that were smaller.
    trial: Option<u32>,
    seconds: CallSeconds,
    calls: u64,
    /// The number of the call that was not faster for its size.
    failed_trial: Option<u64>,
    /// The number of the call at which the proven size was last compared with a smaller one.
    compared: u64,
    /// Whether a trial waits until many companies are known to wait on the broker.
    wants_backlog: bool,
}

#[derive(Debug)]
struct Size {
    companies: usize,
    /// Seconds per company in the last calls of this size.
    last: [f64; COMPARED],
}

impl BatchSize {
    /// Begins with as many companies as fit into a usual call at `seconds_per_company`; never more than `most`.
    pub(super) fn new(most: usize, seconds: CallSeconds, seconds_per_company: f64) -> BatchSize {
        let powers = std::iter::successors(Some(1_usize), |size| size.checked_mul(2)).take_while(|&size| size < most);
        let sizes = powers.chain([most]).map(|companies| Size { companies, last: [f64::INFINITY; COMPARED] }).collect();
        let (now, proven, proofs, doubts) = (0, 0, 0, 0);
        let mut batch = BatchSize {
            sizes,
            now,
            proven,
            proofs,
            doubts,
            trial: None,
            seconds,
            calls: 0,
            failed_trial: None,
            compared: 0,
            wants_backlog: false,
        };
        batch.now = batch.largest_within(seconds_per_company);
        batch
    }

    /// Companies in one call at most.
    pub(super) fn most(&self) -> usize {
        self.sizes.get(self.now).map_or(1, |size| size.companies)
    }

    /// Whether a larger size was found to be faster per company.
    pub(super) fn needs_whole_batches(&self) -> bool {
        self.proven > 0
    }

    /// Whether the present size is on trial.
    pub(super) fn is_trial(&self) -> bool {
        self.trial.is_some()
    }

    /// Whether a trial of a larger size waits until many companies are known to wait on the broker.
    pub(super) fn wants_backlog(&self) -> bool {
        self.wants_backlog
    }

    /// Tries the next larger size, if that is still wanted.
    pub(super) fn try_larger(&mut self) {
        if std::mem::take(&mut self.wants_backlog) {
            self.try_next();
        }
    }

    /// Records the duration of a call that scored its companies.
    pub(super) fn measured(&mut self, companies: usize, seconds: f64) {
        self.calls += 1;
        self.wants_backlog = false;
        let at = self.sizes.partition_point(|size| size.companies <= companies).saturating_sub(1);
        let each = seconds / companies.max(1) as f64;
        let is_faster = at.checked_sub(1).is_some_and(|smaller| each <= FASTER * self.fastest(smaller));
        self.note(at, each);
        let is_long = seconds > self.seconds.usual;
        if at < self.now {
            // A trial begins with the first call that is large enough; enough companies may never arrive.
            self.trial = self.trial.map(|small| small + 1).filter(|&small| small < SMALL_CALLS);
            // If larger calls are faster for this scorer, a small one says nothing about them.
            if is_long && self.proven == 0 && self.trial.is_none() {
                self.now = self.now.min(self.largest_within(each));
            }
            return;
        }
        self.trial = None;
        if is_long && at > 0 && !is_faster {
            self.doubt(at, each);
        } else {
            self.prove(at, seconds, is_faster);
            if at > 0 && at == self.proven && self.calls - self.compared >= TRY_AGAIN_AFTER {
                (self.now, self.proven, self.compared) = (at - 1, at - 1, self.calls);
            } else {
                self.consider_growing(at, seconds);
            }
        }
    }

    fn note(&mut self, at: usize, each: f64) {
        if let Some(size) = self.sizes.get_mut(at) {
            size.last.rotate_right(1);
            size.last[0] = each;
        }
    }

    /// A call of the full size was long, and no faster per company than one of half the size.
    fn doubt(&mut self, at: usize, each: f64) {
        self.proofs = 0;
        if at > self.proven && self.proven > 0 {
            (self.now, self.failed_trial) = (self.proven, Some(self.calls));
            return;
        }
        self.doubts += 1;
        if self.proven == 0 {
            (self.now, self.failed_trial) = (self.largest_within(each), Some(self.calls));
        } else if self.doubts >= DOUBTS {
            // The scorer behaves differently than before: earlier measurements no longer hold.
            self.sizes.iter_mut().for_each(|size| size.last = [f64::INFINITY; COMPARED]);
            (self.now, self.proven, self.doubts) = (self.largest_within(each), 0, 0);
        }
    }

    fn prove(&mut self, at: usize, seconds: f64, is_faster: bool) {
        self.doubts = 0;
        // Short calls are doubled without proof.
        if is_faster && at > self.proven && 2.0 * seconds > self.seconds.usual {
            self.proofs += 1;
            if self.proven > 0 || self.proofs >= PROOFS {
                (self.proven, self.proofs, self.compared) = (at, 0, self.calls);
            }
        }
    }

    fn consider_growing(&mut self, at: usize, seconds: f64) {
        let doubled = 2.0 * seconds;
        let has_failed = self.failed_trial.is_some_and(|call| self.calls - call < TRY_AGAIN_AFTER);
        if doubled <= self.seconds.usual {
            self.grow();
        } else if has_failed || doubled > self.seconds.most || at + 1 >= self.sizes.len() {
            // A larger call would take longer, and keep companies from other consumers.
        } else if at > 0 {
            if at == self.proven {
                self.try_next();
            } else {
                // One proof is not enough: try this size once more.
                self.trial = Some(0);
            }
        } else if self.fastest(at) == 0.0 {
            // Not yet measured often enough for a comparison.
        } else if doubled <= self.seconds.trial {
            self.try_next();
        } else {
            self.wants_backlog = true;
        }
    }

    fn try_next(&mut self) {
        self.grow();
        self.trial = Some(0);
    }

    fn grow(&mut self) {
        self.now = (self.now + 1).min(self.sizes.len() - 1);
    }

    /// Seconds per company in the fastest of the last calls of a size; 0 if there were too few.
    fn fastest(&self, at: usize) -> f64 {
        let known = self.sizes.get(at).map(|size| size.last.iter().copied().filter(|each| each.is_finite()));
        let enough = if self.proven > 0 { 1 } else { COMPARED_AT_FIRST };
        let Some(known) = known.filter(|known| known.clone().count() >= enough) else { return 0.0 };
        known.fold(f64::INFINITY, f64::min)
    }

    fn largest_within(&self, each: f64) -> usize {
        self.sizes.partition_point(|size| size.companies as f64 * each <= self.seconds.usual).saturating_sub(1)
    }
}
