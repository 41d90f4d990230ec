//! The broker dies, freezes or runs short of memory; connections are cut; queues are deleted. Nothing is lost or counted
//! twice.

#![expect(clippy::unwrap_used, reason = "in a test, the unexpected ends the test")]

mod alarm;
mod broker_dies;
mod cluster;
mod cut_links;
mod deleted;
mod frozen_aggregator;
