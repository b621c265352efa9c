//! Clusters (CDS), reduced to the fields that a client needs.
//!
//! The fields are those with which Istio's Envoy generator controls connections (istio
//! `pilot/pkg/networking/core/cluster_tls.go`, `cluster_builder.go`).

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
    connection::{CircuitBreakers, ConnectionLimits, TcpKeepalive},
    name::{ClusterName, InvalidClusterName},
    outlier::OutlierDetection,
    tls::{
        ClientCertificate, ProxyProtocol, SanMatcher, SanRegex, TlsContext, TlsVersion, TransportMatch,
        TransportSocket, ValidationContext,
    },
};
use crate::resources::endpoint::{Endpoint, Endpoints};

/// An outbound cluster: one port, and optionally one subset, of a service.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Cluster {
    /// The port, subset and host of the service.
    pub name: ClusterName,
    /// The source of the endpoints.
    pub discovery: DiscoveryType,
    /// The maximum time of one connection attempt.
    pub connect_timeout: Duration,
    /// Transport sockets that endpoints select by their metadata. The first match is used. The list is empty if all
    /// endpoints use `transport_socket`.
    pub transport_socket_matches: Vec<TransportMatch>,
    /// The transport socket of endpoints without a match.
    pub transport_socket: TransportSocket,
    /// The HTTP version of the service port, as configured in the control plane.
    pub http: UpstreamHttpProtocol,
    /// Whether the service is outside the mesh (`MESH_EXTERNAL`).
    pub external: bool,
    /// Whether a DestinationRule with TLS mode SIMPLE or MUTUAL applies. With a `credentialName`, istiod sends no
    /// transport socket ([`TransportSocket::Absent`]) and this flag is the only sign of the rule.
    pub tls_origination: bool,
    /// Whether TLS without a configured SNI uses the requested host as SNI (`auto_sni`).
    pub auto_sni: bool,
    /// Whether the certificate of the peer must be valid for the requested host (`auto_san_validation`).
    pub auto_san_validation: bool,
    /// The load balancing policy.
    pub load_balancing: LoadBalancing,
    /// The outlier detection; `None` if it is disabled.
    pub outlier_detection: Option<OutlierDetection>,
    /// The limits of connections and requests.
    pub circuit_breakers: CircuitBreakers,
    /// TCP keepalive probes; `None` if none are configured.
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// The limits of a single connection.
    pub connection_limits: ConnectionLimits,
    /// The port of endpoints of [`DiscoveryType::OriginalDestination`], instead of the requested port; `None` to use
    /// the requested port.
    pub upstream_port_override: Option<u16>,
    /// The host names of the services behind the cluster, as in the name table. The first is that of the cluster.
    pub service_hosts: Vec<String>,
    /// The object that configured the cluster, usually a DestinationRule, as a path of the Kubernetes API; `None` if
    /// istiod names none.
    pub config: Option<String>,
}

/// The source of the endpoints of a cluster.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum DiscoveryType {
    /// Endpoints from EDS.
    Eds {
        /// The EDS name to subscribe to.
        service_name: String,
    },
    /// Endpoints in the cluster itself: IP addresses, or host names that are resolved by DNS. Clusters of type
    /// `STATIC`, `STRICT_DNS` and `LOGICAL_DNS`.
    Inline(Arc<Endpoints>),
    /// The only endpoint is the address that the caller requested (`ORIGINAL_DST`). istiod uses this type for headless
    /// services and for the load balancing policy `PASSTHROUGH`. For headless services istiod also answers EDS under
    /// the name of the cluster.
    OriginalDestination,
}

/// The HTTP version of a service port.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum UpstreamHttpProtocol {
    /// The protocol is detected from the first bytes, because the port has no protocol name
    /// (`use_downstream_protocol_config`).
    Detected,
    /// HTTP/1.1 or a protocol other than HTTP. CDS does not distinguish them.
    Http1,
    /// HTTP/2, including gRPC (`http2_protocol_options`).
    Http2,
}

impl Cluster {
    /// Creates a cluster without CDS, for control planes that send only a name table. All endpoints use mesh mTLS and
    /// must have one of `identities`; an empty list accepts every identity of the trust domain of this workload.
    #[must_use]
    pub fn from_endpoints(name: ClusterName, endpoints: Arc<Endpoints>, identities: Vec<SanMatcher>) -> Self {
        let wire = xds_proto::envoy::config::cluster::v3::Cluster::default();
        Self {
            discovery: DiscoveryType::Inline(endpoints),
            connect_timeout: decode::CONNECT_TIMEOUT,
            transport_socket_matches: Vec::new(),
            transport_socket: TransportSocket::Tls(TlsContext {
                subject_alt_names: identities,
                certificate: ClientCertificate::Workload,
                roots: ValidationContext::Mesh,
                ..TlsContext::default()
            }),
            http: UpstreamHttpProtocol::Detected,
            external: false,
            tls_origination: false,
            auto_sni: false,
            auto_san_validation: false,
            load_balancing: LoadBalancing::from_wire(&wire),
            outlier_detection: None,
            circuit_breakers: CircuitBreakers::from_wire(None),
            tcp_keepalive: None,
            connection_limits: ConnectionLimits::default(),
            upstream_port_override: None,
            service_hosts: vec![name.host.clone()],
            config: None,
            name,
        }
    }

    /// Returns the transport socket of an endpoint: the first match for its metadata, else that of the cluster (Envoy
    /// `transport_socket_matches`).
    #[must_use]
    pub fn transport_socket_for(&self, endpoint: &Endpoint) -> &TransportSocket {
        match self.transport_socket_matches.get(self.transport_socket_index(endpoint)) {
            Some(selected) => &selected.transport_socket,
            None => &self.transport_socket,
        }
    }

    /// Returns the index in `transport_socket_matches` of the first entry that matches the endpoint. If none matches,
    /// returns the length of that list, which stands for `transport_socket`.
    #[must_use]
    pub fn transport_socket_index(&self, endpoint: &Endpoint) -> usize {
        let matches = &self.transport_socket_matches;
        matches.iter().position(|candidate| candidate.applies_to(endpoint)).unwrap_or(matches.len())
    }

    /// Returns the EDS name of the cluster: the resource name of its endpoints in EDS. Returns `None` if the cluster
    /// itself contains its endpoints.
    #[must_use]
    pub fn eds_name(&self) -> Option<String> {
        match &self.discovery {
            DiscoveryType::Eds { service_name } => Some(service_name.clone()),
            DiscoveryType::OriginalDestination => Some(self.name.to_string()),
            DiscoveryType::Inline(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
