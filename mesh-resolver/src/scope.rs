//! Where the process stands among the names: its namespace, its cluster's domain, the host's first search domain.

/// The point of view from which names are read.
///
/// Short names mean something only from somewhere: `forecast` is a service of one's own namespace, and
/// `forecast.weather` one of one's own cluster domain. A scope is what Istio's agent takes from its proxy's
/// namespace, DNS domain and resolv.conf (`pkg/dns/client/dns.go`, `NewLocalDNSServer`).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Scope {
    namespace: String,
    domain: String,
    search_domain: String,
}

impl Scope {
    /// A scope in a Kubernetes `namespace`, with the proxy's DNS domain.
    ///
    /// `dns_domain` is what Istio calls the proxy domain: `vms.svc.cluster.local` for a workload in `vms`, or
    /// `svc.cluster.local`. A leading label that is the namespace is dropped, as the agent does. Case and a
    /// trailing dot do not matter. An empty `dns_domain` means no short names at all.
    #[must_use]
    pub fn new(namespace: &str, dns_domain: &str) -> Self {
        let (namespace, domain) = (normal(namespace), normal(dns_domain));
        let own = domain.strip_prefix(&*namespace).and_then(|rest| rest.strip_prefix('.'));
        let domain = own.map(ToOwned::to_owned).unwrap_or(domain);
        Self { namespace, domain, search_domain: String::new() }
    }

    /// Sets the first search domain of the host, which DNS clients append to the names they ask for.
    ///
    /// [`MeshResolverBuilder::build`](crate::MeshResolverBuilder::build) takes it from the upstream configuration
    /// where it is not set here.
    #[must_use]
    pub fn with_search_domain(self, domain: &str) -> Self {
        Self { search_domain: normal(domain), ..self }
    }

    /// The namespace whose services have one-label names.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The domain of the cluster's services, without the namespace: `svc.cluster.local`.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The host's first search domain; empty where there is none.
    #[must_use]
    pub fn search_domain(&self) -> &str {
        &self.search_domain
    }

    /// The first label of the domain, and the rest: `svc` and `cluster.local`.
    pub(crate) fn domain_parts(&self) -> (&str, &str) {
        self.domain.split_once('.').unwrap_or((&self.domain, ""))
    }

    /// Whether `name` can only be a name of the mesh, so that no other DNS needs to be asked for it before the
    /// first table: it is under the cluster's domain (`cluster.local`), under `svc`, or under `clusterset.local`.
    pub(crate) fn claims(&self, name: &str) -> bool {
        let (service, cluster) = self.domain_parts();
        [service, cluster, "clusterset.local"].iter().any(|suffix| is_under(name, suffix))
    }
}

/// Whether `name` ends with `.suffix`, in any case.
pub(crate) fn is_under(name: &str, suffix: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let Some(head) = name.len().checked_sub(suffix.len() + 1).filter(|_| !suffix.is_empty()) else {
        return false;
    };
    let (_, tail) = name.as_bytes().split_at(head);
    tail[0] == b'.' && tail[1..].eq_ignore_ascii_case(suffix.as_bytes())
}

fn normal(domain: &str) -> String {
    domain.trim_matches('.').to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `pkg/dns/client/dns.go:124-133`.
    #[test]
    fn the_namespace_is_dropped_from_the_domain() {
        assert_eq!(Scope::new("vms", "vms.svc.cluster.local").domain(), "svc.cluster.local");
        assert_eq!(Scope::new("vms", "svc.cluster.local").domain(), "svc.cluster.local");
        assert_eq!(Scope::new("vms", "VMs.svc.Cluster.local.").domain(), "svc.cluster.local");
        assert_eq!(Scope::new("svc", "svc.cluster.local").domain(), "cluster.local", "as the agent does");
        assert_eq!(Scope::new("", "svc.cluster.local").domain(), "svc.cluster.local");
    }

    #[test]
    fn the_mesh_claims_what_is_under_its_suffixes_and_nothing_else() {
        let scope = Scope::new("vms", "vms.svc.cluster.local");
        for name in ["a.b.svc.cluster.local", "x.cluster.local.", "A.B.SVC", "a.b.svc.clusterset.local"] {
            assert!(scope.claims(name), "{name}");
        }
        for name in
            ["cluster.local", "svc", "forecast.weather", "forecast", "a.mycluster.local", "www.example.com"]
        {
            assert!(!scope.claims(name), "{name}");
        }
        assert!(!Scope::default().claims("a.b"));
    }
}
