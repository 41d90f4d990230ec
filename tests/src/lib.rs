//! What the end-to-end tests stand on: a vhost of their own, real processes, waits with deadlines, and a reader of the ledger
//! that shares no code with the aggregator's.

#![expect(clippy::panic, clippy::expect_used, clippy::unwrap_used, reason = "in a test, the unexpected ends the test")]
#![expect(
    clippy::print_stderr,
    reason = "what a test skips, and what its processes said when it failed, is told on standard error"
)]

mod broker;
mod cluster;
mod fleet;
mod ledger;
mod process;
mod queue;
mod relay;
mod telemetry;
mod vhost;
mod wait;

pub use broker::Broker;
pub use cluster::Cluster;
pub use fleet::{Fleet, SCORER, project};
pub use ledger::{Bodies, JobRecord, Outcome, read_ledger};
pub use process::{Ended, Process};
pub use relay::{BOTH, Relay, Way};
pub use telemetry::{free_address, get, metrics, value};
pub use vhost::Vhost;
pub use wait::{eventually, within};
