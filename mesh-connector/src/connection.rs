//! What is known about a connection.

use std::{
    fmt,
    net::SocketAddr,
    sync::{Arc, Weak},
};

use nds_client::SpiffeId;

use crate::hosts::Held;

/// What a connection is: where it leads, how, and who is at the other end. Cheap to clone.
#[derive(Clone)]
pub struct ConnectionInfo(pub(crate) Arc<Details>);

/// How a connection is protected.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Transport {
    /// Mesh mTLS: both ends have proved their identity.
    MutualTls,
    /// Nothing.
    Plaintext,
    /// TLS with the roots of a DestinationRule (SIMPLE, MUTUAL), outside of the mesh's own: the server has proved its name.
    Tls,
}

/// What decides whether a connection of a cluster may serve a request: the endpoint, and how the connection is
/// protected.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub(crate) struct ConnectionKey {
    /// [`HostSet::host_id`](crate::hosts::HostSet::host_id)
    pub(crate) host: u64,
    /// The position of the transport socket in the cluster.
    pub(crate) socket: usize,
    /// [`ClientTls::id`](crate::tls::ClientTls::id); 0 for plaintext.
    pub(crate) tls: u64,
}

#[derive(Debug)]
pub(crate) struct Details {
    #[cfg_attr(not(feature = "hyper"), expect(dead_code, reason = "of the HTTP pools"))]
    pub(crate) key: ConnectionKey,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) service: Option<String>,
    pub(crate) cluster: Option<String>,
    pub(crate) endpoint: String,
    pub(crate) peer_addr: SocketAddr,
    pub(crate) gateway: bool,
    pub(crate) workload_cluster: Option<String>,
    /// Name and namespace.
    pub(crate) workload: Option<(String, String)>,
    pub(crate) tls: Option<TlsDetails>,
    /// While the connection is open, what counts it.
    pub(crate) held: Weak<Held>,
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
    /// The host as the caller gave it, normalised.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.0.host
    }

    /// The port as the caller gave it: for a service, the service port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.0.port
    }

    /// The mesh's own name of the service. `None` outside of the mesh.
    #[must_use]
    pub fn service(&self) -> Option<&str> {
        self.0.service.as_deref()
    }

    /// The name of the cluster: `outbound|3002||forecast.weather.svc.cluster.local`. `None` outside of the mesh.
    #[must_use]
    pub fn cluster(&self) -> Option<&str> {
        self.0.cluster.as_deref()
    }

    /// The endpoint that was chosen, as the control plane names it.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.0.endpoint
    }

    /// The address that was dialled.
    #[must_use]
    pub fn peer_addr(&self) -> SocketAddr {
        self.0.peer_addr
    }

    /// Whether the connection goes through an east-west gateway.
    #[must_use]
    pub fn is_through_gateway(&self) -> bool {
        self.0.gateway
    }

    /// The cluster that the workload runs in; of a gateway, the cluster behind it. `None` where the control plane
    /// does not say.
    #[must_use]
    pub fn workload_cluster(&self) -> Option<&str> {
        self.0.workload_cluster.as_deref()
    }

    /// The name and namespace of the workload that was dialled. `None` through a gateway, and where the control plane
    /// does not say.
    #[must_use]
    pub fn workload(&self) -> Option<(&str, &str)> {
        self.0.workload.as_ref().map(|(name, namespace)| (&**name, &**namespace))
    }

    /// How the connection is protected.
    #[must_use]
    pub fn transport(&self) -> Transport {
        self.0.tls.as_ref().map_or(Transport::Plaintext, |tls| tls.transport)
    }

    /// The server name that was sent. `None` in plaintext, and where an address was asked for that has none.
    #[must_use]
    pub fn sni(&self) -> Option<&str> {
        self.0.tls.as_ref().map(|tls| &*tls.sni).filter(|sni| !sni.is_empty())
    }

    /// The application protocols that were offered, the preferred one first. Empty in plaintext.
    #[must_use]
    pub fn alpn_offered(&self) -> &[String] {
        self.0.tls.as_ref().map_or(&[], |tls| &tls.alpn_offered)
    }

    /// The application protocol that the peer chose. `None` is usual: Istio's proxies match on `istio`, but never
    /// choose it.
    #[must_use]
    pub fn alpn(&self) -> Option<&str> {
        self.0.tls.as_ref().and_then(|tls| tls.alpn.as_deref())
    }

    /// The peer's verified identity. Through a gateway it is the workload's behind it: gateways do not terminate.
    /// `None` in plaintext, and where the verified name is not of Istio's form; see [`peer_name`](Self::peer_name).
    #[must_use]
    pub fn peer(&self) -> Option<&SpiffeId> {
        self.0.tls.as_ref().and_then(|tls| tls.peer_id.as_ref())
    }

    /// The peer's verified name as it stands in its certificate: a `spiffe://` URI; outside of mesh mTLS the
    /// certificate's first name. `None` in plaintext.
    #[must_use]
    pub fn peer_name(&self) -> Option<&str> {
        self.0.tls.as_ref().map(|tls| &*tls.peer)
    }

    /// Tells outlier detection with which HTTP status a request over this connection was answered: for HTTP clients of
    /// one's own. The one of this crate does so itself. Without a rule, and after the connection, it changes nothing.
    pub fn report_status(&self, status: u16) {
        if let Some(held) = self.0.held.upgrade() {
            held.answered(status);
        }
    }
}

#[cfg(feature = "hyper")]
impl ConnectionInfo {
    /// What the connection may serve.
    pub(crate) fn key(&self) -> ConnectionKey {
        self.0.key
    }
}

impl Transport {
    /// A short name for people and metric labels.
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
