//! Service entries: hosts that are not Kubernetes services (istio `serviceentry/conversion.go`).

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::endpoint::{
    Endpoint, Health, TLS_MODE_DISABLED, TLS_MODE_ISTIO, TLS_MODE_LABEL, has_tunnel_label,
};
use super::pods::labelled_locality;
use super::policy::Policies;
use super::service::UNSPECIFIED;
use super::vip::Owner;
use super::{Port, Protocol, Registry, Resolution, Service, VipAllocator, selects, topology};
use crate::error::Result;
use crate::pki::spiffe;
use crate::yaml::Manifest;
use crate::yaml::istio::{self, Location, ServiceEntry, Workload};
use crate::yaml::kubernetes::Labels;

/// The cluster, namespace, name and trust domain of an endpoint.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Home<'a> {
    pub(crate) cluster: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
    pub(crate) trust_domain: &'a str,
}

/// The context for reading service entries.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    pub(crate) cluster: &'a str,
    pub(crate) trust_domain: &'a str,
    pub(crate) policies: &'a Policies,
    pub(crate) entries: &'a [(&'a Manifest, &'a Workload)],
    /// The pods of all clusters as endpoints without ports, from which a `workloadSelector` selects.
    pub(crate) pods: &'a [Endpoint],
}

impl Reader<'_> {
    /// Returns the services of a `ServiceEntry`: one per host and address.
    pub(crate) fn services(
        &self,
        manifest: &Manifest,
        entry: &ServiceEntry,
        vips: &mut VipAllocator,
        live: &mut BTreeSet<Owner>,
    ) -> Result<Vec<Service>> {
        let spec = &entry.spec;
        let mut services = Vec::new();
        for host in &spec.hosts {
            let endpoints = self.endpoints(manifest, entry, host);
            let (auto_v4, auto_v6) = automatic(manifest, entry, host, vips, live)?;
            let defaults = default_addresses(spec);
            for default_address in defaults {
                services.push(Service {
                    host: host.clone(),
                    name: host.clone(),
                    namespace: manifest.key.namespace.clone(),
                    registry: Registry::External,
                    resolution: resolution(spec.resolution),
                    is_external: spec.location == Location::External,
                    publish_not_ready: false,
                    labels: manifest.labels().clone(),
                    selector: spec.workload_selector.as_ref().map(|it| it.labels.clone()).unwrap_or_default(),
                    created: manifest.metadata.creation_timestamp.clone(),
                    ports: spec.ports.iter().map(|it| port(it, resolution(spec.resolution))).collect(),
                    cluster_vips: BTreeMap::new(),
                    default_address,
                    auto_v4,
                    auto_v6,
                    export_to: spec.export_to.iter().cloned().collect(),
                    extra_identities: spec.subject_alt_names.clone(),
                    endpoints: endpoints.clone(),
                });
            }
        }
        Ok(services)
    }

    fn endpoints(&self, manifest: &Manifest, entry: &ServiceEntry, host: &str) -> Vec<Endpoint> {
        let spec = &entry.spec;
        let dns = matches!(resolution(spec.resolution), Resolution::Dns | Resolution::DnsRoundRobin);
        if dns && spec.endpoints.is_empty() && spec.workload_selector.is_none() {
            return self.of_host(manifest, spec, host);
        }
        let mut endpoints = Vec::new();
        for (index, workload) in spec.endpoints.iter().enumerate() {
            let name = format!("{}-{index}", manifest.key.name);
            let home = self.home(&manifest.key.namespace, &name);
            let template = endpoint(workload, &workload.labels, home, self.policies);
            for port in &spec.ports {
                endpoints.push(self.of_workload(workload, &template, port));
            }
        }
        if let Some(selector) = &spec.workload_selector {
            self.selected(manifest, spec, &selector.labels, &mut endpoints);
        }
        endpoints
    }

    /// Returns the endpoints of a `ServiceEntry` with DNS resolution that lists no endpoints: its host is the endpoint.
    fn of_host(&self, manifest: &Manifest, spec: &istio::ServiceEntrySpec, host: &str) -> Vec<Endpoint> {
        let workload = Workload { address: host.to_owned(), ..Workload::default() };
        let home = self.home(&manifest.key.namespace, &manifest.key.name);
        let template = endpoint(&workload, &Labels::new(), home, self.policies);
        spec.ports.iter().map(|port| self.of_workload(&workload, &template, port)).collect()
    }

    fn selected(
        &self,
        manifest: &Manifest,
        spec: &istio::ServiceEntrySpec,
        selector: &Labels,
        endpoints: &mut Vec<Endpoint>,
    ) {
        for (entry, workload) in self.entries {
            let labels = labels(entry, workload);
            if entry.key.namespace == manifest.key.namespace && selects(selector, &labels) {
                let home = self.home(&entry.key.namespace, &entry.key.name);
                let template = endpoint(workload, &labels, home, self.policies);
                for port in &spec.ports {
                    endpoints.push(self.of_workload(workload, &template, port));
                }
            }
        }
        let none = Workload::default();
        for pod in self.pods {
            if pod.namespace == manifest.key.namespace && selects(selector, &pod.labels) {
                for port in &spec.ports {
                    endpoints.push(self.of_workload(&none, pod, port));
                }
            }
        }
    }

    /// Returns the endpoint of a workload for a service port. The endpoint listens on the port that the workload sets
    /// for the name of the service port. If the workload sets no such port, the endpoint listens on the target port. If
    /// there is no target port, it listens on the service port.
    fn of_workload(&self, workload: &Workload, template: &Endpoint, port: &istio::EntryPort) -> Endpoint {
        let own = workload.ports.get(&port.name).copied().filter(|number| *number > 0);
        let number = own.or(port.target_port).unwrap_or(port.number);
        let policy = self.policies.mode(&template.namespace, &template.labels, number);
        Endpoint { port: number, port_name: port.name.clone(), policy, ..template.clone() }
    }

    fn home<'a>(&'a self, namespace: &'a str, name: &'a str) -> Home<'a> {
        Home { cluster: self.cluster, namespace, name, trust_domain: self.trust_domain }
    }
}

