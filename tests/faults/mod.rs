//! The broker dies, freezes or runs short of memory; connections are cut; queues are deleted. Nothing is lost or counted
//! twice.

mod alarm;
mod broker_dies;
mod cluster;
mod cut_links;
mod deleted;
mod frozen_aggregator;
mod stalled;
