//! The services and endpoints of one Kubernetes cluster.

use std::collections::{BTreeMap, BTreeSet};

use super::endpoint::{Endpoint, Health, has_tunnel_label};
use super::entry;
use super::pods::{PodFacts, Pods, target_port};
use super::policy::Policies;
use super::service::UNSPECIFIED;
use super::slices::Slices;
use super::{Networks, Port, Protocol, Registry, Resolution, Service, each, selects, topology};
use crate::pki::spiffe;
use crate::yaml::istio::Workload;
use crate::yaml::kubernetes::{self, EndpointSlice};
use crate::yaml::{Key, Manifest, Object};

/// One Kubernetes cluster, and the context for reading its services.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cluster<'a> {
    pub(crate) id: &'a str,
    /// Whether this is the config cluster. istiod sees the ambient pods of this cluster only, unless ambient mode for
    /// several networks is enabled.
    pub(crate) is_config: bool,
    pub(crate) networks: &'a Networks,
    pub(crate) trust_domain: &'a str,
    pub(crate) objects: &'a BTreeMap<Key, Manifest>,
    pub(crate) pods: &'a Pods<'a>,
    pub(crate) slices: &'a Slices<'a>,
    pub(crate) policies: &'a Policies,
    /// The workload entries, which selectors of Kubernetes services also match. The slice is empty unless this is the
    /// config cluster.
    pub(crate) entries: &'a [(&'a Manifest, &'a Workload)],
}

