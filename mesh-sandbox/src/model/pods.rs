//! The properties of workloads that istiod reads from their pods.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::endpoint::{TLS_MODE_DISABLED, TLS_MODE_LABEL, is_ambient};
use super::{each, selects};
use crate::pki::spiffe;
use crate::yaml::kubernetes::{Labels, Pod, TargetPort};
use crate::yaml::{Key, Manifest, Object};

/// The pods of one cluster.
#[derive(Debug)]
pub(crate) struct Pods<'a> {
    pods: Vec<(&'a Manifest, &'a Arc<Pod>)>,
    by_address: HashMap<&'a str, usize>,
    by_name: HashMap<&'a str, BTreeMap<&'a str, usize>>,
    nodes: BTreeMap<&'a str, &'a Labels>,
}

/// The properties that an endpoint takes from its pod.
#[derive(Clone, Debug)]
pub(crate) struct PodFacts {
    pub(crate) pod: String,
    pub(crate) workload: String,
    pub(crate) identity: Option<String>,
    pub(crate) tls_mode: String,
    /// Whether the pod is in ambient mode.
    pub(crate) is_ambient: bool,
    pub(crate) locality: String,
    pub(crate) node: String,
    pub(crate) labels: Labels,
    pub(crate) hostname: String,
    pub(crate) subdomain: String,
    pub(crate) namespace: String,
}

impl<'a> Pods<'a> {
    pub(crate) fn read(objects: &'a BTreeMap<Key, Manifest>) -> Self {
        let pods = each(objects, |object| match object {
            Object::Pod(pod) => Some(pod),
            _ => None,
        });
        let nodes = objects.values().filter(|manifest| matches!(manifest.object, Object::Node));
        let mut all = Self {
            pods: pods.collect(),
            by_address: HashMap::new(),
            by_name: HashMap::new(),
            nodes: nodes.map(|node| (node.key.name.as_str(), node.labels())).collect(),
        };
        for (index, (manifest, pod)) in all.pods.iter().enumerate() {
            let Key { namespace, name, .. } = &manifest.key;
            // istiod finds only ready pods by address (istio `kube/controller/pod.go`, `onEvent`).
            if let Some(address) = pod.status.pod_ip.as_deref().filter(|_| pod.is_ready() && pod.is_live()) {
                all.by_address.entry(address).or_insert(index);
            }
            all.by_name.entry(namespace).or_default().insert(name, index);
        }
        all
    }

    /// Returns the live pods of a namespace that a selector matches. An empty selector matches no pod.
    pub(crate) fn selected(
        &self,
        namespace: &str,
        selector: &Labels,
    ) -> impl Iterator<Item = (&'a Manifest, &'a Arc<Pod>)> {
        let of_namespace = self.by_name.get(namespace).into_iter().flatten();
        of_namespace.map(|(_, index)| self.pods[*index]).filter(move |(manifest, pod)| {
            !selector.is_empty() && pod.is_live() && selects(selector, manifest.labels())
        })
    }

    /// Returns the properties of the ready pod with this address in a namespace, or `None` if there is no such pod.
    pub(crate) fn at(&self, namespace: &str, address: &str, trust_domain: &str) -> Option<PodFacts> {
        let (manifest, pod) = self.pods[*self.by_address.get(address)?];
        (manifest.key.namespace == namespace).then(|| self.facts(manifest, pod, trust_domain))
    }

    /// Returns the properties of the pod with this name, or `None` if there is no such pod.
    pub(crate) fn named(&self, namespace: &str, name: &str, trust_domain: &str) -> Option<PodFacts> {
        let (manifest, pod) = self.pods[*self.by_name.get(namespace)?.get(name)?];
        Some(self.facts(manifest, pod, trust_domain))
    }

    /// Reads the properties of a pod (istio `kube/controller/endpoint_builder.go`).
    pub(crate) fn facts(&self, manifest: &Manifest, pod: &Pod, trust_domain: &str) -> PodFacts {
        let namespace = manifest.key.namespace.clone();
        let account = pod.spec.service_account_name.as_deref().unwrap_or("default");
        let hostname = match (&pod.spec.hostname, pod.spec.subdomain.as_str()) {
            (_, "") => String::new(),
            (Some(hostname), _) if !hostname.is_empty() => hostname.clone(),
            _ => manifest.key.name.clone(),
        };
        PodFacts {
            pod: manifest.key.name.clone(),
            workload: workload_name(manifest),
            identity: Some(spiffe::identity(trust_domain, &namespace, account)),
            tls_mode: manifest
                .labels()
                .get(TLS_MODE_LABEL)
                .map_or(TLS_MODE_DISABLED, String::as_str)
                .to_owned(),
            is_ambient: is_ambient(&manifest.metadata.annotations),
            locality: self.locality(manifest, pod),
            node: pod.spec.node_name.clone().unwrap_or_default(),
            labels: manifest.labels().clone(),
            hostname,
            subdomain: pod.spec.subdomain.clone(),
            namespace,
        }
    }

