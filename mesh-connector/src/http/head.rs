//! The request head in HTTP/1.1 (RFC 9112 §3.2).

use http::{
    HeaderValue, Method, Request, Uri, Version,
    uri::{Authority, PathAndQuery},
};

/// The default port of `http://` URIs (RFC 9110 §4.2.1).
const HTTP_PORT: u16 = 80;

/// Converts the request target to origin form (authority form for `CONNECT`). The caller sets the `Host` header.
pub(super) fn to_http1<B>(request: &mut Request<B>) {
    let uri = request.uri();
    let target = match (request.method(), uri.authority(), uri.path_and_query()) {
        (&Method::CONNECT, Some(authority), _) => Uri::from(authority.clone()),
        (_, _, Some(path)) => Uri::from(path.clone()),
        (_, _, None) => Uri::from(PathAndQuery::from_static("/")),
    };
    *request.uri_mut() = target;
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

    fn target(method: Method, uri: &str) -> String {
        let mut request = Request::builder().method(method).uri(uri).body(()).unwrap();
        *request.version_mut() = Version::HTTP_2;
        to_http1(&mut request);
        assert_eq!(request.version(), Version::HTTP_11);
        request.uri().to_string()
    }

    #[test]
    fn a_request_uses_its_path_as_target_and_its_authority_as_host() {
        for (uri, path, header) in [
            ("http://forecast.weather:3002/a?b", "/a?b", "forecast.weather:3002"),
            ("http://forecast.weather:80", "/", "forecast.weather"),
            ("http://forecast.weather/", "/", "forecast.weather"),
            ("http://user:secret@forecast.weather:3002/", "/", "forecast.weather:3002"),
            ("http://[::1]:81/", "/", "[::1]:81"),
        ] {
            assert_eq!(target(Method::GET, uri), path, "{uri}");
            assert_eq!(host(uri.parse::<Uri>().unwrap().authority().unwrap()).unwrap(), header, "{uri}");
        }
        assert_eq!(target(Method::GET, "/a"), "/a");
    }

    #[test]
    fn connect_uses_its_authority_as_target() {
        assert_eq!(target(Method::CONNECT, "http://forecast.weather:3002/"), "forecast.weather:3002");
    }
}
