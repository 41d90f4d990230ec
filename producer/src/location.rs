//! Where a file is read from or written to, as a flag names it: the standard stream, a path, or a URL.

mod bad_location;
mod object_url;

use std::borrow::Cow;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::builder::{OsStringValueParser, TypedValueParser, ValueParser, ValueParserFactory};

pub use bad_location::BadLocation;
pub(crate) use object_url::Place;
pub use object_url::{ObjectUrl, StoreKind};

/// The text that stands for the standard stream.
const STANDARD_STREAM: &str = "-";

/// Where a file is read from or written to. Shows without passwords and signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// Standard input or standard output.
    Standard,
    /// A path of this machine.
    Path(PathBuf),
    /// An object in object storage, or a file of a web server.
    Url(ObjectUrl),
}

impl Location {
    /// What an argument names. A text is a URL if it begins with a scheme and `://`; whatever is no UTF-8 is a path.
    fn from_argument(argument: OsString) -> Result<Location, BadLocation> {
        match argument.into_string() {
            Ok(text) => text.parse(),
            Err(argument) => Ok(Location::Path(argument.into())),
        }
    }

    /// The name by whose ending its contents are told: a path, or the path of a URL, without its query.
    pub(crate) fn file_name(&self) -> Cow<'_, str> {
        match self {
            Location::Standard => Cow::Borrowed(STANDARD_STREAM),
            Location::Path(path) => path.to_string_lossy(),
            Location::Url(url) => url.path_name(),
        }
    }

    /// Its name in messages, as something that is read.
    pub(crate) fn input_name(&self) -> String {
        if *self == Location::Standard { "standard input".to_owned() } else { self.to_string() }
    }

    /// The same file, and of an object only that with this content hash.
    pub(crate) fn pinned(self, content_hash: Option<String>) -> Location {
        match self {
            Location::Url(url) => Location::Url(url.pinned(content_hash)),
            local => local,
        }
    }
}

impl FromStr for Location {
    type Err = BadLocation;

    fn from_str(text: &str) -> Result<Location, BadLocation> {
        if text == STANDARD_STREAM {
            return Ok(Location::Standard);
        }
        let Some((scheme, rest)) = text.split_once("://").filter(|(scheme, _)| is_scheme(scheme)) else {
            return Ok(Location::Path(text.into()));
        };
        match scheme.to_ascii_lowercase().as_str() {
            "s3" => ObjectUrl::in_store(StoreKind::S3, rest).map(Location::Url),
            "gs" => ObjectUrl::in_store(StoreKind::Gcs, rest).map(Location::Url),
            "az" => ObjectUrl::in_store(StoreKind::Azure, rest).map(Location::Url),
            "http" | "https" => ObjectUrl::on_the_web(text).map(Location::Url),
            "file" => Err(BadLocation::FileUrl),
            other => Err(BadLocation::UnknownScheme(other.to_owned())),
        }
    }
}

/// Whether a text has the form of a URL's scheme (RFC 3986, 3.1).
fn is_scheme(text: &str) -> bool {
    let is_rest = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    text.starts_with(|first: char| first.is_ascii_alphabetic()) && text.bytes().all(is_rest)
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Location::Standard => f.write_str(STANDARD_STREAM),
            Location::Path(path) => path.display().fmt(f),
            Location::Url(url) => url.fmt(f),
        }
    }
}

impl ValueParserFactory for Location {
    type Parser = ValueParser;

    fn value_parser() -> ValueParser {
        OsStringValueParser::new().try_map(Location::from_argument).into()
    }
}

/// The file at a path; `-` is the standard stream.
impl From<&Path> for Location {
    fn from(path: &Path) -> Location {
        if path == Path::new(STANDARD_STREAM) { Location::Standard } else { Location::Path(path.to_owned()) }
    }
}

impl From<&PathBuf> for Location {
    fn from(path: &PathBuf) -> Location {
        path.as_path().into()
    }
}

