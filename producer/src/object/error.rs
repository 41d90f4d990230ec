//! Why an object cannot be read or written: what was expected, what was found, and what to do, without secrets.

use std::error::Error;
use std::iter::successors;

use object_store::Error as StoreError;
use object_store::client::{HttpError, HttpErrorKind};
use reqwest::StatusCode;

/// What the verifier of certificates says if this machine has none to verify others by.
const NO_CERTIFICATES: &str = "No CA certificates";

/// Why an object cannot be read or written. It also travels inside an [`std::io::Error`].
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum ObjectError {
    #[error("expected an object, found none of this name; check the URL")]
    NoObject,
    #[error(
        "expected a bucket or container, found none of this name; check the URL, and the endpoint and the account in the environment"
    )]
    NoBucket,
    #[error(
        "expected permission, found it refused ({0}); check the credentials and their rights, whether the object exists, and whether a \
         signed URL is still valid"
    )]
    Refused(String),
    #[error("expected credentials, found none that work ({found}); {advice}")]
    NoCredentials { found: String, advice: &'static str },
    #[error("expected settings that work, found {0}; correct the environment variable or the profile")]
    BadSettings(String),
    #[error("expected the bucket in the region that is set, found it in {0}; set AWS_REGION to the bucket's")]
    OtherRegion(String),
    #[error("expected the object with {expected}, found it changed to {found}; start anew when nobody writes to it")]
    Changed { expected: String, found: String },
    #[error(
        "expected to read on at byte {position}, where the connection broke off ({broken}), found that {reason}; download the file, \
         and name it"
    )]
    CannotResume { position: u64, broken: String, reason: &'static str },
    #[error(
        "expected a certificate that can be verified, found {0}; add the authority that signed it to this machine's certificates, or name a \
         file with it in SSL_CERT_FILE"
    )]
    NotTrusted(String),
    #[error("expected an answer of the server, found {0}; look at the server and the network")]
    Unreachable(String),
    #[error(
        "expected a path, or a URL that begins with s3://, gs:// or az://, found a web server's, which takes files in ways of its own; write a file, and send it there"
    )]
    NotWritable,
    #[error("expected the upload to go on, found {0}; report it as a fault")]
    Unexpected(String),
    #[error("expected an answer that can be read, found {0}; check the URL")]
    BadAnswer(String),
}

impl ObjectError {
    /// Whether the URL and the settings are fine, and a server, the network, or whoever changes the object meanwhile is the cause.
    pub(crate) fn is_of_the_environment(&self) -> bool {
        matches!(
            self,
            Self::Changed { .. } | Self::CannotResume { .. } | Self::NotTrusted(_) | Self::Unreachable(_) | Self::Unexpected(_)
        )
    }

