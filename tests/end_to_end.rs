//! The end-to-end tests, as one program: they wait more than they compute, so all of them share one pool of threads.

#![expect(clippy::unwrap_used, reason = "in a test, the unexpected ends the test")]

mod faults;
mod gateway;
mod scenarios;
