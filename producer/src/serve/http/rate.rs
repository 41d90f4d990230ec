//! How many requests a client may send.

use std::net::IpAddr;
use std::num::NonZeroU32;

use governor::clock::{Clock, DefaultClock};
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};

/// Clients that are kept; those that have not sent anything for a while are then forgotten.
const CLIENTS: usize = 10_000;

/// Limits the rate of each client, known by its address.
pub(super) struct Rates {
    limiter: RateLimiter<IpAddr, HashMapStateStore<IpAddr>, DefaultClock>,
}

impl Rates {
    /// So many requests a second on average, and so many at once.
    pub(super) fn new(per_second: NonZeroU32) -> Rates {
        let burst = per_second.saturating_mul(NonZeroU32::MIN.saturating_add(1));
        Rates { limiter: RateLimiter::hashmap(Quota::per_second(per_second).allow_burst(burst)) }
    }

    /// Counts a request.
    ///
    /// # Errors
    /// The seconds after which the next one is allowed, if this one is too many.
    pub(super) fn count(&self, client: IpAddr) -> Result<(), u32> {
        if self.limiter.len() > CLIENTS {
            self.limiter.retain_recent();
        }
        self.limiter.check_key(&client).map_err(|not_until| {
            let wait = not_until.wait_time_from(DefaultClock::default().now());
            u32::try_from(wait.as_secs() + 1).unwrap_or(u32::MAX)
        })
    }
}