impl From<&Location> for Location {
    fn from(location: &Location) -> Location {
        location.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        text.parse::<Location>().unwrap_or_else(|error| panic!("{text}: {error}")).to_string()
    }

    #[test]
    fn an_argument_is_the_standard_stream_a_path_or_a_url() {
        assert_eq!("-".parse(), Ok(Location::Standard));
        for path in ["companies.csv", "./s3://x/y", "a/b://c", "s3:/x", "://x", "3s://x", "/dev/stdin", "c:\\x", "http:x"] {
            assert_eq!(path.parse(), Ok(Location::Path(path.into())), "{path}");
        }
        for (url, kind, bucket, key) in [
            ("s3://bucket/a/b.csv", StoreKind::S3, "bucket", "a/b.csv"),
            ("S3://bucket/a b%20c#d+ä.csv", StoreKind::S3, "bucket", "a b%20c#d+ä.csv"),
            ("gs://my-bucket/x.parquet", StoreKind::Gcs, "my-bucket", "x.parquet"),
            ("az://container/x.csv.gz", StoreKind::Azure, "container", "x.csv.gz"),
        ] {
            let Ok(Location::Url(parsed)) = url.parse() else { panic!("{url}") };
            let place = Place::Store { kind, bucket: bucket.to_owned(), key: key.to_owned() };
            assert_eq!((parsed.place(), parsed.to_string()), (&place, url.replacen("S3", "s3", 1)));
        }
    }

    #[test]
    fn what_is_no_url_of_a_known_scheme_is_refused_and_its_secrets_are_not_repeated() {
        for (url, words) in [
            ("ftp://ann:secret@host/x.csv", "ftp://"),
            ("s3a://bucket/x.csv", "begins with s3a://"),
            ("file:///tmp/x.csv", "the path alone"),
            ("s3://", "no bucket"),
            ("s3:///x.csv", "no bucket"),
            ("s3://bucket", "no key"),
            ("s3://bucket/", "no key"),
            ("gs://bucket/folder/", "a folder"),
            ("az://container//x.csv", "an empty part"),
            ("s3://bucket/../x.csv", "an empty part"),
            ("s3://key:secret@bucket/x.csv", "credentials in it"),
            ("s3://bucket/x.csv?versionId=secret", "a query"),
            ("https:///x.csv", "no host"),
            ("https://", "no host"),
            ("http://host:secret/x.csv", "no valid address"),
        ] {
            let refused = url.parse::<Location>().unwrap_err().to_string();
            assert!(refused.contains(words) && refused.starts_with("expected a "), "{url}: {refused}");
            assert!(!refused.contains("secret"), "{refused}");
        }
    }

    #[test]
    fn a_url_is_shown_without_password_and_signature_and_reads_its_name_from_its_path() {
        for (url, as_shown, name) in [
            ("https://host/a/x.csv", "https://host/a/x.csv", "x.csv"),
            ("https://ann:secret@host:8443/x.csv?X-Amz-Signature=secret#secret", "https://host:8443/x.csv", "x.csv"),
            (
                "HTTPS://account.blob.core.windows.net/c/x%20y.parquet?sv=1&sig=secret",
                "https://account.blob.core.windows.net/c/x%20y.parquet",
                "x y.parquet",
            ),
            ("http://[::1]:9000/x.csv.gz?.txt", "http://[::1]:9000/x.csv.gz", "x.csv.gz"),
            ("https://host/?file=secret.csv", "https://host/", ""),
        ] {
            let location: Location = url.parse().unwrap();
            assert_eq!((shown(url).as_str(), location.file_name().as_ref()), (as_shown, name));
            let debug = format!("{location:?}");
            assert!(!debug.contains("secret") && debug.contains(as_shown), "{debug}");
            // What a job has recorded as its source can be read back, but for its secrets.
            assert_eq!(shown(as_shown), as_shown);
        }
    }
}
