//! An aggregator whose metrics are read.

use std::net::SocketAddr;

use rollcall_tests::{Fleet, Process, free_address, metrics, value};

/// An aggregator and its metrics address.
pub(crate) struct Aggregator {
    pub(crate) process: Process,
    address: SocketAddr,
}

impl Aggregator {
    /// Starts one, and waits until it is a standby at least.
    pub(crate) fn start(fleet: &Fleet) -> Aggregator {
        let address = free_address();
        let process = fleet.aggregator(&["--metrics-addr", &address.to_string()]);
        process.wait_until_event("standing_by");
        Aggregator { process, address }
    }

    /// Whether it leads.
    pub(crate) fn counts(&self) -> bool {
        self.metric("rollcall_aggregator_active") == 1.0
    }

    /// The value of a metric; 0 if there is none of that name.
    pub(crate) fn metric(&self, series: &str) -> f64 {
        value(&metrics(self.address), series).unwrap_or(0.0)
    }
}
