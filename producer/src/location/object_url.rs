//! The URL of an object in object storage, or of a file on a web server.

use std::borrow::Cow;
use std::fmt;

use percent_encoding::percent_decode_str;
use reqwest::Url;

use super::bad_location::BadLocation;

/// The URL of an object. Shows without user, password, query and fragment, which may be secret: a signed URL carries its signature in its query.
#[derive(Clone, PartialEq, Eq)]
pub struct ObjectUrl {
    place: Place,
    pinned: Option<String>,
}

/// The kinds of object storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::Display)]
pub enum StoreKind {
    /// Amazon S3, and what speaks its protocol, such as `MinIO` and Ceph.
    #[strum(to_string = "s3")]
    S3,
    /// Google Cloud Storage.
    #[strum(to_string = "gs")]
    Gcs,
    /// Azure Blob Storage.
    #[strum(to_string = "az")]
    Azure,
}

/// Where an object is.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// In a bucket (of Azure, a container). The key is taken as it stands, as the stores' own tools take it.
    Store { kind: StoreKind, bucket: String, key: String },
    /// On a web server.
    Web(Url),
}

impl ObjectUrl {
    /// The object that `rest`, the URL behind its scheme, names.
    pub(super) fn in_store(kind: StoreKind, rest: &str) -> Result<ObjectUrl, BadLocation> {
        let expected = match kind {
            StoreKind::S3 => "s3://bucket/companies.csv",
            StoreKind::Gcs => "gs://bucket/companies.csv",
            StoreKind::Azure => "az://container/companies.csv",
        };
        let refused = |found, advice| Err(BadLocation::BadUrl { expected, found, advice });
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        match key {
            _ if bucket.contains('@') || bucket.contains(':') => {
                return refused("one with credentials in it", "set them in the environment, as for the store's own tools");
            }
            _ if rest.contains('?') => return refused("one with a query", "leave out what begins with ?"),
            _ if bucket.is_empty() => return refused("one with no bucket", "name the bucket and the object in it"),
            "" => return refused("one with no key", "name an object in the bucket"),
            _ if key.ends_with('/') => return refused("the name of a folder", "name an object in it"),
            _ => {}
        }
        if key.split('/').any(|part| matches!(part, "" | "." | "..")) || key.contains(char::is_control) {
            return refused("a key with an empty part, a . or .. between slashes, or a control character", "rename the object");
        }
        Ok(ObjectUrl { place: Place::Store { kind, bucket: bucket.to_owned(), key: key.to_owned() }, pinned: None })
    }

    pub(super) fn on_the_web(text: &str) -> Result<ObjectUrl, BadLocation> {
        let refused = |found| BadLocation::BadUrl { expected: "https://host/companies.csv", found, advice: "check the URL" };
        let (_, rest) = text.split_once("://").unwrap_or_default();
        // The parser would take the first part of the path for the host.
        if rest.is_empty() || rest.starts_with(['/', '\\', '?', '#']) {
            return Err(refused("one with no host"));
        }
        let mut url = Url::parse(text).map_err(|_| refused("no valid address"))?;
        url.set_fragment(None);
        Ok(ObjectUrl { place: Place::Web(url), pinned: None })
    }

    /// The same URL, of which only the object with this content hash is read.
    pub(super) fn pinned(self, content_hash: Option<String>) -> ObjectUrl {
        ObjectUrl { pinned: content_hash, ..self }
    }

    pub(crate) fn is_on_the_web(&self) -> bool {
        matches!(self.place, Place::Web(_))
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// The content hash of the only object that is to be read under this URL; `None` for whichever is there.
    pub(crate) fn pinned_hash(&self) -> Option<&str> {
        self.pinned.as_deref()
    }

    /// The last part of its path.
    pub(super) fn path_name(&self) -> Cow<'_, str> {
        match &self.place {
            Place::Store { key, .. } => Cow::Borrowed(last_part(key)),
            Place::Web(url) => percent_decode_str(last_part(url.path())).decode_utf8_lossy(),
        }
    }

    /// Whether both name the same object.
    pub(crate) fn is_same_object(&self, other: &ObjectUrl) -> bool {
        self.place == other.place
    }

    /// The URL of the object with this name in the same folder. On the web there is none: a query would belong to the other file.
    pub(crate) fn sibling(&self, name: &str) -> Option<ObjectUrl> {
        let Place::Store { kind, bucket, key } = &self.place else { return None };
        let folder = key.rsplit_once('/').map(|(folder, _)| format!("{folder}/")).unwrap_or_default();
        Some(ObjectUrl {
            place: Place::Store { kind: *kind, bucket: bucket.clone(), key: format!("{folder}{name}") },
            pinned: None,
        })
    }
}

fn last_part(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

impl fmt::Display for ObjectUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Store { kind, bucket, key } => write!(f, "{kind}://{bucket}/{key}"),
            Place::Web(url) => write!(f, "{}{}", url.origin().ascii_serialization(), url.path()),
        }
    }
}

impl fmt::Debug for ObjectUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        ObjectUrl { place: self.clone(), pinned: None }.fmt(f)
    }
}
