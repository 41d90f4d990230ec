//! Headers of every answer.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::Response;

/// Scripts, styles and pictures come from the gateway itself, and nothing shows its page inside another one.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// Adds the headers that keep a browser from doing with an answer what it is not meant for.
pub(super) fn secure(mut response: Response, is_over_tls: bool) -> Response {
    let headers: &mut HeaderMap = response.headers_mut();
    let mut add = |name: HeaderName, value: &'static str| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    add(header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY);
    add(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    add(header::REFERRER_POLICY, "same-origin");
    add(HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
    add(HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
    add(header::CACHE_CONTROL, "no-store");
    if is_over_tls {
        add(header::STRICT_TRANSPORT_SECURITY, "max-age=31536000");
    }
    response
}
