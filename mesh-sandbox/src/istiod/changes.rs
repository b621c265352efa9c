//! Decides which resources istiod pushes after a change of the mesh: the resources of a host, of a namespace, or
//! everything. The pushes after each kind of change were compared with those of a real istiod.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::host::is_subset;
use crate::model::policy::ROOT_NAMESPACE;
use crate::model::{Endpoint, Mesh, Registry, Resolution, Service};

/// The number of the push in which each object changed last. Each stream compares these numbers with the last push that
/// it sent, so a slow stream misses no change.
#[derive(Clone, Debug, Default)]
pub(crate) struct Changes {
    /// The number of the newest push.
    pub(crate) now: u64,
    /// The push in which the definition or the identities of a service changed last, by host. The change affects CDS
    /// and EDS of the host, and the name table.
    services: BTreeMap<String, u64>,
    /// The push in which only endpoints of a service changed last, by host. The change affects EDS of the host.
    endpoints: BTreeMap<String, u64>,
    /// The push in which PeerAuthentications of a namespace changed last. The change affects CDS and EDS of the
    /// services in the namespace.
    policies: BTreeMap<String, u64>,
    /// The push in which the DestinationRules for a host changed last. The host may be a wildcard. The change affects
    /// CDS and EDS of the services that match the host.
    rules: BTreeMap<String, u64>,
    /// The push in which Sidecars of a namespace changed last. The change affects the xDS clusters and the name table
    /// of the proxies in the namespace.
    scopes: BTreeMap<String, u64>,
    /// The push with the last change of the mesh-wide PeerAuthentication: affects CDS and EDS of all services.
    mesh_policy: u64,
    /// The push with the last change of endpoints of headless services: affects EDS of all services.
    all_endpoints: u64,
    names: u64,
    /// The push with the last change of networks, gateways or the mesh configuration: affects all resources of all
    /// clients.
    forced: u64,
}

impl Changes {
    /// Records the differences between two meshes as part of the next push.
    pub(crate) fn note(&mut self, old: &Mesh, new: &Mesh) {
        let next = self.now + 1;
        let (before, after) = (by_host(old), by_host(new));
        let hosts: BTreeSet<&str> = before.keys().chain(after.keys()).copied().collect();
        for host in hosts {
            let empty = Vec::new();
            let before = before.get(host).unwrap_or(&empty);
            let after = after.get(host).unwrap_or(&empty);
            self.note_host(host, before, after, next);
        }
        for namespace in new.policies.changed(&old.policies) {
            if namespace == ROOT_NAMESPACE {
                self.mesh_policy = next;
            } else {
                self.policies.insert(namespace, next);
            }
        }
        for namespace in new.sidecars.changed(&old.sidecars) {
            self.scopes.insert(namespace, next);
        }
        for host in new.rules.changed(&old.rules) {
            self.rules.insert(host, next);
        }
        if old.config != new.config
            || old.networks != new.networks
            || old.gateways != new.gateways
            || old.unresolved != new.unresolved
        {
            self.forced = next;
        }
    }

    fn note_host(&mut self, host: &str, before: &[&Arc<Service>], after: &[&Arc<Service>], next: u64) {
        let pairs = || before.iter().zip(after);
        let defined_alike =
            before.len() == after.len() && pairs().all(|(old, new)| is_defined_alike(old, new));
        // If a service loses its last endpoint in a Kubernetes cluster, it keeps the identities from that cluster
        // (istio `UpdateServiceEndpoints`).
        let clusters: BTreeSet<&str> =
            after.iter().flat_map(|it| &it.endpoints).map(|it| &*it.cluster).collect();
        let identities = |services: &[&Arc<Service>]| -> Vec<_> {
            let counts = |endpoint: &Endpoint| clusters.contains(&*endpoint.cluster);
            services.iter().map(|it| it.identities_if(counts)).collect()
        };
        let same_endpoints = pairs().all(|(old, new)| are_alike(&old.endpoints, &new.endpoints));
        if defined_alike && same_endpoints {
            return;
        }
        let any = |is: fn(&Service) -> bool| before.iter().chain(after).any(|service| is(service));
        let headless = any(is_headless);
        if !defined_alike || identities(before) != identities(after) || any(Service::is_dns) {
            self.services.insert(host.to_owned(), next);
            self.names = next;
        } else if !headless {
            self.endpoints.insert(host.to_owned(), next);
        }
        if headless && !same_endpoints {
            self.names = next;
            self.all_endpoints = next;
        }
    }

