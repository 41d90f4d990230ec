//! Logging in with a token, and out.

use std::sync::Arc;

use axum::extract::{Extension, RawQuery};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};

use super::layout::{Viewer, document};
use crate::serve::api::pairs;
use crate::serve::http::access::{Access, Peer};
use crate::serve::http::problem::Problem;
use crate::serve::http::small_body::SmallBody;

/// Shows the form.
pub(super) async fn show(Extension(access): Extension<Arc<Access>>, RawQuery(query): RawQuery) -> Result<Markup, Problem> {
    require_login(&access)?;
    Ok(show_form(&field(query.as_deref(), "to"), false))
}

/// Checks the token, and begins a session.
pub(super) async fn log_in(
    Extension(access): Extension<Arc<Access>>,
    Extension(peer): Extension<Peer>,
    SmallBody(form): SmallBody,
) -> Result<Response, Problem> {
    require_login(&access)?;
    let form = String::from_utf8_lossy(&form);
    let [token, to] = ["token", "to"].map(|name| field(Some(&form), name));
    match access.session_cookie(token.trim(), peer.is_over_tls) {
        Some(cookie) => Ok(with_cookie(cookie, local(&to))),
        None => Ok((StatusCode::FORBIDDEN, show_form(&to, true)).into_response()),
    }
}

/// Ends the session of this browser.
pub(super) async fn log_out() -> Response {
    with_cookie(Access::no_session_cookie(), "/login")
}

/// A field of a form or a query; empty if it was not sent.
fn field(form: Option<&str>, name: &str) -> String {
    pairs(form).into_iter().find(|(key, _)| key == name).map_or_else(String::new, |(_, value)| value)
}

fn require_login(access: &Access) -> Result<(), Problem> {
    if access.has_login() {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::NOT_FOUND,
        "no_such_page",
        "expected [access] tokens in the gateway's configuration, found none: nobody needs to log in",
    ))
}

fn with_cookie(cookie: String, to: &str) -> Response {
    let mut response = Redirect::to(to).into_response();
    response.headers_mut().extend(HeaderValue::try_from(cookie).ok().map(|cookie| (header::SET_COOKIE, cookie)));
    response
}

/// The path, if it is one of this gateway: a browser takes `//host` and `/\host` for another one's.
fn local(path: &str) -> &str {
    let is_local = path.starts_with('/') && !path[1..].starts_with(['/', '\\']) && path.chars().all(|c| c.is_ascii_graphic());
    if is_local { path } else { "/" }
}

fn show_form(to: &str, is_wrong: bool) -> Markup {
    let contents = html! {
        main #main.narrow {
            form.card.stack method="post" action="/login" {
                h1 { "Log in" }
                @if is_wrong {
                    p.note.warning #wrong role="alert" {
                        "Expected a known token, found another. Ask whoever keeps the gateway's file of tokens."
                    }
                }
                input type="hidden" name="to" value=(local(to));
                label for="token" { "Token" }
                input #token type="password" name="token" required autocomplete="current-password"
                    aria-describedby=[is_wrong.then_some("wrong")];
                button.primary type="submit" { "Log in" }
            }
        }
    };
    document("Log in", &Viewer::default(), &contents)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_leads_nowhere_else() {
        for path in ["/", "/jobs/j", "/?state=failed"] {
            assert_eq!(local(path), path);
        }
        for path in ["", "//evil", "/\\evil", "https://evil", "/a\r\nset-cookie: x", "jobs/j"] {
            assert_eq!(local(path), "/", "{path:?}");
        }
        assert!(show_form("//evil", true).into_string().contains(r#"name="to" value="/""#));
    }
}
