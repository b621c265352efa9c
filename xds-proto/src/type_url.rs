//! Type URLs, as istiod spells them (istio `pkg/model/xds.go`).

/// Cluster discovery service: `envoy.config.cluster.v3.Cluster`.
pub const CLUSTER: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
/// Endpoint discovery service: `envoy.config.endpoint.v3.ClusterLoadAssignment`.
pub const ENDPOINT: &str = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment";
/// `HttpProtocolOptions`, both the type of the message and, without the prefix, its key in
/// `typed_extension_protocol_options`.
pub const HTTP_PROTOCOL_OPTIONS: &str =
    "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
/// Name discovery service: `istio.networking.nds.v1.NameTable`.
pub const NAME_TABLE: &str = "type.googleapis.com/istio.networking.nds.v1.NameTable";
/// Proxy configuration discovery service: `istio.mesh.v1alpha1.ProxyConfig`, of which istiod fills the roots.
pub const PROXY_CONFIG: &str = "type.googleapis.com/istio.mesh.v1alpha1.ProxyConfig";
/// `ProxyProtocolUpstreamTransport`, a transport socket around another one: it says first whose connection it is.
pub const PROXY_PROTOCOL: &str =
    "type.googleapis.com/envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport";
/// `UpstreamTlsContext`, the typed configuration of a TLS transport socket.
pub const UPSTREAM_TLS_CONTEXT: &str =
    "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext";
/// `RawBuffer`, the typed configuration of a plaintext transport socket.
pub const RAW_BUFFER: &str = "type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer";
