//! A service as istiod models it, from a Kubernetes Service or a ServiceEntry.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};

use super::{Endpoint, Protocol};
use crate::yaml::kubernetes::Labels;

/// A host name with ports and endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Service {
    pub(crate) host: String,
    /// The Kubernetes name; for a `ServiceEntry`, its host.
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) registry: Registry,
    pub(crate) resolution: Resolution,
    /// Whether the service is outside the mesh: it has no mTLS and no gateway.
    pub(crate) is_external: bool,
    pub(crate) publish_not_ready: bool,
    pub(crate) labels: Labels,
    /// The selector of the workloads of the service.
    pub(crate) selector: Labels,
    /// The creation time; empty if unknown.
    pub(crate) created: String,
    pub(crate) ports: Vec<Port>,
    /// The addresses in each cluster; empty for a `ServiceEntry`.
    pub(crate) cluster_vips: BTreeMap<String, Vec<String>>,
    /// The address for proxies in clusters without this service (istio `pilot/pkg/model/service.go`). The value
    /// `0.0.0.0` means that the service has no default address.
    pub(crate) default_address: String,
    pub(crate) auto_v4: Option<Ipv4Addr>,
    pub(crate) auto_v6: Option<Ipv6Addr>,
    pub(crate) export_to: BTreeSet<String>,
    /// SPIFFE IDs that the service lists, in addition to the SPIFFE IDs of its endpoints.
    pub(crate) extra_identities: Vec<String>,
    pub(crate) endpoints: Vec<Endpoint>,
}

/// The registry from which istiod read the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Registry {
    External,
    Kubernetes,
}

impl Registry {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::External => "External",
            Self::Kubernetes => "Kubernetes",
        }
    }
}

/// The method by which clients find the endpoints of a service. It decides the discovery type of the xDS cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resolution {
    /// The xDS cluster has the discovery type EDS.
    ClientSide,
    /// The xDS cluster has the discovery type STRICT_DNS.
    Dns,
    /// The xDS cluster has the discovery type LOGICAL_DNS.
    DnsRoundRobin,
    /// The xDS cluster has the discovery type ORIGINAL_DST. Headless services and the resolution NONE use it.
    Passthrough,
    /// Services of type ExternalName, which have no xDS cluster.
    Alias,
}

/// A port of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Port {
    pub(crate) name: String,
    pub(crate) number: u16,
    pub(crate) protocol: Protocol,
    /// The target port of a `ServiceEntry` with resolution NONE: the port at the original destination. `None` if the
    /// target port equals the service port.
    pub(crate) target: Option<u16>,
}

/// The address that means "no address" (istio `constants.UnspecifiedIP`).
pub(crate) const UNSPECIFIED: &str = "0.0.0.0";

impl Service {
    /// Returns the endpoints of a service port.
    pub(crate) fn endpoints_of<'a>(&'a self, port: &'a Port) -> impl Iterator<Item = &'a Endpoint> {
        self.endpoints.iter().filter(move |endpoint| endpoint.port_name == port.name)
    }

    /// Returns the number of the service port to which an endpoint belongs, or `None` if the service has no such port.
    pub(crate) fn number_of(&self, endpoint: &Endpoint) -> Option<u16> {
        self.ports.iter().find(|port| port.name == endpoint.port_name).map(|port| port.number)
    }

    /// Returns the service without its endpoints, to detect changes of anything else.
    pub(crate) fn definition(&self) -> Self {
        Self { endpoints: Vec::new(), ..self.clone() }
    }

    pub(crate) fn port(&self, number: u16) -> Option<&Port> {
        self.ports.iter().find(|port| port.number == number)
    }

    pub(crate) fn is_dns(&self) -> bool {
        matches!(self.resolution, Resolution::Dns | Resolution::DnsRoundRobin)
    }

    /// Returns whether `exportTo` is empty or contains `*`.
    pub(crate) fn is_public(&self) -> bool {
        self.export_to.is_empty() || self.export_to.contains("*")
    }

    /// Returns whether `exportTo` includes the namespace: empty or `*` means all, `.` means the namespace of the
    /// service, `~` means none, also next to other values (istio `pilot/pkg/model/push_context.go`).
    pub(crate) fn is_visible_to(&self, namespace: &str) -> bool {
        self.is_public()
            || (!self.export_to.contains("~")
                && (self.export_to.contains(namespace)
                    || (self.export_to.contains(".") && self.namespace == namespace)))
    }

    /// Returns whether clients use only the endpoints in the same Kubernetes cluster (istio `cluster_local.go`).
    pub(crate) fn is_cluster_local(&self) -> bool {
        self.host.ends_with(".kube-system.svc.cluster.local")
            || self.host == "kubernetes.default.svc.cluster.local"
    }

    /// Returns the identities that may serve the service, sorted: the union over ports and clusters (istio
    /// `pilot/pkg/model/push_context.go`).
    pub(crate) fn identities(&self) -> Vec<String> {
        self.identities_if(|_| true)
    }

    /// Returns the identities as [`Self::identities`] does, but only of the endpoints that `counts` accepts.
    pub(crate) fn identities_if(&self, counts: impl Fn(&Endpoint) -> bool) -> Vec<String> {
        let of_endpoints =
            self.endpoints.iter().filter(|it| counts(it)).filter_map(|it| it.identity.as_ref());
        let all: BTreeSet<_> = of_endpoints.chain(&self.extra_identities).collect();
        all.into_iter().cloned().collect()
    }
}
