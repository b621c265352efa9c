//! A service as istiod models it, whatever it was written as.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};

use super::{Endpoint, Protocol};
use crate::yaml::kubernetes::Labels;

/// A host name with ports and endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Service {
    pub(crate) host: String,
    /// The Kubernetes name; for a `ServiceEntry` the host again.
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) registry: Registry,
    pub(crate) resolution: Resolution,
    /// Outside the mesh: no mTLS, no gateway.
    pub(crate) is_external: bool,
    pub(crate) publish_not_ready: bool,
    pub(crate) labels: Labels,
    /// What its workloads are chosen by.
    pub(crate) selector: Labels,
    /// When it was created; empty where nobody says.
    pub(crate) created: String,
    pub(crate) ports: Vec<Port>,
    /// The addresses in each cluster; empty for a `ServiceEntry`.
    pub(crate) cluster_vips: BTreeMap<String, Vec<String>>,
    /// The address for proxies of clusters where the service is not (facts D.2.1); `0.0.0.0` stands for none.
    pub(crate) default_address: String,
    pub(crate) auto_v4: Option<Ipv4Addr>,
    pub(crate) auto_v6: Option<Ipv6Addr>,
    pub(crate) export_to: BTreeSet<String>,
    /// Identities that the service itself names, beside those of its endpoints.
    pub(crate) extra_identities: Vec<String>,
    pub(crate) endpoints: Vec<Endpoint>,
}

/// Who told istiod about the service.
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

/// How a client gets at the endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resolution {
    /// EDS.
    ClientSide,
    /// STRICT_DNS.
    Dns,
    /// LOGICAL_DNS.
    DnsRoundRobin,
    /// ORIGINAL_DST: headless services and resolution NONE.
    Passthrough,
    /// No cluster at all: services of type ExternalName.
    Alias,
}

/// A port of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Port {
    pub(crate) name: String,
    pub(crate) number: u16,
    pub(crate) protocol: Protocol,
    /// The port at the original destination, where it is another one (a `ServiceEntry` of resolution NONE).
    pub(crate) target: Option<u16>,
}

/// Stands for "no address" (istio `constants.UnspecifiedIP`).
pub(crate) const UNSPECIFIED: &str = "0.0.0.0";

impl Service {
    /// The endpoints behind a service port.
    pub(crate) fn endpoints_of<'a>(&'a self, port: &'a Port) -> impl Iterator<Item = &'a Endpoint> {
        self.endpoints.iter().filter(move |endpoint| endpoint.port_name == port.name)
    }

    /// The service port that an endpoint is behind.
    pub(crate) fn number_of(&self, endpoint: &Endpoint) -> Option<u16> {
        self.ports.iter().find(|port| port.name == endpoint.port_name).map(|port| port.number)
    }

    /// The service without its endpoints: what a change of endpoints leaves alone.
    pub(crate) fn definition(&self) -> Self {
        Self { endpoints: Vec::new(), ..self.clone() }
    }

    pub(crate) fn port(&self, number: u16) -> Option<&Port> {
        self.ports.iter().find(|port| port.number == number)
    }

    pub(crate) fn is_dns(&self) -> bool {
        matches!(self.resolution, Resolution::Dns | Resolution::DnsRoundRobin)
    }

    /// `exportTo` of nothing or `*`.
    pub(crate) fn is_public(&self) -> bool {
        self.export_to.is_empty() || self.export_to.contains("*")
    }

    /// `exportTo`: nothing or `*` is everyone, `.` the own namespace, `~` beside others still no one (facts D.2).
    pub(crate) fn is_visible_to(&self, namespace: &str) -> bool {
        self.is_public()
            || (!self.export_to.contains("~")
                && (self.export_to.contains(namespace)
                    || (self.export_to.contains(".") && self.namespace == namespace)))
    }

    /// Whether endpoints of other clusters are kept from its clients (istio `cluster_local.go`).
    pub(crate) fn is_cluster_local(&self) -> bool {
        self.host.ends_with(".kube-system.svc.cluster.local")
            || self.host == "kubernetes.default.svc.cluster.local"
    }

    /// All identities that may answer, sorted: the union over ports and clusters (facts E.5).
    pub(crate) fn identities(&self) -> Vec<String> {
        self.identities_if(|_| true)
    }

    /// The same, of some of the endpoints.
    pub(crate) fn identities_if(&self, counts: impl Fn(&Endpoint) -> bool) -> Vec<String> {
        let of_endpoints =
            self.endpoints.iter().filter(|it| counts(it)).filter_map(|it| it.identity.as_ref());
        let all: BTreeSet<_> = of_endpoints.chain(&self.extra_identities).collect();
        all.into_iter().cloned().collect()
    }
}
