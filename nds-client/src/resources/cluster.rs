//! Clusters: what CDS says about how to reach a service, reduced to what a client needs.
//!
//! Everything in a cluster that decides a connection is listed in the facts this project collected about Istio's
//! Envoy generator (istio `pilot/pkg/networking/core/cluster_tls.go`, `cluster_builder.go`).

mod all;
mod balancing;
mod compact;
mod connection;
mod decode;
mod duration;
mod name;
mod outlier;
mod tls;

use std::{sync::Arc, time::Duration};

pub(crate) use self::all::Templates;
pub use self::{
    all::Clusters,
    balancing::{LbPolicy, LoadBalancing, SlowStart},
    connection::{CircuitBreakers, ConnectionLife, TcpKeepalive},
    name::{ClusterName, InvalidClusterName},
    outlier::OutlierDetection,
    tls::{
        Certificate, ProxyProtocol, Roots, SanMatcher, SanRegex, TlsContext, TlsVersion, TransportMatch,
        TransportSocket,
    },
};
use crate::resources::endpoint::{Endpoint, Endpoints};

/// One outbound cluster: one port (and possibly one subset) of one service.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Cluster {
    /// Service port, subset and host.
    pub name: ClusterName,
    /// Where its endpoints come from.
    pub discovery: Discovery,
    /// How long one attempt to connect may take.
    pub connect_timeout: Duration,
    /// The transport sockets that an endpoint may select by its metadata. The first that matches counts; they are
    /// empty where `transport_socket` holds for every endpoint.
    pub transport_socket_matches: Vec<TransportMatch>,
    /// The transport socket of endpoints that no match applies to.
    pub transport_socket: TransportSocket,
    /// Which HTTP the service speaks on this port, as far as the control plane knows.
    pub http: Http,
    /// Whether the service is outside of the mesh (`MESH_EXTERNAL`).
    pub external: bool,
    /// Whether a DestinationRule of tls mode SIMPLE or MUTUAL says what protects the connections. With a
    /// `credentialName` that is all there is to see: the transport socket itself is [`TransportSocket::Absent`].
    pub tls_origination: bool,
    /// Whether TLS without an SNI of its own takes the requested host for it (`auto_sni`).
    pub auto_sni: bool,
    /// Whether the peer's certificate must be for that host (`auto_san_validation`).
    pub auto_san_validation: bool,
    /// How connections are spread over the endpoints.
    pub load_balancing: LoadBalancing,
    /// When an endpoint that fails is left alone; `None` where it never is.
    pub outlier_detection: Option<OutlierDetection>,
    /// How much is used at once.
    pub circuit_breakers: CircuitBreakers,
    /// Keepalive probes; `None` where none are asked for.
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// How long a connection lives.
    pub connection_life: ConnectionLife,
    /// The port to dial at [`Discovery::OriginalDestination`] in place of the one the caller was going to.
    pub upstream_port_override: Option<u16>,
    /// The hosts of the services behind the cluster, as NDS names them too; the first is the cluster's own.
    pub service_hosts: Vec<String>,
    /// The DestinationRule, or the like, that the cluster was made with: the path of the object in Kubernetes' API.
    pub config: Option<String>,
}

/// Where the endpoints of a cluster come from.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Discovery {
    /// From EDS, under this name.
    Eds {
        /// The resource name to subscribe to.
        service_name: String,
    },
    /// Hosts named in the cluster, to be resolved by DNS where they are not addresses. `STATIC`, `STRICT_DNS` and
    /// `LOGICAL_DNS` clusters.
    Inline(Arc<Endpoints>),
    /// Wherever the caller was going (`ORIGINAL_DST`): headless services, and load balancer `PASSTHROUGH`. istiod
    /// answers EDS for headless services all the same, when asked explicitly under the cluster's name.
    OriginalDestination,
}

/// Which HTTP a port speaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Http {
    /// Unnamed port: the protocol is detected from the bytes (`use_downstream_protocol_config`).
    Detected,
    /// HTTP/1.1, or not HTTP at all: CDS does not tell these two apart.
    Http1,
    /// HTTP/2, gRPC included (`http2_protocol_options`).
    Http2,
}

impl Cluster {
    /// A cluster that no control plane has described: with these endpoints, all of which take mesh mTLS and prove to be
    /// one of these identities; with none of those, any of the own trust domain. For control planes that send names and
    /// nothing else.
    #[must_use]
    pub fn of_mesh(name: ClusterName, endpoints: Arc<Endpoints>, identities: Vec<SanMatcher>) -> Self {
        let wire = xds_proto::envoy::config::cluster::v3::Cluster::default();
        Self {
            discovery: Discovery::Inline(endpoints),
            connect_timeout: decode::CONNECT_TIMEOUT,
            transport_socket_matches: Vec::new(),
            transport_socket: TransportSocket::Tls(TlsContext {
                subject_alt_names: identities,
                certificate: Certificate::Workload,
                roots: Roots::Mesh,
                ..TlsContext::default()
            }),
            http: Http::Detected,
            external: false,
            tls_origination: false,
            auto_sni: false,
            auto_san_validation: false,
            load_balancing: LoadBalancing::of(&wire),
            outlier_detection: None,
            circuit_breakers: CircuitBreakers::of(None),
            tcp_keepalive: None,
            connection_life: ConnectionLife::default(),
            upstream_port_override: None,
            service_hosts: vec![name.host.clone()],
            config: None,
            name,
        }
    }

    /// The transport socket for `endpoint`: the first match whose criteria the endpoint's metadata satisfies, else
    /// the cluster's own (Envoy `transport_socket_matches`).
    #[must_use]
    pub fn transport_socket_for(&self, endpoint: &Endpoint) -> &TransportSocket {
        match self.transport_socket_matches.get(self.transport_socket_index(endpoint)) {
            Some(selected) => &selected.transport_socket,
            None => &self.transport_socket,
        }
    }

    /// The position of the transport socket for `endpoint` among the matches; their number for the cluster's own.
    #[must_use]
    pub fn transport_socket_index(&self, endpoint: &Endpoint) -> usize {
        let matches = &self.transport_socket_matches;
        matches.iter().position(|candidate| candidate.applies_to(endpoint)).unwrap_or(matches.len())
    }

    /// The name to subscribe to in EDS, where it can answer for this cluster.
    #[must_use]
    pub fn eds_name(&self) -> Option<String> {
        match &self.discovery {
            Discovery::Eds { service_name } => Some(service_name.clone()),
            Discovery::OriginalDestination => Some(self.name.to_string()),
            Discovery::Inline(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
