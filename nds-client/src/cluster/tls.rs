//! Transport sockets: how the bytes of a connection are protected.

use std::collections::BTreeMap;

use crate::endpoint::Endpoint;

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
    /// Begins with this text.
    Prefix(String),
    /// A regular expression (RE2), or something else that this client cannot decide. Matches nothing.
    Unsupported(String),
    /// Ends with this text.
    Suffix(String),
}

impl SanMatcher {
    /// Whether a certificate's name is one of those meant. Case counts, as URIs' paths demand.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        match self {
            Self::Contains(text) => name.contains(text),
            Self::Exact(text) => name == text,
            Self::Prefix(text) => name.starts_with(text),
            Self::Suffix(text) => name.ends_with(text),
            Self::Unsupported(_) => false,
        }
    }
}
