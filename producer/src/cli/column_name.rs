//! The name of a column, as a flag gives it.

/// A flag gives an empty name.
#[derive(Debug, thiserror::Error)]
#[error("expected the name of a column, found nothing")]
pub(super) struct NoColumnName;

/// The name without blanks around it: they are no part of it, as in a header.
pub(super) fn column_name(text: &str) -> Result<String, NoColumnName> {
    match text.trim() {
        "" => Err(NoColumnName),
        name => Ok(name.to_owned()),
    }
}
