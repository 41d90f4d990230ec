//! What Rollcall promises, one sentence per test, tried on a real broker with real processes.

#![expect(clippy::unwrap_used, reason = "in a test, the unexpected ends the test")]

mod attempts;
mod bad_input;
mod broken_scorer;
mod broker_refusals;
mod channels;
mod clocks;
mod command_scorer;
mod cut_short;
mod destinations;
mod environment;
mod every_failure;
mod following;
mod foreign;
mod formats;
mod frames;
mod help;
mod holding;
mod innocents;
mod ipv6;
mod machine_trouble;
mod main_job;
mod memory;
mod orphans;
mod paused;
mod poison;
mod policies;
mod redrive;
mod refusals;
mod results;
mod resume;
mod same_name;
mod scale_in;
mod shutdown;
mod stalled;
mod takeover;
mod telemetry;
mod terminal;
