//! Reads companies and enqueues a job; watches it, and fetches its results.

pub mod cli;
pub mod error;
pub mod location;
pub mod output;
pub mod process;
mod removed_variables;
mod run;

pub mod companies;
pub mod enqueue;

mod aggregator_client;
mod broker_session;
pub mod failures;
mod fleet;
pub mod job_control;
pub mod redrive;
pub mod results;
pub mod score;
mod source;

mod object;
pub mod serve;
pub mod status;
pub mod watch;

mod blocking;
mod destination;
pub mod generate;
mod read_ahead;
