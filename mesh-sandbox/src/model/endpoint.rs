//! An endpoint of a service.

use crate::yaml::istio::MutualTlsMode;
use crate::yaml::kubernetes::Labels;

/// The value of `security.istio.io/tlsMode` for a workload with a sidecar (istio `pilot/pkg/model/service.go`).
pub(crate) const TLS_MODE_ISTIO: &str = "istio";
/// The TLS mode of a workload without the label `security.istio.io/tlsMode`.
pub(crate) const TLS_MODE_DISABLED: &str = "disabled";
/// The label with the TLS mode of a workload.
pub(crate) const TLS_MODE_LABEL: &str = "security.istio.io/tlsMode";

/// The label with the tunnels that a workload accepts, separated by commas (istio `pilot/pkg/model/service.go`,
/// `SupportsTunnel`).
const TUNNEL_LABEL: &str = "networking.istio.io/tunnel";
/// The annotation of a pod in ambient mode.
const AMBIENT_ANNOTATION: &str = "ambient.istio.io/redirection";

/// Returns whether the labels of a workload say that it accepts HBONE tunnels.
pub(crate) fn has_tunnel_label(labels: &Labels) -> bool {
    labels.get(TUNNEL_LABEL).is_some_and(|tunnels| tunnels.split(',').any(|tunnel| tunnel == "http"))
}

/// Returns whether the annotations of a pod say that it is in ambient mode.
pub(crate) fn is_ambient(annotations: &Labels) -> bool {
    annotations.get(AMBIENT_ANNOTATION).is_some_and(|value| value == "enabled")
}

/// An endpoint of one port of one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// An IP address, or the host name of an endpoint of a DNS service. The text is empty if only the gateway knows the
    /// address.
    pub(crate) address: String,
    /// The port on which the endpoint listens (target port).
    pub(crate) port: u16,
    /// The name of the service port.
    pub(crate) port_name: String,
    pub(crate) network: String,
    pub(crate) cluster: String,
    /// The locality, as `region/zone/subzone`.
    pub(crate) locality: String,
    pub(crate) weight: u32,
    pub(crate) tls_mode: String,
    /// Whether the workload accepts HBONE tunnels.
    pub(crate) accepts_hbone: bool,
    /// The mTLS mode that PeerAuthentication sets for this port.
    pub(crate) policy: MutualTlsMode,
    /// The SPIFFE ID of the workload; `None` if the workload has no service account.
    pub(crate) identity: Option<String>,
    pub(crate) workload: String,
    /// The name of the pod, for events and responses.
    pub(crate) pod: String,
    pub(crate) namespace: String,
    pub(crate) labels: Labels,
    pub(crate) health: Health,
    /// The hostname of a pod of a headless service: `<hostname>.<subdomain>` has its own entry in the name table (istio
    /// `pkg/dns/server/name_table.go`).
    pub(crate) hostname: String,
    pub(crate) subdomain: String,
}

/// The health status of an endpoint, in the terms of istiod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Health {
    /// The endpoint has no health checks. This is the status of the endpoints of service entries.
    #[default]
    Unknown,
    Healthy,
    Unhealthy,
    /// istiod never sends an endpoint with this status (istio `pilot/pkg/xds/endpoints/endpoint_builder.go`).
    Terminating,
}

impl Endpoint {
    /// Returns whether clients use mutual TLS with the endpoint (istio `pilot/pkg/xds/endpoints/mtls_checker.go`).
    pub(crate) fn is_mtls(&self) -> bool {
        self.tls_mode == TLS_MODE_ISTIO && self.policy != MutualTlsMode::Disable
    }

    /// Returns whether the endpoint has a sidecar.
    pub(crate) fn has_sidecar(&self) -> bool {
        self.tls_mode == TLS_MODE_ISTIO
    }
}
