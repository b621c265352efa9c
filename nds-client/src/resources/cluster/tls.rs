//! Transport sockets: how the bytes of a connection are protected.

use std::collections::BTreeMap;

use regex_lite::Regex;

use crate::resources::endpoint::Endpoint;

/// How a connection to an endpoint is protected.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum TransportSocket {
    /// The control plane names no transport socket. Envoy sends plaintext then; so does a DestinationRule with a
    /// `credentialName`, which does not mean plaintext.
    Absent,
    /// Plaintext, said explicitly (`raw_buffer`).
    Plaintext,
    /// Another transport socket, before whose first byte a PROXY protocol header goes.
    ProxyProtocol {
        /// The form of the header.
        version: ProxyProtocol,
        /// What protects the bytes after the header.
        inner: Box<Self>,
    },
    /// TLS.
    Tls(TlsContext),
    /// Something this client does not speak.
    Unsupported {
        /// The type URL of its configuration.
        type_url: String,
    },
}

/// The form of a PROXY protocol header.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ProxyProtocol {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// One entry of a cluster's `transport_socket_matches`.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct TransportMatch {
    /// `tlsMode-istio`, `tlsMode-disabled`, …
    pub name: String,
    /// What the endpoint's `envoy.transport_socket_match` metadata must contain; empty matches every endpoint.
    pub criteria: BTreeMap<String, String>,
    /// What to use then.
    pub transport_socket: TransportSocket,
}

impl TransportMatch {
    pub(super) fn applies_to(&self, endpoint: &Endpoint) -> bool {
        self.criteria.iter().all(|(key, value)| endpoint.transport_match.get(key) == Some(value))
    }
}

/// The client side of one TLS configuration (Envoy `UpstreamTlsContext`).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct TlsContext {
    /// The server name to send; `None` where the control plane gives none.
    pub sni: Option<String>,
    /// The protocols to offer, as the control plane lists them.
    pub alpn_protocols: Vec<String>,
    /// The names the peer may have; empty means that the control plane expects none in particular.
    pub subject_alt_names: Vec<SanMatcher>,
    /// The client's certificate.
    pub certificate: Certificate,
    /// What the peer's certificate must chain up to.
    pub roots: Roots,
    /// The oldest version to speak; `None` where the control plane leaves it to the client.
    pub minimum_version: Option<TlsVersion>,
    /// The newest version to speak; `None` where the control plane leaves it to the client.
    pub maximum_version: Option<TlsVersion>,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum TlsVersion {
    /// TLS 1.0, which is obsolete.
    V1_0,
    /// TLS 1.1, which is obsolete.
    V1_1,
    /// TLS 1.2.
    V1_2,
    /// TLS 1.3.
    V1_3,
}

/// Which client certificate to present.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Certificate {
    /// A certificate and key by their paths (`file-cert:CERT~KEY`), or another name of the control plane's.
    Named(String),
    /// None.
    #[default]
    None,
    /// The workload's own (SDS name `default`).
    Workload,
}

/// Which roots to trust.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Roots {
    /// The mesh's (SDS name `ROOTCA`).
    Mesh,
    /// By another name: `file-root:system`, `file-root:PATH`.
    Named(String),
    /// The control plane asks for no verification.
    #[default]
    None,
}

/// One name that the peer may have. Istio generates exact ones; an EnvoyFilter can set the others.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum SanMatcher {
    /// Contains this text.
    Contains(String),
    /// Exactly this text.
    Exact(String),
    /// As the matcher inside says, with ASCII letters of either case (`ignore_case`).
    IgnoreCase(Box<Self>),
    /// Begins with this text.
    Prefix(String),
    /// As a whole, this regular expression.
    Regex(SanRegex),
    /// Ends with this text.
    Suffix(String),
    /// Something that this client cannot decide. Matches nothing.
    Unsupported(String),
}

/// A regular expression for names, in the syntax that RE2 and Rust share; without classes of Unicode, which no name of a
/// certificate needs.
#[derive(Clone, Debug)]
pub struct SanRegex {
    text: String,
    whole: Regex,
}

impl SanMatcher {
    /// Whether a certificate's name is one of those meant. Case counts unless the rule says otherwise, as URIs' paths
    /// demand.
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

    /// Of any case. A regular expression says so itself (Envoy `api/envoy/type/matcher/v3/string.proto`).
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

    /// By a regular expression; one that cannot be read matches nothing.
    pub(super) fn regex(text: String) -> Self {
        match Regex::new(&format!("^(?:{text})$")) {
            Ok(whole) => Self::Regex(SanRegex { text, whole }),
            Err(_) => Self::Unsupported(text),
        }
    }
}

impl SanRegex {
    /// As the control plane wrote it.
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
    fn each_kind_of_rule_decides_by_its_own_text() {
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
    fn case_does_not_count_where_the_rule_says_so() {
        let of = |matcher: SanMatcher| matcher.ignoring_case().matches(NAME);
        assert!(of(SanMatcher::Exact(NAME.to_ascii_uppercase())));
        assert!(of(SanMatcher::Contains("/NS/weather/".into())));
        assert!(of(SanMatcher::Suffix("FORECAST".into())) && of(SanMatcher::Prefix("Spiffe".into())));
        assert!(!of(SanMatcher::Exact("other".into())));
        // An expression says so itself.
        assert!(!of(SanMatcher::regex("SPIFFE://.*".into())));
    }

    #[test]
    fn an_expression_that_cannot_be_read_matches_nothing() {
        let matcher = SanMatcher::regex("(".into());
        assert_eq!(matcher, SanMatcher::Unsupported("(".into()));
        assert!(!matcher.matches("(") && !matcher.matches(""));
    }
}
