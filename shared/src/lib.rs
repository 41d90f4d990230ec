//! What Rollcall's processes share: the messages, the names on the broker, the connection to it, the command line and the shutdown of a
//! process, its logs, metrics and terminal output.

pub mod arguments;
pub mod broker;
pub mod decimal;
pub mod duration;
pub mod json;
pub mod lifecycle;
pub mod message;
pub mod telemetry;
pub mod terminal;
pub mod topology;
