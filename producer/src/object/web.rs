//! Files of web servers.
//!
//! Not by the client of object storage: it takes apart and joins again the address of a file, so that a signed one no longer fits its
//! signature, and it refuses servers that do not say how long a file is.

use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};
use reqwest::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CONTENT_RANGE, ETAG, HeaderMap, HeaderName, IF_MATCH, IF_UNMODIFIED_SINCE, LAST_MODIFIED,
    RANGE, TRANSFER_ENCODING,
};
use reqwest::{Client, Response, StatusCode, Url, Version};

use super::error::ObjectError;
use super::identity::Identity;
use super::request::{Answer, Span};
use super::tls::install_tls;

const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// A server that says nothing for this long counts as lost.
const SILENT_FOR: Duration = Duration::from_secs(30);

pub(super) fn client(url: &Url) -> Result<Client, ObjectError> {
    install_tls();
    let client = || {
        let client = Client::builder().http1_only().connect_timeout(CONNECT_WITHIN).read_timeout(SILENT_FOR);
        client.user_agent(concat!("rollcall/", env!("CARGO_PKG_VERSION")))
    };
    let built = match client().build() {
        // A machine without certificates of authorities, to which http is enough.
        Err(_) if url.scheme() == "http" => client().tls_certs_only([]).build(),
        built => built,
    };
    built.map_err(|error| ObjectError::of_web(&error))
}

/// Gets a file, or a part of the one that `expected` says.
pub(super) async fn get(client: &Client, url: &Url, span: Span, expected: Option<&Identity>) -> Result<Answer, ObjectError> {
    // What a server compresses on the way has another length, and no bytes that could be counted on.
    let mut request = client.get(url.clone()).header(ACCEPT_ENCODING, "identity");
    if span.is_part() {
        request = request.header(RANGE, span.header());
    }
    match (expected.and_then(Identity::strong_etag), expected.and_then(|expected| expected.last_modified.as_deref())) {
        (Some(etag), _) => request = request.header(IF_MATCH, etag),
        (None, Some(time)) => request = request.header(IF_UNMODIFIED_SINCE, time),
        (None, None) => {}
    }
    let response = request.send().await.map_err(|error| ObjectError::of_web(&error))?;
    answer(response, span, expected)
}

fn answer(response: Response, span: Span, expected: Option<&Identity>) -> Result<Answer, ObjectError> {
    let (status, headers) = (response.status(), response.headers());
    let range = content_range(headers);
    let mut identity = identity(headers);
    identity.size = range.map_or(response.content_length(), |(_, size)| size);
    match (status, expected) {
        (StatusCode::PRECONDITION_FAILED | StatusCode::RANGE_NOT_SATISFIABLE, Some(expected)) => {
            return Err(expected.changed_to(&identity));
        }
        (StatusCode::OK, _) if span.is_part() => return Ok(Answer::WithoutRanges),
        (StatusCode::PARTIAL_CONTENT, _) if range.is_none_or(|(start, _)| start != span.start) => {
            return Err(ObjectError::BadAnswer("another part than was asked for".to_owned()));
        }
        (StatusCode::OK | StatusCode::PARTIAL_CONTENT, _) => {}
        _ => return Err(ObjectError::of_status(status, None)),
    }
    let is_chunked = headers.contains_key(TRANSFER_ENCODING) || response.version() == Version::HTTP_2;
    if response.content_length().is_none() && !is_chunked {
        return Err(ObjectError::BadAnswer("a server that says neither how long the file is nor where it ends".to_owned()));
    }
    let takes_ranges = headers.get(ACCEPT_RANGES).is_some_and(|unit| unit == "bytes");
    let bytes = response.bytes_stream().map_err(|error| ObjectError::of_web(&error)).boxed();
    Ok(Answer::Bytes { identity, takes_ranges, bytes })
}

fn identity(headers: &HeaderMap) -> Identity {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    Identity { etag: text(ETAG), last_modified: text(LAST_MODIFIED), version: None, size: None }
}

/// The first byte of a part, and the size of the whole, if the server knows it.
fn content_range(headers: &HeaderMap) -> Option<(u64, Option<u64>)> {
    let range = headers.get(CONTENT_RANGE)?.to_str().ok()?.strip_prefix("bytes ")?;
    let (part, size) = range.split_once('/')?;
    Some((part.split_once('-')?.0.parse().ok()?, size.parse().ok()))
}
