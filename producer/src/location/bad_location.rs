//! Why a text names no file.

/// A text that names no file.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BadLocation {
    /// The scheme of a URL is not known.
    #[error(
        "expected a path, -, or a URL that begins with s3://, gs://, az://, https:// or http://, found one that begins with {0}://; give \
         one of these, or a path with ./ before it"
    )]
    UnknownScheme(String),
    /// `file://`.
    #[error(
        "expected a path, -, or a URL that begins with s3://, gs://, az://, https:// or http://, found file://; give the path alone"
    )]
    FileUrl,
    /// A URL of a known scheme has no bucket, key or host.
    #[error("expected a URL such as {expected}, found {found}; {advice}")]
    BadUrl {
        /// A URL of this scheme.
        expected: &'static str,
        /// What is wrong, without what may be secret.
        found: &'static str,
        /// What to do about it.
        advice: &'static str,
    },
}
