//! `Sidecar` objects: the hosts visible to a namespace or a workload (istio `pilot/pkg/model/sidecar.go`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::host::is_subset;
use super::policy::ROOT_NAMESPACE;
use super::{Port, Protocol, Service, each, selects};
use crate::yaml::kubernetes::Labels;
use crate::yaml::{Key, Manifest, Object, istio};

/// All `Sidecar` objects: first the objects with a selector, then the objects without one, each group from oldest to
/// newest. The first object that matches a workload applies.
#[derive(Debug, Default)]
pub(crate) struct Sidecars(Vec<Sidecar>);

/// A `Sidecar` object.
#[derive(Debug)]
pub(crate) struct Sidecar {
    namespace: String,
    object: Arc<istio::Sidecar>,
}

/// An egress listener of a `Sidecar`, for proxies of one namespace.
#[derive(Debug)]
pub(crate) struct Listener<'a> {
    /// If set, the listener imports only services that have this port, and imports no other port of these services.
    port: Option<u16>,
    /// The hosts that the listener imports. An entry consists of the namespace (`*` for all), the host, and whether the
    /// entry excludes the host.
    hosts: Vec<(&'a str, &'a str, bool)>,
}

impl Sidecars {
    pub(crate) fn read(objects: &BTreeMap<Key, Manifest>) -> Self {
        let found = each(objects, |object| match object {
            Object::Sidecar(sidecar) => Some(sidecar),
            _ => None,
        });
        let mut all: Vec<_> = found
            .map(|(manifest, object)| {
                let order = (object.spec.workload_selector.is_none(), manifest.age());
                let namespace = manifest.key.namespace.clone();
                (order, Sidecar { namespace, object: object.clone() })
            })
            .collect();
        all.sort_by(|(a, _), (b, _)| a.cmp(b));
        Self(all.into_iter().map(|(_, sidecar)| sidecar).collect())
    }

    /// Returns the namespaces whose `Sidecar` objects differ from the objects in `other`.
    pub(crate) fn changed(&self, other: &Self) -> BTreeSet<String> {
        let of = |sidecars: &Self, namespace: &str| -> Vec<_> {
            let own = sidecars.0.iter().filter(|sidecar| sidecar.namespace == namespace);
            own.map(|sidecar| sidecar.object.spec.clone()).collect()
        };
        let homes = self.0.iter().chain(&other.0).map(|sidecar| &sidecar.namespace);
        homes.filter(|home| of(self, home) != of(other, home)).cloned().collect()
    }

    /// Returns the `Sidecar` for a workload, with its index: the first object in the namespace of the workload that
    /// applies to the workload. If there is none, returns the first object without a selector in the root namespace.
    pub(crate) fn of(&self, namespace: &str, labels: &Labels) -> Option<(usize, &Sidecar)> {
        let selector =
            |sidecar: &Sidecar| sidecar.object.spec.workload_selector.as_ref().map(|it| it.labels.clone());
        let own = self.0.iter().enumerate().find(|(_, sidecar)| {
            sidecar.namespace == namespace
                && selector(sidecar).is_none_or(|selector| selects(&selector, labels))
        });
        own.or_else(|| {
            self.0
                .iter()
                .enumerate()
                .find(|(_, sidecar)| sidecar.namespace == ROOT_NAMESPACE && selector(sidecar).is_none())
        })
    }
}

impl Sidecar {
    /// Returns the egress listeners. For a `Sidecar` without egress listeners, returns one listener that imports all
    /// services.
    pub(crate) fn listeners<'a>(&'a self, namespace: &'a str) -> Vec<Listener<'a>> {
        let egress = &self.object.spec.egress;
        if egress.is_empty() {
            return vec![Listener::everything()];
        }
        egress.iter().map(|egress| Listener::of(egress, namespace)).collect()
    }
}

impl<'a> Listener<'a> {
    pub(crate) fn everything() -> Self {
        Self { port: None, hosts: vec![("*", "*", false)] }
    }

    fn of(egress: &'a istio::Egress, own: &'a str) -> Self {
        let hosts = egress.hosts.iter().filter_map(|host| host.split_once('/')).map(|(namespace, host)| {
            let (namespace, excludes) = match namespace.strip_prefix('~') {
                Some("") => ("*", true),
                Some(namespace) => (namespace, true),
                None => (namespace, false),
            };
            (if namespace == "." { own } else { namespace }, host, excludes)
        });
        // The port of a listener with protocol HTTP_PROXY does not limit the service ports.
        let port = egress.port.as_ref().filter(|port| Protocol::parse(&port.protocol) != Protocol::HttpProxy);
        Self { port: port.map(|port| port.number).filter(|number| *number > 0), hosts: hosts.collect() }
    }

    /// Returns the service as the listener imports it. If the listener has a port, the returned service has only this
    /// port. Returns `None` if the listener does not import the service.
    pub(crate) fn import(&self, service: &Arc<Service>) -> Option<Arc<Service>> {
        let concerns = |namespace: &str| namespace == "*" || namespace == service.namespace;
        let mut listed = self.hosts.iter().filter(|(namespace, ..)| concerns(namespace));
        if listed.clone().any(|(_, host, excludes)| *excludes && is_subset(&service.host, host)) {
            return None;
        }
        listed.find(|(_, host, excludes)| !excludes && is_subset(&service.host, host))?;
        let Some(number) = self.port else { return Some(service.clone()) };
        let port: &Port = service.port(number)?;
        let ports = vec![port.clone()];
        Some(if service.ports == ports {
            service.clone()
        } else {
            Arc::new(Service { ports, ..Service::clone(service) })
        })
    }
}
