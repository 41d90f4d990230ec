//! What Rollcall's processes share, in the order a process meets it: the words and messages, the names on the broker, the
//! connection to it, a process's life, and what it tells about itself.

pub mod arguments;
pub mod broker;
pub mod duration;
pub mod lifecycle;
pub mod message;
pub mod number;
pub mod telemetry;
pub mod terminal;
pub mod topology;
