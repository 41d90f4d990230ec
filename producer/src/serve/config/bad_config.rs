//! What is wrong with the configuration.

/// What is wrong with it, and where.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct BadConfig(pub(crate) String);
