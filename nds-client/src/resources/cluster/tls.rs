//! Transport sockets: plaintext and TLS parameters of connections.

use std::collections::BTreeMap;

use regex_lite::Regex;

use crate::resources::endpoint::Endpoint;

/// The transport socket of a connection to an endpoint.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum TransportSocket {
    /// The control plane sends no transport socket. Envoy then sends plaintext. The cluster of a DestinationRule with a
    /// `credentialName` has no transport socket either, but does not mean plaintext
    /// ([`Cluster::tls_origination`](super::Cluster::tls_origination)).
    Absent,
    /// Explicit plaintext (`raw_buffer`).
    Plaintext,
    /// A PROXY protocol header, followed by another transport socket.
    ProxyProtocol {
        /// The version of the header.
        version: ProxyProtocol,
        /// The transport socket after the header.
        inner: Box<Self>,
    },
    /// TLS.
    Tls(TlsContext),
    /// A transport socket that this client does not support.
    Unsupported {
        /// The type URL of its configuration.
        type_url: String,
    },
    /// A transport socket with a setting that this client does not support. Without the setting, the client could accept
    /// a peer that the control plane does not allow.
    UnsupportedField {
        /// The path of the field in the configuration, or its name and the reason why its value is not supported.
        field: String,
    },
}

/// The version of a PROXY protocol header.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ProxyProtocol {
    /// Version 1, text.
    V1,
    /// Version 2, binary.
    V2,
}

/// An entry of `transport_socket_matches`.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct TransportMatch {
    /// The name of the entry, for example `tlsMode-istio` or `tlsMode-disabled`.
    pub name: String,
    /// The values that the `envoy.transport_socket_match` metadata of an endpoint must contain. An empty map matches
    /// every endpoint.
    pub criteria: BTreeMap<String, String>,
    /// The transport socket of matching endpoints.
    pub transport_socket: TransportSocket,
}

impl TransportMatch {
    pub(super) fn applies_to(&self, endpoint: &Endpoint) -> bool {
        self.criteria.iter().all(|(key, value)| endpoint.transport_match.get(key) == Some(value))
    }
}

/// TLS parameters of the client (Envoy `UpstreamTlsContext`).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct TlsContext {
    /// The SNI; `None` if the control plane sets none.
    pub sni: Option<String>,
    /// The ALPN protocols in the order of the control plane.
    pub alpn_protocols: Vec<String>,
    /// The accepted names (SANs) in the certificate of the peer. If the list is empty, the control plane requires no
    /// specific name.
    pub subject_alt_names: Vec<SanMatcher>,
    /// The certificate of the client.
    pub certificate: ClientCertificate,
    /// The roots that verify the peer.
    pub roots: ValidationContext,
    /// The minimum TLS version; `None` for the default of the client.
    pub minimum_version: Option<TlsVersion>,
    /// The maximum TLS version; `None` for the default of the client.
    pub maximum_version: Option<TlsVersion>,
}

/// A TLS version.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum TlsVersion {
    /// TLS 1.0 (obsolete).
    V1_0,
    /// TLS 1.1 (obsolete).
    V1_1,
    /// TLS 1.2.
    V1_2,
    /// TLS 1.3.
    V1_3,
}

/// The certificate that the client presents.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum ClientCertificate {
    /// The certificate and private key with this SDS name, which usually contains their paths: `file-cert:CERT~KEY`.
    Named(String),
    /// No certificate.
    #[default]
    None,
    /// The certificate of the workload (SDS name `default`).
    Workload,
}

/// The roots that verify the peer.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum ValidationContext {
    /// The roots of the mesh (SDS name `ROOTCA`).
    Mesh,
    /// The roots with this SDS name: `file-root:system`, `file-root:PATH`.
    Named(String),
    /// No verification.
    #[default]
    None,
}

/// An accepted name of the peer. Istio generates exact names; an EnvoyFilter can set the other kinds.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum SanMatcher {
    /// Names that contain this text.
    Contains(String),
    /// Exactly this name.
    Exact(String),
    /// The names of the inner matcher, without regard to ASCII case (`ignore_case`).
    IgnoreCase(Box<Self>),
    /// Names with this prefix.
    Prefix(String),
    /// Names that match this regular expression completely.
    Regex(SanRegex),
    /// Names with this suffix.
    Suffix(String),
    /// A matcher that this client does not support, for example an invalid regular expression. It matches no name.
    Unsupported(String),
}

/// A regular expression for names, in the syntax that RE2 and Rust have in common, without Unicode classes.
#[derive(Clone, Debug)]
pub struct SanRegex {
    text: String,
    whole: Regex,
}

