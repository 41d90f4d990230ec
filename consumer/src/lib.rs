//! Takes companies from the broker, scores them, and publishes the results.

pub mod cli;
pub mod commands;
pub mod error;
pub mod process;
mod fleet;
mod run;
mod session;
mod intake;
mod workers;
mod results;
mod status;
