//! The Kubernetes kinds. Unknown fields are ignored, because istiod reads only a part of these objects.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The labels or annotations of an object.
pub(crate) type Labels = BTreeMap<String, String>;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Metadata {
    #[serde(default)]
    pub(crate) name: String,
    pub(crate) namespace: Option<String>,
    #[serde(default)]
    pub(crate) labels: Labels,
    #[serde(default)]
    pub(crate) annotations: Labels,
    #[serde(default)]
    pub(crate) creation_timestamp: String,
    #[serde(default)]
    pub(crate) generate_name: String,
    #[serde(default)]
    pub(crate) owner_references: Vec<OwnerReference>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct OwnerReference {
    pub(crate) kind: String,
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) controller: bool,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Service {
    #[serde(default)]
    pub(crate) spec: ServiceSpec,
    #[serde(default)]
    pub(crate) status: ServiceStatus,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ServiceSpec {
    #[serde(rename = "type")]
    pub(crate) kind: Option<String>,
    #[serde(rename = "clusterIP")]
    pub(crate) cluster_ip: Option<String>,
    #[serde(default, rename = "clusterIPs")]
    pub(crate) cluster_ips: Vec<String>,
    #[serde(default, rename = "externalIPs")]
    pub(crate) external_ips: Vec<String>,
    #[serde(default)]
    pub(crate) ports: Vec<ServicePort>,
    #[serde(default)]
    pub(crate) selector: Labels,
    #[serde(default)]
    pub(crate) publish_not_ready_addresses: bool,
    pub(crate) traffic_distribution: Option<String>,
    pub(crate) internal_traffic_policy: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ServicePort {
    #[serde(default)]
    pub(crate) name: String,
    pub(crate) port: u16,
    pub(crate) target_port: Option<TargetPort>,
    pub(crate) app_protocol: Option<String>,
    pub(crate) protocol: Option<String>,
}

/// A port number, or the name of a container port.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum TargetPort {
    Number(u16),
    Name(String),
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ServiceStatus {
    #[serde(default)]
    pub(crate) load_balancer: LoadBalancer,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct LoadBalancer {
    #[serde(default)]
    pub(crate) ingress: Vec<Ingress>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Ingress {
    pub(crate) ip: Option<String>,
    pub(crate) hostname: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Pod {
    #[serde(default)]
    pub(crate) spec: PodSpec,
    #[serde(default)]
    pub(crate) status: PodStatus,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PodSpec {
    pub(crate) service_account_name: Option<String>,
    pub(crate) node_name: Option<String>,
    pub(crate) hostname: Option<String>,
    #[serde(default)]
    pub(crate) subdomain: String,
    #[serde(default)]
    pub(crate) containers: Vec<Container>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Container {
    #[serde(default)]
    pub(crate) ports: Vec<ContainerPort>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ContainerPort {
    #[serde(default)]
    pub(crate) name: String,
    pub(crate) container_port: u16,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PodStatus {
    #[serde(rename = "podIP")]
    pub(crate) pod_ip: Option<String>,
    pub(crate) phase: Option<String>,
    #[serde(default)]
    pub(crate) conditions: Vec<Condition>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Condition {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) status: String,
}

impl Pod {
    /// Returns whether Kubernetes considers the pod ready. A missing condition means not ready.
    pub(crate) fn is_ready(&self) -> bool {
        self.status.conditions.iter().any(|condition| condition.kind == "Ready" && condition.status == "True")
    }

    /// Returns whether the pod runs: a terminated pod is not an endpoint.
    pub(crate) fn is_live(&self) -> bool {
        !matches!(self.status.phase.as_deref(), Some("Succeeded" | "Failed"))
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EndpointSlice {
    #[serde(default)]
    pub(crate) endpoints: Vec<SliceEndpoint>,
    #[serde(default)]
    pub(crate) ports: Vec<SlicePort>,
    #[serde(default)]
    pub(crate) address_type: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SliceEndpoint {
    #[serde(default)]
    pub(crate) addresses: Vec<String>,
    #[serde(default)]
    pub(crate) conditions: SliceConditions,
    pub(crate) target_ref: Option<TargetRef>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct TargetRef {
    pub(crate) kind: String,
    pub(crate) name: String,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct SliceConditions {
    pub(crate) ready: Option<bool>,
    pub(crate) terminating: Option<bool>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct SlicePort {
    #[serde(default)]
    pub(crate) name: String,
    pub(crate) port: u16,
}