impl SanMatcher {
    /// Returns whether a name in a certificate matches. The comparison is case-sensitive unless the matcher ignores
    /// case.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        match self {
            Self::Contains(text) => name.contains(text),
            Self::Exact(text) => name == text,
            Self::IgnoreCase(inside) => inside.matches(&name.to_ascii_lowercase()),
            Self::Prefix(text) => name.starts_with(text),
            Self::Regex(regex) => regex.whole.is_match(name),
            Self::Suffix(text) => name.ends_with(text),
            Self::Unsupported(_) => false,
        }
    }

    /// Returns this matcher without regard to case. A regular expression remains case-sensitive (Envoy
    /// `api/envoy/type/matcher/v3/string.proto`).
    pub(super) fn ignoring_case(self) -> Self {
        let lower = |text: String| text.to_ascii_lowercase();
        Self::IgnoreCase(Box::new(match self {
            Self::Contains(text) => Self::Contains(lower(text)),
            Self::Exact(text) => Self::Exact(lower(text)),
            Self::Prefix(text) => Self::Prefix(lower(text)),
            Self::Suffix(text) => Self::Suffix(lower(text)),
            other => return other,
        }))
    }

    /// Creates a matcher for a regular expression. An invalid expression matches no name.
    pub(super) fn regex(text: String) -> Self {
        // The expression alone must be valid: with an unbalanced parenthesis it would escape from the group.
        match Regex::new(&text).and_then(|_| Regex::new(&format!("^(?:{text})$"))) {
            Ok(whole) => Self::Regex(SanRegex { text, whole }),
            Err(_) => Self::Unsupported(text),
        }
    }

    /// Returns whether the matcher restricts nothing: its text is empty, or its regular expression matches names that
    /// have nothing in common.
    pub(super) fn matches_every_name(&self) -> bool {
        const UNRELATED: [&str; 2] = ["spiffe://kq3vz8.w1xj/ns/p0tg/sa/m5rd", "b7yh.c2nf-6u"];
        match self {
            Self::Contains(text) | Self::Prefix(text) | Self::Suffix(text) => text.is_empty(),
            Self::IgnoreCase(inside) => inside.matches_every_name(),
            Self::Regex(_) => UNRELATED.iter().all(|name| self.matches(name)),
            Self::Exact(_) | Self::Unsupported(_) => false,
        }
    }
}

impl SanRegex {
    /// Returns the expression as written in the control plane.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl PartialEq for SanRegex {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for SanRegex {}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "spiffe://cluster.local/ns/Weather/sa/forecast";

    #[test]
    fn each_kind_of_matcher_compares_its_text() {
        let text = |text: &str| text.to_owned();
        for (matcher, matches) in [
            (SanMatcher::Exact(text(NAME)), true),
            (SanMatcher::Exact(text("spiffe://cluster.local")), false),
            (SanMatcher::Prefix(text("spiffe://cluster.local/ns/")), true),
            (SanMatcher::Suffix(text("/sa/forecast")), true),
            (SanMatcher::Contains(text("/ns/Weather/")), true),
            (SanMatcher::Contains(text("/ns/weather/")), false),
            (SanMatcher::regex(text("spiffe://.*/sa/fore(cast|sight)")), true),
            (SanMatcher::regex(text("/sa/forecast")), false),
            (SanMatcher::regex(text("spiffe://cluster.local|evil")), false),
            (SanMatcher::regex(text("(?i)SPIFFE://.*")), true),
        ] {
            assert_eq!(matcher.matches(NAME), matches, "{matcher:?}");
        }
    }

    #[test]
    fn a_matcher_can_ignore_case() {
        let of = |matcher: SanMatcher| matcher.ignoring_case().matches(NAME);
        assert!(of(SanMatcher::Exact(NAME.to_ascii_uppercase())));
        assert!(of(SanMatcher::Contains("/NS/weather/".into())));
        assert!(of(SanMatcher::Suffix("FORECAST".into())) && of(SanMatcher::Prefix("Spiffe".into())));
        assert!(!of(SanMatcher::Exact("other".into())));
        // A regular expression is case-sensitive unless it contains a flag.
        assert!(!of(SanMatcher::regex("SPIFFE://.*".into())));
    }

    #[test]
    fn a_matcher_without_a_restriction_is_detected() {
        let text = |text: &str| text.to_owned();
        for matcher in [
            SanMatcher::Contains(text("")),
            SanMatcher::Prefix(text("")),
            SanMatcher::Suffix(text("")).ignoring_case(),
        ] {
            assert!(matcher.matches_every_name(), "{matcher:?}");
        }
        for all in [".*", ".+", "(?s).*", "^.*$", r"\S*", "[^ ]+", "x|.*", "(.)*", ".{3,}", r"[a-z0-9:/.-]*"]
        {
            assert!(SanMatcher::regex(text(all)).matches_every_name(), "{all}");
        }
        for some in ["spiffe://.*", r".*\.example\.com", "spiffe://td/ns/.*", "(", ""] {
            assert!(!SanMatcher::regex(text(some)).matches_every_name(), "{some}");
        }
        assert!(!SanMatcher::Exact(text("")).matches_every_name());
    }

    #[test]
    fn an_expression_cannot_leave_its_anchors() {
        let matcher = SanMatcher::regex("a)|(?:".into());
        assert_eq!(matcher, SanMatcher::Unsupported("a)|(?:".into()));
        assert!(!matcher.matches(NAME));
    }

    #[test]
    fn an_invalid_expression_matches_nothing() {
        let matcher = SanMatcher::regex("(".into());
        assert_eq!(matcher, SanMatcher::Unsupported("(".into()));
        assert!(!matcher.matches("(") && !matcher.matches(""));
    }
}
