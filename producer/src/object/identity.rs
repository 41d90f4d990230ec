//! What tells one object from another under the same URL.

use std::fmt::Write as _;

use super::error::ObjectError;

/// What a server says about an object, by which it is recognised.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Identity {
    /// As in the header, with its quotes.
    pub(crate) etag: Option<String>,
    /// The version in a bucket that keeps versions.
    pub(crate) version: Option<String>,
    pub(crate) last_modified: Option<String>,
    /// In bytes.
    pub(crate) size: Option<u64>,
}

impl Identity {
    /// The text by which a job recognises its object; `None` if the server says too little.
    pub(crate) fn content_hash(&self) -> Option<String> {
        let etag = self.etag.as_ref().map(|etag| format!("etag:{}", etag.replace('"', "")));
        let version = || self.version.as_ref().map(|version| format!("version:{version}"));
        let mut hash =
            etag.or_else(version).or_else(|| self.last_modified.as_ref().map(|time| format!("last-modified:{time}")))?;
        if let Some(size) = self.size {
            write!(hash, " size:{size}").ok()?;
        }
        Some(hash)
    }

    /// The etag that a server can compare: a weak one never matches (RFC 9110, 13.1.1).
    pub(crate) fn strong_etag(&self) -> Option<&str> {
        self.etag.as_deref().filter(|etag| !etag.starts_with("W/"))
    }

    /// Whether a later answer is of the same object. An answer that no longer says what the first one said is not.
    pub(crate) fn is_same(&self, later: &Identity) -> bool {
        let is_same_size = self.size.is_none() || later.size.is_none() || self.size == later.size;
        is_same_size && self.content_hash().is_some() && self.without_size() == later.without_size()
    }

    /// The error of finding something else in this one's place.
    pub(super) fn changed_to(&self, found: &Identity) -> ObjectError {
        let hash = |identity: &Identity| identity.content_hash().unwrap_or_else(|| "something else".to_owned());
        ObjectError::Changed { expected: hash(self), found: hash(found) }
    }

    fn without_size(&self) -> Option<String> {
        Identity { size: None, ..self.clone() }.content_hash()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(etag: Option<&str>, last_modified: Option<&str>, size: Option<u64>) -> Identity {
        Identity { etag: etag.map(str::to_owned), last_modified: last_modified.map(str::to_owned), size, version: None }
    }

    #[test]
    fn an_object_is_recognised_by_its_etag_or_else_by_its_time_and_by_its_size() {
        let time = "Mon, 30 Nov 2026 20:00:00 GMT";
        let hash = |etag, time, size| identity(etag, time, size).content_hash();
        assert_eq!(hash(Some("\"a-2\""), Some(time), Some(7)).as_deref(), Some("etag:a-2 size:7"));
        assert_eq!(hash(Some("W/\"a\""), None, None).as_deref(), Some("etag:W/a"));
        assert_eq!(hash(None, Some(time), Some(7)), Some(format!("last-modified:{time} size:7")));
        assert_eq!(hash(None, None, Some(7)), None);
        let versioned = Identity { version: Some("3".to_owned()), ..identity(None, Some(time), None) };
        assert_eq!(versioned.content_hash().as_deref(), Some("version:3"));
    }

    #[test]
    fn a_later_answer_is_of_the_same_object_only_if_it_says_so() {
        let first = identity(Some("\"a\""), None, Some(7));
        assert!(first.is_same(&first) && first.is_same(&identity(Some("\"a\""), Some("then"), None)));
        for other in [
            identity(Some("\"b\""), None, Some(7)),
            identity(Some("\"a\""), None, Some(8)),
            identity(None, None, Some(7)),
            identity(None, Some("then"), Some(7)),
        ] {
            assert!(!first.is_same(&other), "{other:?}");
        }
        let unknown = identity(None, None, Some(7));
        assert!(!unknown.is_same(&unknown), "nothing says that it is the same");
        assert_eq!([first.strong_etag(), identity(Some("W/\"a\""), None, None).strong_etag()], [Some("\"a\""), None]);
    }
}