    /// Whether another attempt may succeed.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(self, Self::Unreachable(_))
    }

    /// What was found, without what was expected.
    pub(super) fn in_short(&self) -> String {
        match self {
            Self::Unreachable(found) => found.clone(),
            other => other.to_string(),
        }
    }

    /// The error that an HTTP status is.
    pub(super) fn of_status(status: StatusCode, code: Option<&str>) -> ObjectError {
        let found = [status.as_str(), code.or(status.canonical_reason()).unwrap_or_default()].join(" ").trim().to_owned();
        match (status, code) {
            (_, Some("NoSuchBucket" | "ContainerNotFound")) => Self::NoBucket,
            // With status 400, where others are refused with 403.
            (_, Some("ExpiredToken" | "InvalidToken")) => Self::Refused(found),
            (StatusCode::NOT_FOUND | StatusCode::GONE, _) => Self::NoObject,
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::PROXY_AUTHENTICATION_REQUIRED, _) => {
                Self::Refused(found)
            }
            (StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS, _) => Self::Unreachable(found),
            _ if status.is_server_error() => Self::Unreachable(found),
            _ => Self::BadAnswer(found),
        }
    }

    /// The error that a client of object storage returned. Its text may name a URL, so only parts of it are shown.
    pub(super) fn of_store(error: &StoreError) -> ObjectError {
        let text = error.to_string();
        if let Some(http) = chain(error).find_map(|cause| cause.downcast_ref::<HttpError>()) {
            return Self::of_http(http);
        }
        let code = between(&text, "<Code>", "</Code>").or_else(|| between(&text, "\"reason\": \"", "\""));
        if text.contains("redirect without LOCATION") || code == Some("PermanentRedirect") {
            return Self::OtherRegion("another".to_owned());
        }
        if code == Some("AuthorizationHeaderMalformed") {
            return Self::OtherRegion(between(&text, "<Region>", "</Region>").unwrap_or("another").to_owned());
        }
        let status = match error {
            StoreError::NotFound { .. } => Some(StatusCode::NOT_FOUND),
            StoreError::PermissionDenied { .. } => Some(StatusCode::FORBIDDEN),
            StoreError::Unauthenticated { .. } => Some(StatusCode::UNAUTHORIZED),
            _ => between(&text, "status code: ", " ").and_then(|status| status.parse().ok()),
        };
        match status {
            Some(status) => Self::of_status(status, code),
            None => Self::BadAnswer(innermost(error)),
        }
    }

    fn of_http(error: &HttpError) -> ObjectError {
        match error.kind() {
            HttpErrorKind::Timeout => Self::Unreachable("none in time".to_owned()),
            _ => Self::of_connection(innermost(error)),
        }
    }

    /// The error of a client that cannot be made.
    pub(super) fn of_settings(error: &(dyn Error + 'static)) -> ObjectError {
        match innermost(error) {
            found if found.contains(NO_CERTIFICATES) => Self::NotTrusted("none on this machine to verify one by".to_owned()),
            found => Self::BadSettings(found),
        }
    }

    fn of_connection(found: String) -> ObjectError {
        if found.contains("certificate") { Self::NotTrusted(found) } else { Self::Unreachable(found) }
    }

    /// The error of a request that had no whole answer.
    pub(super) fn of_web(error: &reqwest::Error) -> ObjectError {
        match error {
            _ if error.is_timeout() => Self::Unreachable("none in time".to_owned()),
            _ if error.is_redirect() => Self::BadAnswer("redirects without an end".to_owned()),
            _ if error.is_builder() => Self::of_settings(error),
            _ => Self::of_connection(innermost(error)),
        }
    }
}

impl From<ObjectError> for std::io::Error {
    fn from(error: ObjectError) -> Self {
        Self::other(error)
    }
}

fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    successors(Some(error), |error| (*error).source())
}

/// The first cause, such as `Connection refused (os error 111)`: what is around it repeats it, with the URL.
pub(super) fn innermost(error: &(dyn Error + 'static)) -> String {
    chain(error).last().map(ToString::to_string).unwrap_or_default()
}

fn between<'a>(text: &'a str, before: &str, behind: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    rest.split_once(behind).map(|(found, _)| found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generic(text: &str) -> StoreError {
        StoreError::Generic { store: "S3", source: text.to_owned().into() }
    }

    #[test]
    fn an_answer_of_object_storage_is_told_by_its_status_and_code() {
        let text = |status, code| {
            format!(
                "Error performing GET https://host/b/k in 2ms - Server returned non-2xx status code: {status}: <Error><Code>{code}</Code></Error>"
            )
        };
        let missing = |code| StoreError::NotFound { path: "k".to_owned(), source: text("404 Not Found", code).into() };
        let refused = StoreError::PermissionDenied { path: "k".to_owned(), source: text("403 Forbidden", "AccessDenied").into() };
        for (error, expected) in [
            (missing("NoSuchKey"), ObjectError::NoObject),
            (missing("NoSuchBucket"), ObjectError::NoBucket),
            (refused, ObjectError::Refused("403 AccessDenied".to_owned())),
            (generic(&text("400 Bad Request", "ExpiredToken")), ObjectError::Refused("400 ExpiredToken".to_owned())),
            (generic(&text("503 Service Unavailable", "SlowDown")), ObjectError::Unreachable("503 SlowDown".to_owned())),
            (generic(&text("400 Bad Request", "InvalidRequest")), ObjectError::BadAnswer("400 InvalidRequest".to_owned())),
            (
                generic("Received redirect without LOCATION, this normally indicates an incorrectly configured region"),
                ObjectError::OtherRegion("another".to_owned()),
            ),
            (
                generic(&text("400 Bad Request", "AuthorizationHeaderMalformed</Code><Region>eu-west-1</Region><Code>")),
                ObjectError::OtherRegion("eu-west-1".to_owned()),
            ),
        ] {
            assert_eq!(ObjectError::of_store(&error), expected);
        }
        let lost = HttpError::new(HttpErrorKind::Connect, std::io::Error::from_raw_os_error(111));
        let lost = StoreError::Generic { store: "S3", source: Box::new(lost) };
        let found = ObjectError::of_store(&lost);
        assert!(found.may_pass() && found.to_string().contains("Connection refused"), "{found}");
    }
}