    fn locality(&self, manifest: &Manifest, pod: &Pod) -> String {
        if let Some(locality) = labelled_locality(manifest.labels()) {
            return locality;
        }
        let Some(labels) = pod.spec.node_name.as_deref().and_then(|node| self.nodes.get(node)) else {
            return String::new();
        };
        let part = |keys: [&str; 2]| keys.iter().find_map(|key| labels.get(*key)).map_or("", String::as_str);
        let region = part(["topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/region"]);
        let zone = part(["topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone"]);
        let subzone = part(["topology.istio.io/subzone"; 2]);
        match (region, zone, subzone) {
            ("", "", "") => String::new(),
            (region, zone, subzone) => format!("{region}/{zone}/{subzone}"),
        }
    }
}

impl PodFacts {
    /// Returns the properties of an endpoint without a pod. istiod knows nothing about it, and assumes that it has no
    /// sidecar (istio `pilot/pkg/model/service.go`).
    pub(crate) fn unknown() -> Self {
        Self {
            pod: String::new(),
            workload: String::new(),
            identity: None,
            tls_mode: TLS_MODE_DISABLED.to_owned(),
            is_ambient: false,
            locality: String::new(),
            node: String::new(),
            labels: Labels::new(),
            hostname: String::new(),
            subdomain: String::new(),
            namespace: String::new(),
        }
    }
}

/// Returns the locality in the labels, or `None` if no label contains one. Label values cannot contain a slash, so dots
/// separate the parts of the locality (istio `pkg/model/proxy.go:441`).
pub(crate) fn labelled_locality(labels: &Labels) -> Option<String> {
    let label = labels.get("topology.istio.io/locality").or_else(|| labels.get("istio-locality"))?;
    let sane = if label.contains('/') { label.clone() } else { label.replace('.', "/") };
    (!sane.is_empty()).then_some(sane)
}

/// Returns the number of a target port, which may be given by the name of a container port. Returns `None` if the pod
/// has no container port with that name.
pub(crate) fn target_port(target: Option<&TargetPort>, service_port: u16, pod: &Pod) -> Option<u16> {
    match target {
        None => Some(service_port),
        Some(TargetPort::Number(0)) => Some(service_port),
        Some(TargetPort::Number(number)) => Some(*number),
        Some(TargetPort::Name(name)) => pod
            .spec
            .containers
            .iter()
            .flat_map(|container| &container.ports)
            .find(|port| port.name == *name)
            .map(|port| port.container_port),
    }
}

/// Returns the name of the pod's owner, for example its deployment (istio `pkg/kube/util.go:265`).
fn workload_name(manifest: &Manifest) -> String {
    if let Some(name) = manifest.labels().get("service.istio.io/workload-name") {
        return name.clone();
    }
    let metadata = &manifest.metadata;
    let owner = metadata.owner_references.iter().find(|owner| owner.controller);
    let Some(owner) = owner.filter(|_| !metadata.generate_name.is_empty()) else {
        return manifest.key.name.clone();
    };
    let label = |key: &str| manifest.labels().get(key).map(String::as_str);
    let name = match owner.kind.as_str() {
        "ReplicaSet" => ["pod-template-hash", "rollouts-pod-template-hash"]
            .into_iter()
            .filter_map(label)
            .find_map(|hash| owner.name.strip_suffix(hash)?.strip_suffix('-')),
        "ReplicationController" => label("deploymentconfig"),
        // The name of a job of a cron job ends with a timestamp.
        "Job" => owner
            .name
            .rsplit_once('-')
            .filter(|(_, time)| (8..=10).contains(&time.len()) && time.bytes().all(|it| it.is_ascii_digit()))
            .map(|(name, _)| name),
        _ => None,
    };
    name.unwrap_or(&owner.name).to_owned()
}
