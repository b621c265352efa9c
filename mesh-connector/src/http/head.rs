//! The request head in HTTP/1.1 (RFC 9112 §3.2).

use std::mem;

use http::{
    HeaderValue, Method, Request, Uri, Version,
    header::HOST,
    uri::{Authority, PathAndQuery},
};

/// The default port of `http://` URIs (RFC 9110 §4.2.1).
const HTTP_PORT: u16 = 80;

/// Converts the request target to origin form (authority form for `CONNECT`), and adds a `Host` header if there is
/// none.
pub(super) fn to_http1<B>(request: &mut Request<B>) {
    let uri = mem::take(request.uri_mut()).into_parts();
    if let Some(authority) = &uri.authority
        && !request.headers().contains_key(HOST)
        && let Some(host) = host(authority)
    {
        request.headers_mut().insert(HOST, host);
    }
    *request.uri_mut() = match (request.method(), uri.authority, uri.path_and_query) {
        (&Method::CONNECT, Some(authority), _) => Uri::from(authority),
        (_, _, Some(path)) => Uri::from(path),
        (_, _, None) => Uri::from(PathAndQuery::from_static("/")),
    };
    if request.version() != Version::HTTP_10 {
        *request.version_mut() = Version::HTTP_11;
    }
}

/// Returns the `Host` header for an authority: without user information and without the default port. `None` if it is
/// not a valid header value.
pub(crate) fn host(authority: &Authority) -> Option<HeaderValue> {
    let text = authority.as_str();
    let text = text.rsplit_once('@').map_or(text, |(_, host)| host);
    let host = match authority.port_u16() {
        Some(HTTP_PORT) => authority.host(),
        _ => text,
    };
    HeaderValue::from_str(host).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(method: Method, uri: &str) -> (String, Option<String>) {
        let mut request = Request::builder().method(method).uri(uri).body(()).unwrap();
        *request.version_mut() = Version::HTTP_2;
        to_http1(&mut request);
        assert_eq!(request.version(), Version::HTTP_11);
        let host = request.headers().get(HOST).map(|host| host.to_str().unwrap().to_owned());
        (request.uri().to_string(), host)
    }

    #[test]
    fn a_request_uses_its_path_as_target_and_its_authority_as_host() {
        for (uri, target, host) in [
            ("http://forecast.weather:3002/a?b", "/a?b", Some("forecast.weather:3002")),
            ("http://forecast.weather:80", "/", Some("forecast.weather")),
            ("http://forecast.weather/", "/", Some("forecast.weather")),
            ("http://user:secret@forecast.weather:3002/", "/", Some("forecast.weather:3002")),
            ("http://[::1]:81/", "/", Some("[::1]:81")),
            ("/a", "/a", None),
        ] {
            assert_eq!(head(Method::GET, uri), (target.to_owned(), host.map(ToOwned::to_owned)), "{uri}");
        }
    }

    #[test]
    fn connect_uses_its_authority_as_target() {
        let (target, host) = head(Method::CONNECT, "http://forecast.weather:3002/");
        assert_eq!((&*target, host.as_deref()), ("forecast.weather:3002", Some("forecast.weather:3002")));
    }

    #[test]
    fn a_host_header_of_the_caller_is_preserved() {
        let request = Request::get("http://forecast.weather:3002/").header(HOST, "other");
        let mut request = request.body(()).unwrap();
        to_http1(&mut request);
        assert_eq!(request.headers()[HOST], "other");
    }
}
