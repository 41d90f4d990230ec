//! Who sends a request, and whether they may: before any handler sees it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};

use super::headers::secure;
use super::problem::Problem;
use super::rate::Rates;
use super::tokens::{Principal, Role, SESSION, Tokens};
use crate::error::ProducerError;
use crate::serve::config::Config;

/// The other end of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    pub(crate) is_over_tls: bool,
}

/// The cookie of a session.
const COOKIE: &str = "rollcall_session";

/// Decides who may do what.
pub(crate) struct Access {
    config: Config,
    tokens: Option<Tokens>,
    rates: Rates,
}

impl Access {
    /// Reads the tokens, and checks that the gateway may listen on `listen`.
    ///
    /// # Errors
    /// [`ProducerError::Usage`].
    pub(crate) fn new(config: &Config, listen: SocketAddr) -> Result<Access, ProducerError> {
        let tokens = config.access.tokens.as_deref().map(Tokens::load).transpose()?;
        let is_guarded = tokens.is_some() || config.access.trusted_proxy.is_some();
        if !listen.ip().is_loopback() && !is_guarded {
            return Err(ProducerError::Usage(format!(
                "expected a loopback address for --listen, found {listen} and nothing that says who may use the gateway; configure [access] tokens or [access.trusted_proxy], or listen on 127.0.0.1"
            )));
        }
        Ok(Access { config: config.clone(), tokens, rates: Rates::new(config.http.requests_per_second) })
    }

    /// Whether people have to log in to the page.
    pub(crate) fn has_login(&self) -> bool {
        self.tokens.is_some()
    }

    /// The cookie of a session for who has this token.
    pub(crate) fn session_cookie(&self, token: &str, is_over_tls: bool) -> Option<String> {
        let session = self.tokens.as_ref()?.session(token)?;
        let secure = if is_over_tls { "; Secure" } else { "" };
        Some(format!("{COOKIE}={session}; Path=/; HttpOnly; SameSite=Strict; Max-Age={}{secure}", SESSION.as_secs()))
    }

    /// The cookie that ends a session.
    pub(crate) fn no_session_cookie() -> String {
        format!("{COOKIE}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0")
    }

    fn check(&self, request: &Request, peer: Peer) -> Result<Principal, Problem> {
        self.rates.count(peer.address.ip()).map_err(|seconds| {
            Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", "expected fewer requests; wait before the next one")
                .retry_after(seconds)
        })?;
        self.refuse_other_host(request, peer)?;
        let headers = request.headers();
        let (principal, by_browser) = self.principal(headers, peer)?;
        if by_browser {
            refuse_other_origin(request)?;
        }
        let needed = if is_safe(request.method()) { Role::Viewer } else { Role::Operator };
        if principal.role < needed && !is_open_to_all(request.uri()) {
            let name = &principal.name;
            return Err(Problem::new(
                StatusCode::FORBIDDEN,
                "forbidden",
                format!("expected an operator, found {name}, who may only look; ask whoever keeps the tokens"),
            ));
        }
        Ok(principal)
    }

    /// Who it is, and whether a browser may have sent it by itself, for another page.
    fn principal(&self, headers: &HeaderMap, peer: Peer) -> Result<(Principal, bool), Problem> {
        if let Some(principal) = self.by_proxy(headers, peer.address.ip()) {
            return Ok((principal, true));
        }
        let Some(tokens) = &self.tokens else {
            if self.config.access.trusted_proxy.is_some() {
                return Err(unauthorized("expected a request by way of the trusted proxy, found another sender"));
            }
            return Ok((Principal { name: "local".to_owned(), role: Role::Operator }, true));
        };
        if let Some(value) = headers.get(header::AUTHORIZATION) {
            let token = value
                .to_str()
                .ok()
                .and_then(bearer)
                .ok_or_else(|| unauthorized("expected a bearer token, found another scheme"))?;
            return match tokens.bearer(token) {
                Some(principal) => Ok((principal, false)),
                None => Err(unauthorized("expected a known token, found another; ask whoever keeps the tokens")),
            };
        }
        let session = cookie(headers).and_then(|session| tokens.of_session(session));
        session.map(|principal| (principal, true)).ok_or_else(|| unauthorized("expected a bearer token or a session, found none"))
    }

