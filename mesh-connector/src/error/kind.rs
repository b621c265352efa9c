//! The kinds of errors.

/// The kind of an [`Error`](crate::Error). Kinds are stable: programs can match on them and use them as metric labels.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The target is an IP address that several services share, so the service cannot be determined.
    Ambiguous,
    /// The mesh was shut down.
    Closed,
    /// The configuration is invalid. The cause lists the problems.
    Config,
    /// istiod has not sent the clusters or endpoints that the connection needs.
    ControlPlane,
    /// This process has no valid certificate, or istiod rejects its bootstrap token.
    Credentials,
    /// The TCP connection failed.
    Dial,
    /// The connection was established, but the HTTP exchange over it failed.
    Exchange,
    /// The target is not a valid host and port.
    InvalidTarget,
    /// The bridge cannot listen on a socket.
    Listen,
    /// This process or this host has no resources left for a socket, such as file descriptors or local ports. The peer
    /// was not contacted.
    LocalResource,
    /// The service has no endpoint that can be used.
    NoEndpoint,
    /// The certificate of the peer was rejected: wrong identity or unknown issuer.
    PeerIdentity,
    /// The connection would be plaintext, or TLS without mesh identities, and this is refused: either a setting
    /// requires mTLS, or the control plane does not clearly ask for plaintext.
    PlaintextRefused,
    /// Upstream DNS failed.
    Resolve,
    /// No connection was established within the time limit.
    Timeout,
    /// The TLS handshake failed for another reason than the identity of the peer.
    Tls,
    /// The service has reached the connection limit of its DestinationRule in this process.
    TooManyConnections,
    /// Neither the mesh nor upstream DNS knows the host, or the outbound traffic policy refuses it.
    UnknownHost,
    /// The service does not have the port of the target.
    UnknownPort,
    /// The service does not have the subset of the target.
    UnknownSubset,
    /// The configuration from the control plane requires a feature that this client does not support.
    Unsupported,
}

impl ErrorKind {
    /// Returns a short name for metric labels.
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
            Self::LocalResource => "local_resource",
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

    /// Returns whether a later attempt may succeed without a change of the configuration, for instance after a restart
    /// of the peer. It does not say whether a repeated request is safe: after [`Exchange`](Self::Exchange), the request
    /// may have been processed.
    #[must_use]
    pub fn is_transient(self) -> bool {
        matches!(
            self,
            Self::ControlPlane
                | Self::Dial
                | Self::Exchange
                | Self::LocalResource
                | Self::NoEndpoint
                | Self::Resolve
                | Self::Timeout
                | Self::Tls
                | Self::TooManyConnections
        )
    }

    /// Returns the rank of a kind; a more informative kind has a higher rank. After several failed attempts, the error
    /// has the kind with the highest rank.
    pub(super) fn weight(self) -> u8 {
        match self {
            Self::PeerIdentity => 5,
            Self::PlaintextRefused | Self::Unsupported => 4,
            Self::Tls => 3,
            Self::Resolve => 2,
            Self::Dial | Self::LocalResource => 1,
            _ => 0,
        }
    }
}