    /// Returns the changes after the push with the number `seen`.
    pub(crate) fn since(&self, seen: u64) -> Since<'_> {
        Since { changes: self, seen }
    }
}

/// The changes that a stream has not pushed yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Since<'a> {
    changes: &'a Changes,
    seen: u64,
}

impl Since<'_> {
    /// Returns whether all resources must be pushed.
    pub(crate) fn is_forced(&self) -> bool {
        self.changes.forced > self.seen
    }

    /// Returns whether the set of services visible to a namespace may have changed.
    pub(crate) fn touches_scope(&self, namespace: &str) -> bool {
        [namespace, ROOT_NAMESPACE].iter().any(|namespace| self.is_newer(&self.changes.scopes, namespace))
    }

    /// Returns whether the name table may have changed.
    pub(crate) fn touches_names(&self) -> bool {
        self.is_forced() || self.changes.names > self.seen
    }

    /// Returns whether any xDS cluster may have changed.
    pub(crate) fn touches_any_cluster(&self) -> bool {
        let changes = self.changes;
        let each = changes.services.values().chain(changes.policies.values()).chain(changes.rules.values());
        let newest = each.max().copied();
        self.is_forced() || changes.mesh_policy.max(newest.unwrap_or_default()) > self.seen
    }

    /// Returns whether the xDS clusters of the service with this host and namespace may have changed.
    pub(crate) fn touches_clusters(&self, host: &str, namespace: Option<&str>) -> bool {
        self.is_forced()
            || self.changes.mesh_policy > self.seen
            || self.is_newer(&self.changes.services, host)
            || self.changes.rules.iter().any(|(rule, number)| *number > self.seen && is_subset(host, rule))
            || namespace.is_some_and(|namespace| self.is_newer(&self.changes.policies, namespace))
    }

    /// Returns whether the endpoints of this host may have changed. `namespace` is `None` for an unknown host, which
    /// every change of a PeerAuthentication affects.
    pub(crate) fn touches_endpoints(&self, host: &str, namespace: Option<&str>) -> bool {
        let policies = &self.changes.policies;
        self.touches_clusters(host, namespace)
            || self.changes.all_endpoints > self.seen
            || self.is_newer(&self.changes.endpoints, host)
            || (namespace.is_none() && policies.values().any(|number| *number > self.seen))
    }

    fn is_newer(&self, numbers: &BTreeMap<String, u64>, key: &str) -> bool {
        numbers.get(key).is_some_and(|number| *number > self.seen)
    }
}

fn by_host(mesh: &Mesh) -> BTreeMap<&str, Vec<&Arc<Service>>> {
    let mut hosts: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    for service in &mesh.services {
        hosts.entry(&service.host).or_default().push(service);
    }
    hosts
}

fn is_headless(service: &Service) -> bool {
    service.registry == Registry::Kubernetes && service.resolution == Resolution::Passthrough
}

fn is_defined_alike(old: &Service, new: &Service) -> bool {
    old.definition() == new.definition()
}

/// Returns whether the endpoints are equal apart from their PeerAuthentication modes. A change of a PeerAuthentication
/// is recorded on its own.
fn are_alike(old: &[Endpoint], new: &[Endpoint]) -> bool {
    old.len() == new.len()
        && old
            .iter()
            .zip(new)
            .all(|(old, new)| old == new || *old == Endpoint { policy: old.policy, ..new.clone() })
}
