//! Hop-by-hop headers and proxy authentication.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{
    HeaderMap, HeaderName,
    header::{CONNECTION, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE},
};

use crate::bridge::{Secret, USER};

/// The headers that a proxy does not forward, in addition to those that `Connection` lists (RFC 9110 §7.6.1). The
/// headers of proxy authentication belong to this proxy (RFC 9110 §11.7): a service must not ask the client for the
/// password of the proxy.
pub(in crate::bridge) const HOP_BY_HOP: [HeaderName; 9] = [
    CONNECTION,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-authentication-info"),
    HeaderName::from_static("proxy-connection"),
];

pub(in crate::bridge) fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let named = named.flat_map(|list| list.split(',')).filter_map(|name| name.trim().parse().ok());
    let named: Vec<HeaderName> = named.collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// Returns whether a request carries the secret of the bridge (RFC 7617).
pub(in crate::bridge) fn authenticated(headers: &HeaderMap, secret: &Secret) -> bool {
    let given = headers.get(PROXY_AUTHORIZATION).and_then(|value| {
        let (scheme, encoded) = value.to_str().ok()?.split_once(' ')?;
        let decoded = STANDARD.decode(encoded.trim()).ok()?;
        scheme.eq_ignore_ascii_case("basic").then_some(decoded)
    });
    let password = given.as_deref().and_then(|given| given.strip_prefix(USER.as_bytes())?.strip_prefix(b":"));
    password.is_some_and(|password| secret.is(password))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hop_by_hop_headers_are_not_forwarded() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-Private"),
            ("keep-alive", "timeout=5"),
            ("proxy-authorization", "Basic c2VjcmV0"),
            ("x-private", "1"),
            ("x-public", "2"),
        ] {
            headers.insert(name, value.parse().unwrap());
        }
        remove_hop_by_hop(&mut headers);
        assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-public"]);
    }
}
