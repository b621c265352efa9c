//! The destination of a request to the proxy.
//!
//! User information and queries of URLs can contain secrets, so the errors of this module contain neither.

use http::{
    HeaderValue, Uri,
    uri::{Authority, PathAndQuery, Scheme},
};

use crate::{
    error::{Error, ErrorKind},
    target::Target,
};

/// The default port of `http://` URLs (RFC 9110 §4.2.1).
const HTTP_PORT: u16 = 80;

/// The destination of a request in absolute form.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::bridge) struct Destination {
    /// The URL without user information.
    pub(in crate::bridge) uri: Uri,
    /// The `Host` header, which is the host of the URL (RFC 9112 §3.2.2).
    pub(in crate::bridge) host: HeaderValue,
    pub(in crate::bridge) target: Target,
}

impl Destination {
    pub(in crate::bridge) fn new(uri: Uri) -> Result<Self, Error> {
        let parts = uri.into_parts();
        let authority = match (parts.scheme, parts.authority) {
            (Some(scheme), Some(authority)) if scheme == Scheme::HTTP => authority,
            (Some(_), _) => {
                return Err(refused("this proxy forwards only http:// URLs: use CONNECT for others"));
            }
            (None, _) => {
                return Err(refused("this is a proxy: requests need an absolute URL, http://HOST:PORT/PATH"));
            }
        };
        let invalid = || refused("the host of the URL contains invalid characters");
        let authority = match without_user(&authority) {
            text if text.len() == authority.as_str().len() => authority,
            text => text.parse().map_err(|_| invalid())?,
        };
        let target = Target::new(authority.host(), port(&authority)?)?;
        let host = HeaderValue::from_str(authority.as_str()).map_err(|_| invalid())?;
        let path = parts.path_and_query.unwrap_or(PathAndQuery::from_static("/"));
        let uri = Uri::builder().scheme(Scheme::HTTP).authority(authority).path_and_query(path).build();
        Ok(Self { uri: uri.map_err(|_| invalid())?, host, target })
    }
}

/// Returns the target of a `CONNECT` request.
pub(in crate::bridge) fn tunnel_target(uri: &Uri) -> Result<Target, Error> {
    let authority = uri.authority().map_or("", Authority::as_str);
    if authority.contains('@') {
        return Err(refused("the target of CONNECT contains user information: send only HOST:PORT"));
    }
    authority.parse()
}

fn without_user(authority: &Authority) -> &str {
    authority.as_str().rsplit('@').next().unwrap_or_default()
}

/// Returns the port of an authority without user information.
fn port(authority: &Authority) -> Result<u16, Error> {
    match authority.as_str().get(authority.host().len()..).unwrap_or_default() {
        "" | ":" => Ok(HTTP_PORT),
        port => port
            .strip_prefix(':')
            .and_then(|port| port.parse().ok())
            .ok_or_else(|| refused("the port of the URL is not a number from 1 to 65535")),
    }
}

fn refused(message: &str) -> Error {
    Error::new(ErrorKind::InvalidTarget, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn destination(uri: &str) -> Result<Destination, Error> {
        Destination::new(uri.parse().unwrap())
    }

    #[test]
    fn a_url_is_forwarded_without_its_user_information() {
        for (uri, forwarded, host, target) in [
            ("http://a.b:3002/x?y", "http://a.b:3002/x?y", "a.b:3002", "a.b:3002"),
            ("http://me:hunter2@a.b:3002/x", "http://a.b:3002/x", "a.b:3002", "a.b:3002"),
            ("http://me@[::1]:81", "http://[::1]:81/", "[::1]:81", "[::1]:81"),
            ("http://a.b", "http://a.b/", "a.b", "a.b:80"),
            ("http://a.b:/", "http://a.b:/", "a.b:", "a.b:80"),
        ] {
            let destination = destination(uri).unwrap();
            assert_eq!(destination.uri.to_string(), forwarded);
            assert_eq!(destination.host, host);
            assert_eq!(destination.target.to_string(), target);
        }
    }

    #[test]
    fn a_refusal_contains_neither_user_information_nor_a_query() {
        for uri in [
            "https://me:hunter2@a.b/?token=hunter2",
            "http://me:hunter2@a.b:99999/?token=hunter2",
            "http://me:hunter2@a.b:0/?token=hunter2",
            "http://me:hunter2@a..b/?token=hunter2",
            "/?token=hunter2",
        ] {
            let error = destination(uri).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidTarget, "{uri}");
            assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        }
        let error = tunnel_target(&"me:hunter2@a.b:80".parse().unwrap()).unwrap_err();
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    }
}
