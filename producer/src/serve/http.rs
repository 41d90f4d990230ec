//! What every request goes through before it is handled: the connection, who sends it, and how often.

pub(super) mod access;
pub(super) mod drain;
pub(super) mod headers;
pub(super) mod listener;
pub(super) mod problem;
pub(super) mod rate;
pub(super) mod small_body;
pub(super) mod tls;
pub(super) mod tokens;
