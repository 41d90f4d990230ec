//! How many companies to score in one call. Most scorers need twice the time for twice the companies: then a call is short, so that
//! others can take what is left. Some, such as a remote service or a GPU, need the same time for any number: then whole batches are as
//! fast as it gets. Which it is shows when the batch is doubled.

/// Twice the companies in one call must need this part of the time a company, at most, for larger calls to be worth their length.
const WORTH_IT: f64 = 0.75;

/// A size that was not worth it is tried again after so many calls.
const TRY_AGAIN_AFTER: u64 = 64;

/// The weight of the newest call of a size.
const NEWEST: f64 = 0.5;

/// The size of a batch, which grows and shrinks by what calls are measured to take.
#[derive(Debug)]
pub(super) struct BatchSize {
    /// The sizes that there are: powers of two, and the largest allowed.
    sizes: Vec<Size>,
    /// The present one.
    now: usize,
    /// How long a call may take where a larger one is no faster a company.
    call_seconds: f64,
    /// A trial that takes longer than this is made only where many companies wait.
    trial_seconds: f64,
    calls: u64,
    wants_backlog: bool,
}

#[derive(Debug)]
struct Size {
    companies: usize,
    /// Moving average over calls of this size, and the number of the last such call.
    seconds_per_company: Option<(f64, u64)>,
}

impl BatchSize {
    /// Begins with as many companies as take `call_seconds` at `seconds_per_company`; never more than `most`.
    pub(super) fn new(most: usize, call_seconds: f64, trial_seconds: f64, seconds_per_company: f64) -> BatchSize {
        let powers = std::iter::successors(Some(1_usize), |size| size.checked_mul(2)).take_while(|&size| size < most);
        let sizes = powers.chain([most]).map(|companies| Size { companies, seconds_per_company: None }).collect();
        let mut batch = BatchSize { sizes, now: 0, call_seconds, trial_seconds, calls: 0, wants_backlog: false };
        batch.now = batch.largest_within(call_seconds, seconds_per_company);
        batch
    }

    /// Companies in one call, at most.
    pub(super) fn most(&self) -> usize {
        self.sizes.get(self.now).map_or(1, |size| size.companies)
    }

    /// Takes in what a call took.
    pub(super) fn measured(&mut self, companies: usize, seconds: f64) {
        self.calls += 1;
        let (calls, at) = (self.calls, self.sizes.partition_point(|size| size.companies <= companies).saturating_sub(1));
        let each = seconds / companies.max(1) as f64;
        let Some(size) = self.sizes.get_mut(at) else { return };
        let earlier = size.seconds_per_company.map_or(each, |(earlier, _)| earlier);
        size.seconds_per_company = Some((earlier + NEWEST * (each - earlier), calls));
        self.wants_backlog = false;
        if seconds > self.call_seconds && !self.is_worth_it(at) {
            self.now = self.now.min(self.largest_within(self.call_seconds, each));
        }
        if companies >= self.most() {
            self.consider_growing(at, seconds);
        }
    }

    fn consider_growing(&mut self, at: usize, seconds: f64) {
        let larger = at + 1;
        if larger >= self.sizes.len() {
            return;
        }
        let is_short = 2.0 * seconds <= self.call_seconds;
        let tried = self.each(larger).is_some_and(|(_, call)| self.calls - call < TRY_AGAIN_AFTER) && !self.is_worth_it(larger);
        if is_short {
            self.now = larger;
        } else if tried || !(self.is_worth_it(at) || self.is_smallest_known(at)) {
            // A larger call would take longer, and others could have what is in it.
        } else if self.is_worth_it(at) || 2.0 * seconds <= self.trial_seconds {
            self.now = larger;
        } else {
            self.wants_backlog = true;
        }
    }

    /// Whether a trial of a larger size waits for somebody to find that many companies wait.
    pub(super) fn wants_backlog(&self) -> bool {
        self.wants_backlog
    }

    /// Goes on to the next larger size.
    pub(super) fn grow(&mut self) {
        self.wants_backlog = false;
        self.now = (self.now + 1).min(self.sizes.len() - 1);
    }

    /// Whether calls are long, and as long as that only because larger ones are faster a company.
    pub(super) fn needs_whole_batches(&self) -> bool {
        let seconds = self.each(self.now).map_or(0.0, |(each, _)| each * self.most() as f64);
        self.now > 0 && seconds > self.call_seconds
    }

    /// Whether a size needs clearly less time a company than the next smaller one.
    fn is_worth_it(&self, at: usize) -> bool {
        let smaller = at.checked_sub(1).and_then(|smaller| self.each(smaller));
        matches!((self.each(at), smaller), (Some((each, _)), Some((before, _))) if each <= WORTH_IT * before)
    }

    fn is_smallest_known(&self, at: usize) -> bool {
        at.checked_sub(1).is_none_or(|smaller| self.each(smaller).is_none())
    }

    fn each(&self, at: usize) -> Option<(f64, u64)> {
        self.sizes.get(at)?.seconds_per_company
    }

    fn largest_within(&self, seconds: f64, each: f64) -> usize {
        self.sizes.partition_point(|size| size.companies as f64 * each <= seconds).saturating_sub(1)
    }
}
