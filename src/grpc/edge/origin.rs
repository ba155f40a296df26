//! Who may call from a browser: the page's origin, and the name under which the browser knows this server.
//!
//! A page from anywhere can make a browser on this machine send requests to `127.0.0.1`. What a page may not read it can
//! still trigger; and with a host name of its own that it lets point to `127.0.0.1` (DNS rebinding) it may even read the
//! answers. So a request with an `origin` that is neither this server nor listed is refused, and where nobody has to show
//! who they are, the server answers only to names that always mean this machine.

use std::{net::IpAddr, sync::Arc};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header,
    uri::Authority,
};

use super::body::EdgeBody;
use crate::domain::sole::sole;

/// What a browser may send beside the few headers that are always allowed.
const ALLOW_HEADERS: HeaderValue = HeaderValue::from_static(
    "authorization, content-type, content-encoding, connect-accept-encoding, connect-content-encoding, \
     connect-protocol-version, connect-timeout-ms, flagd-selector, grpc-accept-encoding, grpc-encoding, grpc-timeout, \
     if-none-match, tenantry-actor, tenantry-consistency, tenantry-min-revision, traceparent, tracestate, x-grpc-web, \
     x-request-id, x-user-agent",
);
const ALLOW_METHODS: HeaderValue = HeaderValue::from_static("GET, POST");
/// What a page may see beside the few headers that it always may.
const EXPOSE_HEADERS: HeaderValue = HeaderValue::from_static(
    "connect-accept-encoding, connect-content-encoding, content-encoding, etag, grpc-accept-encoding, grpc-encoding, \
     grpc-message, grpc-status, grpc-status-details-bin, retry-after, tenantry-revision, tenantry-stale, x-request-id",
);
/// Seconds for which a browser remembers: two hours is the most that Chrome does.
const MAX_AGE: HeaderValue = HeaderValue::from_static("7200");

const WRONG_HOST: &str = "This server takes no credentials, so it answers only under a name of this machine itself: \
     localhost, 127.0.0.1 or [::1]. The request's host is another.\n";
const WRONG_ORIGIN: &str =
    "Pages from this origin may not call this server; `--cors-origins` lists those that may.\n";

/// Which pages may call; cheap to clone. None by default.
#[derive(Debug, Clone, Default)]
pub struct Origins {
    any: bool,
    loopback: bool,
    listed: Arc<[String]>,
}

impl Origins {
    /// Pages from anywhere.
    #[must_use]
    pub fn any() -> Self {
        Self { any: true, ..Self::default() }
    }

    /// Pages that this machine serves to itself, on any port.
    #[must_use]
    pub fn loopback() -> Self {
        Self { loopback: true, ..Self::default() }
    }

    /// And those from these origins, written as browsers do: `https://app.example.com`, without a slash.
    #[must_use]
    pub fn and(mut self, listed: impl IntoIterator<Item = String>) -> Self {
        self.listed = self.listed.iter().cloned().chain(listed).collect();
        self
    }

    fn allow(&self, origin: &HeaderValue) -> bool {
        let Ok(origin) = origin.to_str() else { return false };
        self.any
            || self.listed.iter().any(|listed| listed == origin)
            || (self.loopback && authority(origin).is_some_and(|authority| is_loopback(authority.host())))
    }
}

/// What a listener asks of a request's `host` and `origin`.
#[derive(Debug, Clone, Default)]
pub(super) struct Guard {
    /// Answer only to names of this machine.
    pub(super) loopback_hosts: bool,
    pub(super) origins: Origins,
}

/// A request that was let in.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Visitor {
    /// No page of another origin.
    Native,
    /// A page that may call; the answer must say so.
    Page(HeaderValue),
}

impl Guard {
    /// Who is there, or why they may not call.
    pub(super) fn admit<B>(&self, request: &Request<B>) -> Result<Visitor, &'static str> {
        // No browser speaks HTTP/2 without TLS, and under TLS a foreign name fails on its certificate.
        if self.loopback_hosts && request.version() < Version::HTTP_2 && !names_loopback(request) {
            return Err(WRONG_HOST);
        }
        // A browser sends one; of two, nobody knows which page it is.
        let origin = sole("origin", request.headers().get_all(header::ORIGIN)).map_err(|_| WRONG_ORIGIN)?;
        let Some(origin) = origin else { return Ok(Visitor::Native) };
        if self.origins.allow(origin) {
            return Ok(Visitor::Page(origin.clone()));
        }
        if is_same(origin, request) {
            return Ok(Visitor::Native);
        }
        Err(WRONG_ORIGIN)
    }
}

impl Visitor {
    /// The answer to a browser that asks beforehand.
    pub(super) fn preflight<B>(&self, request: &Request<B>) -> Option<Response<EdgeBody>> {
        let asks = request.method() == Method::OPTIONS
            && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        let Self::Page(_) = self else { return None };
        asks.then(|| {
            let mut response = Response::new(EdgeBody::whole(Bytes::new()));
            *response.status_mut() = StatusCode::NO_CONTENT;
            let headers = response.headers_mut();
            headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, ALLOW_METHODS);
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOW_HEADERS);
            headers.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
            response
        })
    }

    /// Lets the page read the answer. Credentials of the browser are never let in: callers show theirs in a header.
    pub(super) fn permit(self, headers: &mut HeaderMap) {
        let Self::Page(origin) = self else { return };
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSE_HEADERS);
        headers.append(header::VARY, HeaderValue::from_static("origin"));
    }
}