/// Returns the labels of a workload entry. Labels in the metadata of the object override labels in its spec.
pub(crate) fn labels(manifest: &Manifest, workload: &Workload) -> Labels {
    let mut labels = workload.labels.clone();
    labels.extend(manifest.labels().clone());
    labels
}

/// Converts a workload entry to an endpoint. The caller sets port and port name.
pub(crate) fn endpoint(
    workload: &Workload,
    labels: &Labels,
    home: Home<'_>,
    policies: &Policies,
) -> Endpoint {
    let account = Some(workload.service_account.as_str()).filter(|account| !account.is_empty());
    let inferred = if account.is_some() { TLS_MODE_ISTIO } else { TLS_MODE_DISABLED };
    let tls_mode = labels.get(TLS_MODE_LABEL).map_or(inferred, String::as_str);
    let locality = match workload.locality.as_str() {
        "" => labelled_locality(labels).unwrap_or_default(),
        locality => locality.to_owned(),
    };
    Endpoint {
        address: workload.address.clone(),
        port: 0,
        port_name: String::new(),
        network: workload.network.clone(),
        cluster: home.cluster.to_owned(),
        weight: workload.weight.max(1),
        tls_mode: tls_mode.to_owned(),
        accepts_hbone: has_tunnel_label(labels),
        policy: policies.mode(home.namespace, labels, 0),
        identity: account.map(|account| spiffe::identity(home.trust_domain, home.namespace, account)),
        workload: home.name.to_owned(),
        pod: home.name.to_owned(),
        namespace: home.namespace.to_owned(),
        labels: topology::augmented(labels, home.cluster, &locality, "", &workload.network),
        locality,
        health: Health::Unknown,
        hostname: String::new(),
        subdomain: String::new(),
    }
}

fn port(port: &istio::EntryPort, resolution: Resolution) -> Port {
    Port {
        name: port.name.clone(),
        number: port.number,
        protocol: Protocol::parse(&port.protocol),
        target: port.target_port.filter(|target| *target != 0 && resolution == Resolution::Passthrough),
    }
}

fn resolution(resolution: istio::Resolution) -> Resolution {
    match resolution {
        istio::Resolution::None => Resolution::Passthrough,
        istio::Resolution::Static => Resolution::ClientSide,
        istio::Resolution::Dns => Resolution::Dns,
        istio::Resolution::DnsRoundRobin => Resolution::DnsRoundRobin,
    }
}

/// Returns the addresses of a `ServiceEntry`. The suffixes `/32` and `/128` are removed. If the entry has no addresses,
/// returns `0.0.0.0`.
fn default_addresses(spec: &istio::ServiceEntrySpec) -> Vec<String> {
    if spec.addresses.is_empty() {
        return vec![UNSPECIFIED.to_owned()];
    }
    let plain = |address: &String| match address.split_once('/') {
        Some((address, "32")) if address.contains('.') => address.to_owned(),
        Some((address, "128")) => address.to_owned(),
        _ => address.clone(),
    };
    spec.addresses.iter().map(plain).collect()
}

/// Returns the virtual IPs that Istio allocates for the entry, or `(None, None)` if it allocates none (istio
/// `pilot/pkg/controllers/ipallocate/ipallocate.go`).
fn automatic(
    manifest: &Manifest,
    entry: &ServiceEntry,
    host: &str,
    vips: &mut VipAllocator,
    live: &mut BTreeSet<Owner>,
) -> Result<(Option<Ipv4Addr>, Option<Ipv6Addr>)> {
    let spec = &entry.spec;
    for address in spec.addresses.iter().filter_map(|address| address.parse().ok()) {
        vips.reserve(address);
    }
    let opted_out = manifest
        .labels()
        .get("networking.istio.io/enable-autoallocate-ip")
        .is_some_and(|value| value.eq_ignore_ascii_case("false"));
    let qualifies = spec.addresses.is_empty() && spec.resolution != istio::Resolution::None && !opted_out;
    if !qualifies {
        return Ok((None, None));
    }
    let written: Vec<IpAddr> = entry
        .status
        .addresses
        .iter()
        .filter(|address| address.host == host)
        .filter_map(|address| address.value.parse().ok())
        .collect();
    if !written.is_empty() {
        written.iter().for_each(|address| vips.reserve(*address));
        let v4 =
            written.iter().find_map(|address| if let IpAddr::V4(it) = address { Some(*it) } else { None });
        let v6 =
            written.iter().find_map(|address| if let IpAddr::V6(it) = address { Some(*it) } else { None });
        return Ok((v4, v6));
    }
    if host.starts_with('*') {
        return Ok((None, None));
    }
    let owner = Owner {
        namespace: manifest.key.namespace.clone(),
        entry: manifest.key.name.clone(),
        host: host.to_owned(),
    };
    let addresses = vips.assign(&owner);
    live.insert(owner);
    let (v4, v6) = addresses.ok_or_else(|| manifest.invalid("240.240.0.0/16 has no free address left"))?;
    Ok((Some(v4), Some(v6)))
}
