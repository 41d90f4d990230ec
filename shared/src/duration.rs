//! Durations on the command line.

use std::time::Duration;

/// Text that is not a duration above zero.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BadDuration {
    /// It is zero.
    #[error("expected a time above zero")]
    Zero,
    /// It does not parse.
    #[error("expected a time such as 500ms, 30s or 2m: {0}")]
    NotADuration(#[from] humantime::DurationError),
}

/// Reads a duration above zero, such as `500ms`, `30s` or `2m`.
///
/// # Errors
/// [`BadDuration`].
pub fn parse_positive(text: &str) -> Result<Duration, BadDuration> {
    let duration = humantime::parse_duration(text)?;
    if duration.is_zero() { Err(BadDuration::Zero) } else { Ok(duration) }
}