impl Cluster<'_> {
    /// Returns all services. A service of type ExternalName has no entry in the name table and no xDS cluster, but its
    /// host is not available to other services.
    pub(crate) fn services(&self) -> Vec<Service> {
        each(self.objects, |object| match object {
            Object::Service(service) => Some(service),
            _ => None,
        })
        .map(|(manifest, service)| self.service(manifest, service))
        .collect()
    }

    /// Returns all ready pods as endpoints without a port, from which a `workloadSelector` selects (istio
    /// `kube/controller/pod.go:163`).
    pub(crate) fn pod_endpoints(&self) -> Vec<Endpoint> {
        let pods = each(self.objects, |object| match object {
            Object::Pod(pod) => Some(pod),
            _ => None,
        });
        pods.filter(|(_, pod)| pod.is_live() && pod.is_ready())
            .filter_map(|(manifest, pod)| {
                let facts = self.pods.facts(manifest, pod, self.trust_domain);
                Some(self.endpoint(pod.status.pod_ip.as_deref()?, 0, "", Health::Healthy, &facts))
            })
            .collect()
    }

    fn service(&self, manifest: &Manifest, service: &kubernetes::Service) -> Service {
        let Key { namespace, name, .. } = &manifest.key;
        let addresses = addresses(&service.spec);
        let ports = service.spec.ports.iter().map(|port| Port {
            name: port.name.clone(),
            number: port.port,
            protocol: Protocol::of_port(
                port.port,
                &port.name,
                port.protocol.as_deref(),
                port.app_protocol.as_deref(),
            ),
            target: None,
        });
        Service {
            host: format!("{name}.{namespace}.svc.cluster.local"),
            name: name.clone(),
            namespace: namespace.clone(),
            registry: Registry::Kubernetes,
            resolution: resolution(service),
            is_external: resolution(service) == Resolution::Alias,
            publish_not_ready: service.spec.publish_not_ready_addresses,
            labels: manifest.labels().clone(),
            selector: service.spec.selector.clone(),
            created: manifest.metadata.creation_timestamp.clone(),
            ports: ports.collect(),
            default_address: addresses[0].clone(),
            cluster_vips: BTreeMap::from([(self.id.to_owned(), addresses)]),
            auto_v4: None,
            auto_v6: None,
            export_to: words(manifest.metadata.annotations.get("networking.istio.io/exportTo")).collect(),
            extra_identities: self.annotated_identities(manifest),
            endpoints: self.endpoints(manifest, service),
        }
    }

    fn annotated_identities(&self, manifest: &Manifest) -> Vec<String> {
        let annotations = &manifest.metadata.annotations;
        let canonical = words(annotations.get("alpha.istio.io/canonical-serviceaccounts"));
        let accounts = words(annotations.get("alpha.istio.io/kubernetes-serviceaccounts"));
        let accounts =
            accounts.map(|account| spiffe::identity(self.trust_domain, &manifest.key.namespace, &account));
        canonical.chain(accounts).collect()
    }

    /// Returns the endpoints from EndpointSlices. If the service has no slices, returns the endpoints of the pods that
    /// its selector matches, because Kubernetes would write slices for them.
    fn endpoints(&self, manifest: &Manifest, service: &kubernetes::Service) -> Vec<Endpoint> {
        let slices = self.slices.of(&manifest.key.namespace, &manifest.key.name);
        let mut endpoints: Vec<Endpoint> = Vec::new();
        for slice in slices {
            let mut of_slice = Vec::new();
            self.add_slice(manifest, slice, &mut of_slice);
            // A pod that moves from one slice to another is in both for a while (istio `endpointslice.go`).
            of_slice.retain(|new| {
                !endpoints.iter().any(|it| it.address == new.address && it.port_name == new.port_name)
            });
            endpoints.append(&mut of_slice);
        }
        if slices.is_empty() {
            self.add_pods(manifest, service, &mut endpoints);
        }
        // Headless and ExternalName services have no workload entries (istio `collectWorkloadInstanceEndpoints`).
        if resolution(service) == Resolution::ClientSide {
            self.add_workload_entries(manifest, service, &mut endpoints);
        }
        endpoints
    }

    fn add_slice(&self, manifest: &Manifest, slice: &EndpointSlice, endpoints: &mut Vec<Endpoint>) {
        if slice.address_type.as_deref() == Some("FQDN") {
            return; // istiod omits slices of this address type as well
        }
        for member in &slice.endpoints {
            // A missing `terminating` condition counts as terminating (istio `endpointslice.go:264`).
            let health = match (member.conditions.ready, member.conditions.terminating) {
                (None | Some(true), _) => Health::Healthy,
                (Some(false), None | Some(true)) => Health::Terminating,
                (Some(false), Some(false)) => Health::Unhealthy,
            };
            for address in &member.addresses {
                let Some(facts) = self.member_facts(manifest, member, address) else { continue };
                // The ports of the slice are used even if this service has others: the service may have these ports in
                // another cluster.
                for port in &slice.ports {
                    endpoints.push(self.endpoint(address, port.port, &port.name, health, &facts));
                }
            }
        }
    }

    /// Returns the properties of the pod of an endpoint in an EndpointSlice. Returns `None` if the `targetRef` of the
    /// endpoint names a pod that does not exist: istiod omits the endpoint until the pod exists. An endpoint without
    /// `targetRef` needs no pod (istio `kube/controller/endpointslice.go`).
    fn member_facts(
        &self,
        manifest: &Manifest,
        member: &kubernetes::SliceEndpoint,
        address: &str,
    ) -> Option<PodFacts> {
        match &member.target_ref {
            Some(target) if target.kind == "Pod" => {
                self.pods.named(&manifest.key.namespace, &target.name, self.trust_domain)
            }
            _ => Some(
                self.pods
                    .at(&manifest.key.namespace, address, self.trust_domain)
                    .unwrap_or_else(PodFacts::unknown),
            ),
        }
    }

    fn add_pods(&self, manifest: &Manifest, service: &kubernetes::Service, endpoints: &mut Vec<Endpoint>) {
        for (pod_manifest, pod) in self.pods.selected(&manifest.key.namespace, &service.spec.selector) {
            let Some(address) = pod.status.pod_ip.as_deref() else { continue };
            let facts = self.pods.facts(pod_manifest, pod, self.trust_domain);
            let fit = pod.is_ready() || service.spec.publish_not_ready_addresses;
            let health = if fit { Health::Healthy } else { Health::Unhealthy };
            for port in &service.spec.ports {
                if let Some(number) = target_port(port.target_port.as_ref(), port.port, pod) {
                    endpoints.push(self.endpoint(address, number, &port.name, health, &facts));
                }
            }
        }
    }

    fn add_workload_entries(
        &self,
        manifest: &Manifest,
        service: &kubernetes::Service,
        endpoints: &mut Vec<Endpoint>,
    ) {
        for (entry, workload) in self.entries {
            let labels = entry::labels(entry, workload);
            let picked = !service.spec.selector.is_empty()
                && entry.key.namespace == manifest.key.namespace
                && selects(&service.spec.selector, &labels);
            if !picked {
                continue;
            }
            for port in &service.spec.ports {
                // A named target port must be one of the ports of the entry (istio
                // `kube/controller/controller.go:835`).
                let number = match &port.target_port {
                    Some(kubernetes::TargetPort::Name(name)) => workload.ports.get(name).copied(),
                    Some(kubernetes::TargetPort::Number(number)) if *number > 0 => {
                        Some(workload.ports.get(&port.name).copied().unwrap_or(*number))
                    }
                    _ => Some(workload.ports.get(&port.name).copied().unwrap_or(port.port)),
                };
                let Some(number) = number else { continue };
                let home = entry::Home {
                    cluster: self.id,
                    namespace: &entry.key.namespace,
                    name: &entry.key.name,
                    trust_domain: self.trust_domain,
                };
                let mut endpoint = entry::endpoint(workload, &labels, home, self.policies);
                endpoint.port = number;
                endpoint.policy = self.policies.mode(&endpoint.namespace, &labels, number);
                endpoint.port_name.clone_from(&port.name);
                endpoints.push(endpoint);
            }
        }
    }

    fn endpoint(&self, address: &str, port: u16, name: &str, health: Health, facts: &PodFacts) -> Endpoint {
        let network = self.networks.of_endpoint(self.id, &facts.labels, address);
        Endpoint {
            address: address.to_owned(),
            port,
            port_name: name.to_owned(),
            cluster: self.id.to_owned(),
            locality: facts.locality.clone(),
            weight: 1,
            tls_mode: facts.tls_mode.clone(),
            accepts_hbone: (facts.is_ambient && self.is_config) || has_tunnel_label(&facts.labels),
            policy: self.policies.mode(&facts.namespace, &facts.labels, port),
            identity: facts.identity.clone(),
            workload: facts.workload.clone(),
            pod: facts.pod.clone(),
            namespace: facts.namespace.clone(),
            labels: topology::augmented(&facts.labels, self.id, &facts.locality, &facts.node, &network),
            network,
            health,
            hostname: facts.hostname.clone(),
            subdomain: facts.subdomain.clone(),
        }
    }
}

/// Returns the resolution: the method by which clients find the endpoints of the service.
fn resolution(service: &kubernetes::Service) -> Resolution {
    match (service.spec.kind.as_deref(), service.spec.cluster_ip.as_deref()) {
        (Some("ExternalName"), _) => Resolution::Alias,
        (_, Some("None")) => Resolution::Passthrough,
        _ => Resolution::ClientSide,
    }
}

fn addresses(spec: &kubernetes::ServiceSpec) -> Vec<String> {
    match spec.cluster_ip.as_deref() {
        None | Some("" | "None") => vec![UNSPECIFIED.to_owned()],
        Some(_) if spec.cluster_ips.len() > 1 => spec.cluster_ips.clone(),
        Some(address) => vec![address.to_owned()],
    }
}

fn words(value: Option<&String>) -> impl Iterator<Item = String> {
    let words: BTreeSet<_> = value.map_or("", String::as_str).split(',').map(str::trim).collect();
    words.into_iter().filter(|word| !word.is_empty()).map(str::to_owned).collect::<Vec<_>>().into_iter()
}