    fn by_proxy(&self, headers: &HeaderMap, from: IpAddr) -> Option<Principal> {
        let proxy = self.config.access.trusted_proxy.as_ref()?;
        let from = from.to_canonical();
        if !proxy.addresses.iter().any(|network| network.contains(&from)) {
            return None;
        }
        // A second one may be the client's own, which the proxy has let pass.
        let [name] = headers.get_all(&proxy.user_header).iter().collect::<Vec<_>>()[..] else { return None };
        let name = name.to_str().ok()?.to_owned();
        let is_operator = proxy.operators.iter().any(|operator| operator == "*" || *operator == name);
        (!name.is_empty()).then_some(Principal { name, role: if is_operator { Role::Operator } else { Role::Viewer } })
    }

    /// A name that an attacker makes point here would let their page talk to the gateway as if it were theirs.
    fn refuse_other_host(&self, request: &Request, peer: Peer) -> Result<(), Problem> {
        let host = host(request).unwrap_or_default();
        let is_loopback = host == "localhost" || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        let is_named = self.config.http.hosts.iter().any(|known| known.eq_ignore_ascii_case(&host));
        let is_unguarded = self.tokens.is_none() && self.config.access.trusted_proxy.is_none();
        let any_will_do = self.config.http.hosts.is_empty() && !is_unguarded;
        if is_named || any_will_do || (is_loopback && peer.address.ip().is_loopback()) {
            return Ok(());
        }
        let detail = format!("expected a host that the gateway is known by, found {host:?}; add it to [http] hosts");
        Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, "unknown_host", detail))
    }
}

fn unauthorized(detail: &str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    cookies.flat_map(|value| value.split(';')).find_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='))
}

fn host(request: &Request) -> Option<String> {
    let named = request.headers().get(header::HOST).and_then(|value| value.to_str().ok());
    let authority = named.or_else(|| request.uri().authority().map(axum::http::uri::Authority::as_str))?;
    let authority: axum::http::uri::Authority = authority.parse().ok()?;
    Some(authority.host().to_ascii_lowercase())
}

fn is_safe(method: &Method) -> bool {
    [Method::GET, Method::HEAD, Method::OPTIONS].contains(method)
}

/// A browser says where a request comes from; another page must not use the session of this one (cross-site request forgery).
fn refuse_other_origin(request: &Request) -> Result<(), Problem> {
    if is_safe(request.method()) {
        return Ok(());
    }
    let value = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let is_same = match (value("sec-fetch-site"), value("origin")) {
        (Some(site), _) => site == "same-origin" || site == "none",
        (None, Some(origin)) => {
            let uri: Option<Uri> = origin.parse().ok();
            let from = uri.as_ref().and_then(Uri::authority).map(axum::http::uri::Authority::as_str);
            from.is_some() && from == value(header::HOST.as_str())
        }
        // Not a browser.
        (None, None) => true,
    };
    if is_same {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::FORBIDDEN,
        "cross_origin",
        "expected a request of the gateway's own page, found one of another page",
    ))
}

/// What people need before they have logged in.
fn is_open_to_all(uri: &Uri) -> bool {
    uri.path() == "/login" || uri.path() == "/logout" || uri.path().starts_with("/assets/")
}

/// Lets a request pass to its handler, with its [`Principal`], if its sender may send it.
pub(crate) async fn guard(State(access): State<Arc<Access>>, mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<Peer>().copied();
    let Some(peer) = peer else {
        return Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "system", "the connection has no address").into_response();
    };
    let wants_page = wants_page(&request);
    let response = match access.check(&request, peer) {
        Ok(principal) => {
            request.extensions_mut().insert(principal);
            next.run(request).await
        }
        Err(problem) if problem.status() == StatusCode::UNAUTHORIZED && is_open_to_all(request.uri()) => {
            match refuse_other_origin(&request) {
                Ok(()) => next.run(request).await,
                Err(problem) => problem.into_response(),
            }
        }
        Err(problem) if problem.status() == StatusCode::UNAUTHORIZED && wants_page && access.has_login() => {
            Redirect::to(&login_for(&request)).into_response()
        }
        Err(problem) => problem.into_response(),
    };
    secure(response, peer.is_over_tls)
}

/// The path of the login, which then leads back to the page that was asked for.
fn login_for(request: &Request) -> String {
    let asked = request.uri().path_and_query().map_or("/", |path| path.as_str());
    if *request.method() != Method::GET || asked == "/" {
        return "/login".to_owned();
    }
    let to: String = url::form_urlencoded::byte_serialize(asked.as_bytes()).collect();
    format!("/login?to={to}")
}

fn wants_page(request: &Request) -> bool {
    let accepts = request.headers().get(header::ACCEPT).map(HeaderValue::as_bytes).unwrap_or_default();
    accepts.starts_with(b"text/html") && !request.uri().path().starts_with("/v1/")
}
