//! What Rollcall promises, as sentences, each tried on a real broker with real processes.

mod main_job;
mod takeover;