fn names_loopback<B>(request: &Request<B>) -> bool {
    let mut hosts = request.headers().get_all(HeaderName::from_static("host")).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
    let is_loopback =
        |host: &str| host.parse::<Authority>().is_ok_and(|authority| self::is_loopback(authority.host()));
    // A request line with a host of its own goes before the header.
    host.to_str().is_ok_and(is_loopback)
        && request.uri().authority().is_none_or(|it| self::is_loopback(it.host()))
}

/// `localhost` and names below it never leave the machine; nor do loopback addresses.
fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost"
        || name.ends_with(".localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

fn authority(origin: &str) -> Option<Authority> {
    let uri = origin.parse::<Uri>().ok()?;
    let is_web = matches!(uri.scheme_str(), Some("http" | "https"));
    uri.into_parts().authority.filter(|_| is_web)
}

/// Whether the page came from this server.
fn is_same<B>(origin: &HeaderValue, request: &Request<B>) -> bool {
    let host = sole("host", request.headers().get_all(header::HOST)).ok().flatten();
    let host = host.and_then(|host| host.to_str().ok());
    let host = request.uri().authority().map(Authority::as_str).or(host);
    let page = origin.to_str().ok().and_then(authority);
    matches!((page, host), (Some(page), Some(host)) if page.as_str().eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(host: &str, origin: Option<&str>) -> Request<()> {
        let builder = Request::post("/a.B/C").header("host", host);
        origin.into_iter().fold(builder, |builder, origin| builder.header("origin", origin)).body(()).unwrap()
    }

    fn is_let_in(guard: &Guard, host: &str, origin: Option<&str>) -> bool {
        guard.admit(&request(host, origin)).is_ok()
    }

    #[test]
    fn without_credentials_only_names_of_this_machine_are_answered_to() {
        let guard = Guard { loopback_hosts: true, origins: Origins::default() };
        for host in
            ["localhost:8080", "LOCALHOST", "app.localhost:1", "127.0.0.1:8080", "127.9.9.9", "[::1]:8080"]
        {
            assert!(is_let_in(&guard, host, None), "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "10.0.0.1",
            "",
            "[::2]",
            "a b",
        ] {
            assert!(!is_let_in(&guard, host, None), "{host}");
        }
        assert!(guard.admit(&Request::post("/").body(()).unwrap()).is_err(), "no host at all");
        let proxied = Request::post("http://evil.example/").header("host", "localhost").body(()).unwrap();
        assert!(guard.admit(&proxied).is_err());
        assert!(is_let_in(&Guard::default(), "tenantry.example", None), "with credentials any name is good");
    }

    #[test]
    fn a_rebound_name_is_its_own_origin_and_still_refused() {
        let guard = Guard { loopback_hosts: true, origins: Origins::default() };
        assert!(!is_let_in(&guard, "evil.example:8080", Some("http://evil.example:8080")));
    }

    #[test]
    fn a_page_calls_only_if_its_origin_is_listed_or_this_server() {
        let listed = Guard {
            loopback_hosts: false,
            origins: Origins::default().and(["https://app.example.com".to_owned()]),
        };
        assert!(is_let_in(&listed, "t.example", Some("https://app.example.com")));
        assert!(is_let_in(&listed, "t.example:8080", Some("http://t.example:8080")), "its own page");
        for origin in
            ["https://evil.example", "http://app.example.com", "https://app.example.com.evil.example", "null"]
        {
            assert!(!is_let_in(&listed, "t.example", Some(origin)), "{origin}");
        }
        let mut two = request("t.example", Some("https://app.example.com"));
        two.headers_mut().append("origin", HeaderValue::from_static("https://evil.example"));
        assert!(listed.admit(&two).is_err());
        let loopback = Guard { loopback_hosts: true, origins: Origins::loopback() };
        assert!(is_let_in(&loopback, "localhost:8080", Some("http://localhost:5173")));
        assert!(is_let_in(&loopback, "localhost:8080", Some("http://127.0.0.1:1")));
        for origin in ["https://evil.example", "http://localhost.evil.example", "null", "file://localhost"] {
            assert!(!is_let_in(&loopback, "localhost:8080", Some(origin)), "{origin}");
        }
        let any = Guard { loopback_hosts: false, origins: Origins::any() };
        assert!(is_let_in(&any, "x", Some("https://evil.example")) && is_let_in(&any, "x", Some("null")));
    }

    #[test]
    fn only_pages_of_other_origins_are_told_what_they_may() {
        let any = Guard { loopback_hosts: false, origins: Origins::any() };
        let mut headers = HeaderMap::new();
        any.admit(&request("x", None)).unwrap().permit(&mut headers);
        assert!(headers.is_empty());
        any.admit(&request("x", Some("https://a.example"))).unwrap().permit(&mut headers);
        assert_eq!(headers["access-control-allow-origin"], "https://a.example");
        assert!(!headers.contains_key("access-control-allow-credentials"));
    }
}
