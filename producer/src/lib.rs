//! Reads companies and enqueues a job; watches it, and fetches its results.

pub mod cli;
pub mod run;

pub mod companies;
pub mod enqueue;
pub mod generate;

pub mod ask;
mod blocking;
mod destination;
pub mod failures;
mod fleet;
pub mod orders;
mod read_ahead;
pub mod redrive;
pub mod results;
mod source;
pub mod status;
pub mod watch;
