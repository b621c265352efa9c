//! Type URLs in the form of istiod (istio `pkg/model/xds.go`).

/// CDS: `envoy.config.cluster.v3.Cluster`.
pub const CLUSTER: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
/// EDS: `envoy.config.endpoint.v3.ClusterLoadAssignment`.
pub const ENDPOINT: &str = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment";
/// `HttpProtocolOptions`: the type URL of the message; without its prefix, the key in
/// `typed_extension_protocol_options`.
pub const HTTP_PROTOCOL_OPTIONS: &str =
    "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
/// `InternalUpstreamTransport`: a transport socket that connects to an internal listener of Envoy.
pub const INTERNAL_UPSTREAM: &str =
    "type.googleapis.com/envoy.extensions.transport_sockets.internal_upstream.v3.InternalUpstreamTransport";
/// NDS: `istio.networking.nds.v1.NameTable`.
pub const NAME_TABLE: &str = "type.googleapis.com/istio.networking.nds.v1.NameTable";
/// PCDS: `istio.mesh.v1alpha1.ProxyConfig`, of which istiod sets the roots.
pub const PROXY_CONFIG: &str = "type.googleapis.com/istio.mesh.v1alpha1.ProxyConfig";
/// `ProxyProtocolUpstreamTransport`: a transport socket that sends a PROXY protocol header before another transport
/// socket.
pub const PROXY_PROTOCOL: &str =
    "type.googleapis.com/envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport";
/// `UpstreamTlsContext`: the configuration of a TLS transport socket.
pub const UPSTREAM_TLS_CONTEXT: &str =
    "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext";
/// `RawBuffer`: the configuration of a plaintext transport socket.
pub const RAW_BUFFER: &str = "type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer";
