//! The Istio kinds. The reader rejects unknown fields: ignoring them would make the sandbox more lenient than istiod.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::kubernetes::Labels;

#[derive(Debug, Deserialize)]
pub(crate) struct ServiceEntry {
    pub(crate) spec: ServiceEntrySpec,
    #[serde(default)]
    pub(crate) status: ServiceEntryStatus,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ServiceEntrySpec {
    pub(crate) hosts: Vec<String>,
    #[serde(default)]
    pub(crate) addresses: Vec<String>,
    #[serde(default)]
    pub(crate) ports: Vec<EntryPort>,
    #[serde(default)]
    pub(crate) location: Location,
    #[serde(default)]
    pub(crate) resolution: Resolution,
    #[serde(default)]
    pub(crate) endpoints: Vec<Workload>,
    pub(crate) workload_selector: Option<Selector>,
    #[serde(default)]
    pub(crate) export_to: Vec<String>,
    #[serde(default)]
    pub(crate) subject_alt_names: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct EntryPort {
    pub(crate) number: u16,
    #[serde(default)]
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) protocol: String,
    pub(crate) target_port: Option<u16>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
pub(crate) enum Location {
    #[default]
    #[serde(rename = "MESH_EXTERNAL")]
    External,
    #[serde(rename = "MESH_INTERNAL")]
    Internal,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
pub(crate) enum Resolution {
    #[default]
    #[serde(rename = "NONE")]
    None,
    #[serde(rename = "STATIC")]
    Static,
    #[serde(rename = "DNS")]
    Dns,
    #[serde(rename = "DNS_ROUND_ROBIN")]
    DnsRoundRobin,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(crate) struct Selector {
    pub(crate) labels: Labels,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Sidecar {
    #[serde(default)]
    pub(crate) spec: SidecarSpec,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct SidecarSpec {
    pub(crate) workload_selector: Option<Selector>,
    #[serde(default)]
    pub(crate) egress: Vec<Egress>,
    /// This field is accepted and ignored. It affects only listeners, which the sandbox does not serve.
    #[serde(default)]
    pub(crate) outbound_traffic_policy: serde_json::Value,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Egress {
    pub(crate) port: Option<GatewayPort>,
    #[serde(default)]
    pub(crate) bind: String,
    #[serde(default)]
    pub(crate) capture_mode: String,
    pub(crate) hosts: Vec<String>,
}

/// The spec of a `WorkloadEntry`, which is also an endpoint of a `ServiceEntry`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Workload {
    #[serde(default)]
    pub(crate) address: String,
    #[serde(default)]
    pub(crate) ports: BTreeMap<String, u16>,
    #[serde(default)]
    pub(crate) labels: Labels,
    #[serde(default)]
    pub(crate) network: String,
    #[serde(default)]
    pub(crate) locality: String,
    #[serde(default)]
    pub(crate) weight: u32,
    #[serde(default)]
    pub(crate) service_account: String,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct ServiceEntryStatus {
    #[serde(default)]
    pub(crate) addresses: Vec<StatusAddress>,
}

/// A virtual IP that an allocator has written to the status of a `ServiceEntry`. It is used unchanged, as in istiod
/// (istio `pilot/pkg/networking/serviceentry/ip_autoallocation.go`).
#[derive(Debug, Deserialize)]
pub(crate) struct StatusAddress {
    #[serde(default)]
    pub(crate) host: String,
    pub(crate) value: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct WorkloadEntry {
    pub(crate) spec: Workload,
}

#[derive(Debug, Deserialize)]
pub(crate) struct WorkloadGroup {
    pub(crate) spec: WorkloadGroupSpec,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct WorkloadGroupSpec {
    #[serde(default)]
    pub(crate) metadata: GroupMetadata,
    #[serde(default)]
    pub(crate) template: Workload,
    /// This field is accepted and written to `mesh.yaml`, as istioctl does.
    pub(crate) probe: Option<serde_json::Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GroupMetadata {
    #[serde(default)]
    pub(crate) labels: Labels,
    /// This field is accepted and ignored. istioctl reads only one annotation, and the sandbox does not support that
    /// annotation.
    #[serde(default)]
    #[expect(dead_code, reason = "Istio's kind has this field; undeclared fields are rejected as unknown")]
    pub(crate) annotations: Labels,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Gateway {
    pub(crate) spec: GatewaySpec,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GatewaySpec {
    #[serde(default)]
    pub(crate) selector: Labels,
    pub(crate) servers: Vec<GatewayServer>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct GatewayServer {
    pub(crate) port: GatewayPort,
    pub(crate) hosts: Vec<String>,
    pub(crate) tls: Option<GatewayTls>,
    #[serde(default)]
    #[expect(dead_code, reason = "Istio's kind has this field; undeclared fields are rejected as unknown")]
    pub(crate) name: String,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct GatewayPort {
    pub(crate) number: u16,
    #[serde(default)]
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) protocol: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GatewayTls {
    #[serde(default)]
    pub(crate) mode: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct PeerAuthentication {
    #[serde(default)]
    pub(crate) spec: PeerAuthenticationSpec,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct PeerAuthenticationSpec {
    pub(crate) selector: Option<MatchLabels>,
    pub(crate) mtls: Option<MutualTls>,
    pub(crate) port_level_mtls: Option<BTreeMap<u16, MutualTls>>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct MatchLabels {
    pub(crate) match_labels: Labels,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(crate) struct MutualTls {
    #[serde(default)]
    pub(crate) mode: MutualTlsMode,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
pub(crate) enum MutualTlsMode {
    #[default]
    #[serde(rename = "UNSET")]
    Unset,
    #[serde(rename = "DISABLE")]
    Disable,
    #[serde(rename = "PERMISSIVE")]
    Permissive,
    #[serde(rename = "STRICT")]
    Strict,
}
