//! Times that flags give.

use std::time::Duration;

/// A time above zero, such as `500ms`, `30s` or `2m`.
///
/// # Errors
/// Where it is none, in words.
pub fn positive(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration > Duration::ZERO => Ok(duration),
        Ok(_) => Err("expected a time above zero".to_owned()),
        Err(error) => Err(format!("expected a time such as 500ms, 30s or 2m: {error}")),
    }
}
