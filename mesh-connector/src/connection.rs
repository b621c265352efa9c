//! Properties of a connection.

use std::{
    fmt,
    net::SocketAddr,
    sync::{Arc, Weak},
};

use nds_client::SpiffeId;

use crate::hosts::ActiveConnection;

/// The properties of a connection: its target, endpoint, transport and peer. Cheap to clone.
#[derive(Clone)]
pub struct ConnectionInfo(pub(crate) Arc<Details>);

/// The protection of a connection.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Transport {
    /// Mesh mTLS: both sides have verified the identity of the other.
    MutualTls,
    /// No protection.
    Plaintext,
    /// TLS with the trusted roots of a DestinationRule (mode SIMPLE or MUTUAL). The server has proved its name, but has
    /// no mesh identity.
    Tls,
}

/// The key of a pooled connection: its endpoint and its protection. A request uses only connections with its own key.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub(crate) struct ConnectionKey {
    /// The ID of the host: [`HostSet::host_id`](crate::hosts::HostSet::host_id).
    pub(crate) host: u64,
    /// The index of the transport socket in the cluster.
    pub(crate) socket: usize,
    /// The ID of the TLS configuration: [`ClientTls::id`](crate::tls::ClientTls::id). 0 for plaintext.
    pub(crate) tls: u64,
}

#[derive(Debug)]
pub(crate) struct Details {
    #[cfg_attr(not(feature = "hyper"), expect(dead_code, reason = "only HTTP pools read it"))]
    pub(crate) key: ConnectionKey,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) service: Option<String>,
    pub(crate) cluster: Option<String>,
    pub(crate) endpoint: String,
    pub(crate) peer_addr: SocketAddr,
    pub(crate) gateway: bool,
    pub(crate) workload_cluster: Option<String>,
    /// The name and namespace of the workload. `None` for a gateway, and if the control plane does not send them.
    pub(crate) workload: Option<(String, String)>,
    pub(crate) tls: Option<TlsDetails>,
    /// The record that counts the statuses of responses while the connection is open. Dangling if the cluster has no
    /// outlier detection, because nothing else uses the statuses.
    pub(crate) active: Weak<ActiveConnection>,
}

#[derive(Clone, Debug)]
pub(crate) struct TlsDetails {
    pub(crate) transport: Transport,
    pub(crate) sni: Arc<str>,
    pub(crate) alpn_offered: Arc<[String]>,
    pub(crate) alpn: Option<String>,
    pub(crate) peer: String,
    pub(crate) peer_id: Option<SpiffeId>,
}

impl ConnectionInfo {
    /// Returns the requested host: a name in lower case and without a trailing dot, or an IP address.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.0.host
    }

    /// Returns the requested port. For a service, this is the service port, not the port of the endpoint.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.0.port
    }

    /// Returns the canonical name of the service. `None` if the host is outside the mesh.
    #[must_use]
    pub fn service(&self) -> Option<&str> {
        self.0.service.as_deref()
    }

    /// Returns the name of the cluster: `outbound|3002||forecast.weather.svc.cluster.local`. `None` if the host is
    /// outside the mesh.
    #[must_use]
    pub fn cluster(&self) -> Option<&str> {
        self.0.cluster.as_deref()
    }

    /// Returns the address of the chosen endpoint, as the control plane sends it: `10.1.2.3:15443`. For a host outside
    /// the mesh, this is the peer address.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.0.endpoint
    }

    /// Returns the peer address of the TCP connection.
    #[must_use]
    pub fn peer_addr(&self) -> SocketAddr {
        self.0.peer_addr
    }

    /// Returns whether the connection goes through an east-west gateway.
    #[must_use]
    pub fn is_through_gateway(&self) -> bool {
        self.0.gateway
    }

    /// Returns the Kubernetes cluster of the workload. Through a gateway, this is the cluster behind the gateway.
    /// `None` if the control plane does not send the cluster.
    #[must_use]
    pub fn workload_cluster(&self) -> Option<&str> {
        self.0.workload_cluster.as_deref()
    }

    /// Returns the name and namespace of the workload. `None` through a gateway, and if the control plane does not send
    /// them.
    #[must_use]
    pub fn workload(&self) -> Option<(&str, &str)> {
        self.0.workload.as_ref().map(|(name, namespace)| (&**name, &**namespace))
    }

    /// Returns the protection of the connection.
    #[must_use]
    pub fn transport(&self) -> Transport {
        self.0.tls.as_ref().map_or(Transport::Plaintext, |tls| tls.transport)
    }

    /// Returns the server name of the TLS handshake (SNI). `None` for plaintext, and if the host is an IP address and
    /// no SNI is configured.
    #[must_use]
    pub fn sni(&self) -> Option<&str> {
        self.0.tls.as_ref().map(|tls| &*tls.sni).filter(|sni| !sni.is_empty())
    }

    /// Returns the application protocols (ALPN) that the client offered, the preferred one first. Empty for plaintext.
    #[must_use]
    pub fn alpn_offered(&self) -> &[String] {
        self.0.tls.as_ref().map_or(&[], |tls| &tls.alpn_offered)
    }

    /// Returns the application protocol that the peer selected. `None` is usual: Istio's proxies match on `istio`, but
    /// never select it.
    #[must_use]
    pub fn alpn(&self) -> Option<&str> {
        self.0.tls.as_ref().and_then(|tls| tls.alpn.as_deref())
    }

    /// Returns the verified identity of the peer. Through a gateway this is the identity of the workload behind it,
    /// because gateways do not terminate mTLS. `None` for plaintext, and if the verified name is not an Istio SPIFFE
    /// ID; see [`peer_name`](Self::peer_name).
    #[must_use]
    pub fn peer(&self) -> Option<&SpiffeId> {
        self.0.tls.as_ref().and_then(|tls| tls.peer_id.as_ref())
    }

    /// Returns the verified name in the certificate of the peer. With mesh mTLS this is a `spiffe://` URI. With other
    /// TLS, this is the first name in the certificate. `None` for plaintext.
    #[must_use]
    pub fn peer_name(&self) -> Option<&str> {
        self.0.tls.as_ref().map(|tls| &*tls.peer)
    }

    /// Reports the HTTP status of a response on this connection to outlier detection. HTTP clients that use their own
    /// connection pool call this; `HttpClient` does it automatically. It has no effect if the cluster has no outlier
    /// detection, or after the connection has ended.
    pub fn report_status(&self, status: u16) {
        if let Some(active) = self.0.active.upgrade() {
            active.answered(status);
        }
    }
}

#[cfg(feature = "hyper")]
impl ConnectionInfo {
    /// Returns the pool key of the connection.
    pub(crate) fn key(&self) -> ConnectionKey {
        self.0.key
    }
}

impl Transport {
    /// Returns a short name for logs and metric labels.
    #[must_use]
    pub fn as_label(self) -> &'static str {
        match self {
            Self::MutualTls => "mutual_tls",
            Self::Plaintext => "plaintext",
            Self::Tls => "tls",
        }
    }
}

impl fmt::Debug for ConnectionInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}
