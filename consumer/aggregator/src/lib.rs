//! The aggregator: counts the outcomes of every job, and publishes one done event when a job has ended.
//!
//! Several may run. One is the leader, and counts; the others are standbys. See `leader` for how, and [`jobs`] for what is counted.

pub mod cli;
mod error;
pub mod jobs;
mod leader;
pub mod process;
mod queries;
mod run;
mod scale;
