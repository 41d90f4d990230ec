//! What stands around the contents of every page.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use maud::{DOCTYPE, Markup, html};

use super::assets::path;
use super::figures::outside;
use crate::serve::http::access::Access;
use crate::serve::http::tokens::{Principal, Role};

/// Who looks at a page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Viewer {
    /// `None` if that is not known, as before a login.
    name: Option<String>,
    /// Whether they may start and change jobs. Others see no buttons for it.
    pub(super) is_operator: bool,
    has_login: bool,
}

impl<S: Sync> FromRequestParts<S> for Viewer {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Viewer, Infallible> {
        let principal = parts.extensions.get::<Principal>();
        let access = parts.extensions.get::<Arc<Access>>();
        Ok(Viewer {
            name: principal.map(|principal| principal.name.clone()),
            is_operator: principal.is_some_and(|principal| principal.role == Role::Operator),
            has_login: access.is_some_and(|access| access.has_login()),
        })
    }
}

/// A page. Its contents have the element `main`, on which the script reads what it is to follow.
pub(super) fn document(title: &str, viewer: &Viewer, contents: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " – Rollcall" }
                link rel="icon" href=(path("icon.svg")) type="image/svg+xml";
                link rel="stylesheet" href=(path("style.css"));
                script type="module" src=(path("live.js")) {}
                script type="module" src=(path("upload.js")) {}
            }
            body {
                a.skip href="#main" { "Skip to the contents" }
                (header(viewer))
                noscript {
                    p.banner { "Without JavaScript, this page stays as it was when it was loaded. Load it again to see what has changed." }
                }
                p.banner #connection role="status" hidden {}
                p.unseen #announcement role="status" {}
                (contents)
                footer { a href="/v1/openapi.json" { "API description" } }
            }
        }
    }
}

fn header(viewer: &Viewer) -> Markup {
    html! {
        header.top {
            a.brand href="/" { "Rollcall" }
            @if let Some(name) = &viewer.name {
                span.who { (outside(name)) @if !viewer.is_operator { " (may look only)" } }
                @if viewer.has_login {
                    form method="post" action="/logout" { button.quiet type="submit" { "Log out" } }
                }
            }
        }
    }
}

#[cfg(test)]
impl Viewer {
    /// Somebody who may do everything.
    pub(super) fn operator() -> Viewer {
        Viewer { name: Some("ann".to_owned()), is_operator: true, has_login: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_stands_in_the_page_that_its_content_security_policy_forbids() {
        let page = document("a <job>", &Viewer::operator(), &html! { main #main { "contents" } }).into_string();
        assert!(!page.contains("style=") && !page.contains("<style") && !page.contains("onclick"), "{page}");
        assert!(page.split("<script").skip(1).all(|script| script.starts_with(r#" type="module" src="/assets/"#)), "{page}");
        assert!(page.contains("<title>a &lt;job&gt; – Rollcall</title>") && page.contains("Log out"), "{page}");
        let page = document("x", &Viewer::default(), &html! {}).into_string();
        assert!(!page.contains("Log out"), "{page}");
    }
}
