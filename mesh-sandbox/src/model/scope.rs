//! The services visible to a proxy: the services that are exported to the namespace of the proxy, and whose hosts its
//! `Sidecar` imports. Each host is imported from only one namespace (istio `pilot/pkg/model/sidecar.go`).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;

use super::rules::{self, Rule, Rules};
use super::sidecar::Listener;
use super::{Mesh, Registry, Service};
use crate::yaml::kubernetes::Labels;

/// The services visible to a proxy.
#[derive(Debug, Default)]
pub(crate) struct Scope {
    /// The services that the egress listeners of the `Sidecar` import, from which the name table is built. Several
    /// services may have the same host.
    pub(crate) listed: Vec<Arc<Service>>,
    /// One service per host, from which clusters and endpoints are built.
    pub(crate) services: Vec<Arc<Service>>,
    by_host: HashMap<String, usize>,
    /// The namespace of the proxy.
    namespace: String,
    rules: HashMap<String, Vec<Arc<Rule>>>,
}

/// A cache of the services visible to proxies, by namespace and `Sidecar`, as in istiod.
#[derive(Debug, Default)]
pub(crate) struct Scopes(Mutex<BTreeMap<ScopeKey, Arc<Scope>>>);

/// The namespace of a proxy, the index of its `Sidecar` (`None` without one), and the kind of proxy.
type ScopeKey = (String, Option<usize>, Viewer);

/// The kind of proxy for which the visible services are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Viewer {
    Workload,
    /// A gateway. It has no name table, and every service exported to its namespace is visible to it.
    Gateway,
}

impl Scope {
    /// Returns the service with this host name.
    pub(crate) fn service(&self, host: &str) -> Option<&Arc<Service>> {
        self.by_host.get(host).and_then(|index| self.services.get(*index))
    }

    /// Returns the DestinationRule for a host that applies to a workload with these labels, or `None` if there is none.
    pub(crate) fn rule(&self, host: &str, labels: &Labels) -> Option<&Rule> {
        rules::choose(self.rules.get(host)?, &self.namespace, labels)
    }

    fn with_rules(mut self, rules: &Rules) -> Self {
        let each = self.services.iter();
        let found = each.map(|service| (service.host.clone(), rules.of(&self.namespace, service)));
        self.rules = found.filter(|(_, rules)| !rules.is_empty()).collect();
        self
    }

    /// Adds a service. If a Kubernetes service and a service entry have the same host, only the Kubernetes service
    /// remains. Ports of other services with the same host are merged if Istio allows it (istio
    /// `appendSidecarServices`).
    fn add(&mut self, service: &Arc<Service>) {
        let Some(index) = self.by_host.get(&service.host).copied() else {
            self.by_host.insert(service.host.clone(), self.services.len());
            self.services.push(service.clone());
            return;
        };
        let known = &mut self.services[index];
        let is_kubernetes = |service: &Service| service.registry == Registry::Kubernetes;
        match (is_kubernetes(known), is_kubernetes(service)) {
            (true, false) => {}
            (false, true) => *known = service.clone(),
            _ if known.ports != service.ports && can_merge(known, service) => {
                let new = service.ports.iter().filter(|port| known.port(port.number).is_none());
                let ports = known.ports.iter().chain(new).cloned().collect();
                *known = Arc::new(Service { ports, ..Service::clone(known) });
            }
            _ => {}
        }
    }
}

fn can_merge(one: &Service, other: &Service) -> bool {
    one.namespace == other.namespace
        && one.resolution == other.resolution
        && one.labels == other.labels
        && one.selector == other.selector
        && one.export_to == other.export_to
}

impl Mesh {
    /// Returns the services visible to a proxy.
    pub(crate) fn scope(&self, viewer: Viewer, namespace: &str, labels: &Labels) -> Arc<Scope> {
        let sidecar = self.sidecars.of(namespace, labels).filter(|_| viewer == Viewer::Workload);
        let key = (namespace.to_owned(), sidecar.map(|(index, _)| index), viewer);
        let mut scopes = self.scopes.0.lock();
        let scope = scopes.entry(key).or_insert_with(|| {
            let mut scope = Scope { namespace: namespace.to_owned(), ..Scope::default() };
            let exported = exported(&self.services, namespace);
            if viewer == Viewer::Gateway {
                exported.iter().for_each(|service| scope.add(service));
                return Arc::new(scope.with_rules(&self.rules));
            }
            let everything = || vec![Listener::everything()];
            for listener in sidecar.map_or_else(everything, |(_, sidecar)| sidecar.listeners(namespace)) {
                for service in imported(&listener, &exported, namespace) {
                    scope.add(&service);
                    scope.listed.push(service);
                }
            }
            Arc::new(scope.with_rules(&self.rules))
        });
        scope.clone()
    }
}

/// Returns the services that are exported to a namespace: first the services that are exported to this namespace by
/// name, then the services that are exported to all namespaces.
fn exported<'a>(services: &'a [Arc<Service>], namespace: &str) -> Vec<&'a Arc<Service>> {
    let visible = services.iter().filter(|service| service.is_visible_to(namespace));
    let (public, private): (Vec<_>, Vec<_>) = visible.partition(|service| service.is_public());
    private.into_iter().chain(public).collect()
}

/// Returns the services that a listener imports, each host from one namespace. If several namespaces have the host, the
/// namespace of the proxy is chosen first, then the namespace of a Kubernetes service, then the first namespace in the
/// list (istio `selectServices`).
fn imported(listener: &Listener<'_>, exported: &[&Arc<Service>], own: &str) -> Vec<Arc<Service>> {
    let mut all: Vec<Arc<Service>> = exported.iter().filter_map(|service| listener.import(service)).collect();
    let mut chosen: HashMap<String, (String, bool)> = HashMap::new();
    for service in &all {
        let new = (service.namespace.clone(), service.registry == Registry::Kubernetes);
        match chosen.get(&service.host) {
            Some((namespace, is_kubernetes)) => {
                let better = new.0 == own || (!is_kubernetes && new.1 && namespace != own);
                if better {
                    chosen.insert(service.host.clone(), new);
                }
            }
            None => {
                chosen.insert(service.host.clone(), new);
            }
        }
    }
    all.retain(|service| chosen.get(&service.host).is_some_and(|(home, _)| *home == service.namespace));
    all
}
