//! What errors are about.

/// What an [`Error`](crate::Error) is about. Stable: match on it, label metrics with it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An address belongs to several services, and nothing tells which one is meant.
    Ambiguous,
    /// The membership was shut down.
    Closed,
    /// The configuration cannot be used; the cause lists why.
    Config,
    /// istiod has not said what is needed: clusters or endpoints.
    ControlPlane,
    /// This process has no valid certificate to present.
    Credentials,
    /// No TCP connection came about.
    Dial,
    /// A connection was made, but the exchange over it failed.
    Exchange,
    /// The target is no host and port that can be dialled.
    InvalidTarget,
    /// A listener of the bridge did not come about.
    Listen,
    /// The service has no endpoint that may be used.
    NoEndpoint,
    /// The peer did not prove to be the one that is expected.
    PeerIdentity,
    /// Only plaintext (or TLS that is not the mesh's) leads there, and it is refused: by setting, or because the control
    /// plane does not ask for it beyond doubt.
    PlaintextRefused,
    /// Upstream DNS failed.
    Resolve,
    /// A deadline passed.
    Timeout,
    /// The TLS handshake failed, other than by the peer's identity.
    Tls,
    /// The service has as many connections of this process' as its DestinationRule allows.
    TooManyConnections,
    /// Neither the mesh nor upstream DNS knows the host, or it is not to be reached by setting.
    UnknownHost,
    /// The service does not have this port.
    UnknownPort,
    /// The service does not have this subset.
    UnknownSubset,
    /// The control plane asks for something that this client does not do.
    Unsupported,
}

impl ErrorKind {
    /// A short name for metric labels.
    #[must_use]
    pub fn as_label(self) -> &'static str {
        match self {
            Self::Ambiguous => "ambiguous",
            Self::Closed => "closed",
            Self::Config => "config",
            Self::ControlPlane => "control_plane",
            Self::Credentials => "credentials",
            Self::Dial => "dial",
            Self::Exchange => "exchange",
            Self::InvalidTarget => "invalid_target",
            Self::Listen => "listen",
            Self::NoEndpoint => "no_endpoint",
            Self::PeerIdentity => "peer_identity",
            Self::PlaintextRefused => "plaintext_refused",
            Self::Resolve => "resolve",
            Self::Timeout => "timeout",
            Self::Tls => "tls",
            Self::TooManyConnections => "too_many_connections",
            Self::UnknownHost => "unknown_host",
            Self::UnknownPort => "unknown_port",
            Self::UnknownSubset => "unknown_subset",
            Self::Unsupported => "unsupported",
        }
    }

    /// Of several failed attempts, the kind that says most about the whole.
    pub(super) fn weight(self) -> u8 {
        match self {
            Self::PeerIdentity => 5,
            Self::PlaintextRefused | Self::Unsupported => 4,
            Self::Tls => 3,
            Self::Resolve => 2,
            Self::Dial => 1,
            _ => 0,
        }
    }
}
