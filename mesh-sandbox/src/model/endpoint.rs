//! One address that a service can be reached at.

use crate::yaml::istio::MutualTlsMode;
use crate::yaml::kubernetes::Labels;

/// The value of `security.istio.io/tlsMode` that means a sidecar is there (facts E.6).
pub(crate) const TLS_MODE_ISTIO: &str = "istio";
/// The value for an endpoint without the label.
pub(crate) const TLS_MODE_DISABLED: &str = "disabled";
/// The label itself.
pub(crate) const TLS_MODE_LABEL: &str = "security.istio.io/tlsMode";

/// An endpoint of one port of one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// An IP address, or the host name of a DNS service's endpoint; may be empty where only the gateway knows.
    pub(crate) address: String,
    /// Where it listens: the target port.
    pub(crate) port: u16,
    /// The name of the service port that it serves.
    pub(crate) port_name: String,
    pub(crate) network: String,
    pub(crate) cluster: String,
    /// `region/zone/subzone`.
    pub(crate) locality: String,
    pub(crate) weight: u32,
    pub(crate) tls_mode: String,
    /// What PeerAuthentication says for this very port.
    pub(crate) policy: MutualTlsMode,
    /// The SPIFFE identity.
    pub(crate) identity: Option<String>,
    pub(crate) workload: String,
    /// The pod's own name, for people.
    pub(crate) pod: String,
    pub(crate) namespace: String,
    pub(crate) labels: Labels,
    pub(crate) health: Health,
    /// A headless service's pod: `<hostname>.<subdomain>` is a name of its own (facts D.2).
    pub(crate) hostname: String,
    pub(crate) subdomain: String,
}

/// Whether an endpoint is fit, in istiod's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Health {
    /// Nobody checks: the endpoints of service entries.
    #[default]
    Unknown,
    Healthy,
    Unhealthy,
    /// Never sent (facts F.3).
    Terminating,
}

impl Endpoint {
    /// Whether clients are told to use mutual TLS (facts E.6).
    pub(crate) fn is_mtls(&self) -> bool {
        self.tls_mode == TLS_MODE_ISTIO && self.policy != MutualTlsMode::Disable
    }

    /// Whether a sidecar stands in front of it at all.
    pub(crate) fn has_sidecar(&self) -> bool {
        self.tls_mode == TLS_MODE_ISTIO
    }
}
