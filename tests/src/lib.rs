//! The harness of the end-to-end tests: a vhost for each test, real processes, waits with deadlines, and a reader of the ledger that
//! shares no code with the aggregator's.
//!
//! Everything here panics if something unexpected happens, which fails the test. A test that cannot run calls [`skip`].

#![expect(clippy::panic, clippy::expect_used, clippy::unwrap_used, reason = "in a test, the unexpected ends the test")]
#![expect(clippy::print_stderr, reason = "the output of a failed test's processes is shown with it")]

mod broker;
mod ceph;
mod clock;
mod cluster;
mod environment;
mod fleet;
mod gateway;
mod http;
mod ledger;
mod orphans;
mod prerequisites;
mod process;
mod programs;
mod queue;
mod relay;
mod report;
mod s3;
mod telemetry;
mod vhost;
mod wait;

pub use broker::Broker;
pub use ceph::{Bucket, Ceph, Object};
pub use clock::FakeClock;
pub use cluster::Cluster;
pub use environment::{project, schemathesis};
pub use fleet::{Fleet, SCORER};
pub use gateway::Gateway;
pub use http::{Answer, answer, request};
pub use ledger::{Bodies, JobRecord, Outcome, read_ledger};
pub use process::{Ended, Process, children_of};
pub use relay::{BOTH, Relay, Way};
pub use report::skip;
pub use s3::S3;
pub use telemetry::{free_address, get, metrics, value};
pub use vhost::Vhost;
pub use wait::{eventually, soon, within};
