//! The search scope: namespace, cluster domain and search domain, by which short names are completed.

/// The namespace and domains by which short names are completed.
///
/// Short names are relative: `forecast` is a service in the namespace of the scope, and `forecast.weather` is a service
/// in the cluster domain of the scope. Istio's agent derives the same values from the proxy's namespace, its DNS domain
/// and resolv.conf (`pkg/dns/client/dns.go`, `NewLocalDNSServer`).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct SearchScope {
    namespace: String,
    domain: String,
    search_domain: String,
}

impl SearchScope {
    /// Creates a scope from a Kubernetes namespace and the proxy's DNS domain.
    ///
    /// `dns_domain` is Istio's proxy domain: `vms.svc.cluster.local` for a workload in the namespace `vms`, or
    /// `svc.cluster.local`. A first label that equals the namespace is removed, as in the agent. The case and a
    /// trailing dot are ignored. An empty `dns_domain` disables short names.
    #[must_use]
    pub fn new(namespace: &str, dns_domain: &str) -> Self {
        let (namespace, domain) = (normal(namespace), normal(dns_domain));
        let own = domain.strip_prefix(&*namespace).and_then(|rest| rest.strip_prefix('.'));
        let domain = own.map(ToOwned::to_owned).unwrap_or(domain);
        Self { namespace, domain, search_domain: String::new() }
    }

    /// Sets the first search domain of the host, which DNS clients append to names.
    ///
    /// Without this setting, [`MeshResolverBuilder::build`](crate::MeshResolverBuilder::build) uses the first search
    /// domain of the upstream configuration.
    #[must_use]
    pub fn with_search_domain(self, domain: &str) -> Self {
        Self { search_domain: normal(domain), ..self }
    }

    /// Returns the namespace whose services have one-label names.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Returns the domain of the cluster's services, without the namespace: `svc.cluster.local`.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// Returns the first search domain of the host; empty if none is set.
    #[must_use]
    pub fn search_domain(&self) -> &str {
        &self.search_domain
    }

    /// Splits the domain into its first label and the rest: `svc` and `cluster.local`.
    pub(crate) fn domain_parts(&self) -> (&str, &str) {
        self.domain.split_once('.').unwrap_or((&self.domain, ""))
    }

    /// Returns the full names of the Kubernetes services that have `name` as a short name, if they exist:
    /// `forecast.weather.svc.cluster.local` and `forecast.weather.vms.svc.cluster.local` for `forecast.weather` in the
    /// namespace `vms`. A name in the domain of the scope is not a short name.
    pub fn service_names(&self, name: &str) -> impl Iterator<Item = String> {
        let name = normal(name);
        let (service, _) = self.domain_parts();
        let is_short = !self.domain.is_empty() && !name.is_empty() && !is_under(&name, &self.domain);
        let qualified = |name: &str| name.contains('.').then(|| format!("{name}.{}", self.domain));
        let without_service = name.strip_suffix(service).and_then(|rest| rest.strip_suffix('.'));
        let own = (!self.namespace.is_empty()).then(|| format!("{name}.{}.{}", self.namespace, self.domain));
        [qualified(&name), without_service.and_then(qualified), own]
            .into_iter()
            .flatten()
            .filter(move |_| is_short)
    }

    /// Returns whether `name` is in a domain that only the mesh has: the cluster's domain (`cluster.local`), `svc`, or
    /// `clusterset.local`. Before the first name table, such a name is not sent upstream.
    #[must_use]
    pub fn claims(&self, name: &str) -> bool {
        let (service, cluster) = self.domain_parts();
        [service, cluster, "clusterset.local"].iter().any(|suffix| is_under(name, suffix))
    }
}

/// Whether `name` ends in `.suffix`. The case is ignored.
pub(crate) fn is_under(name: &str, suffix: &str) -> bool {
    strip_suffix(name.strip_suffix('.').unwrap_or(name), suffix).is_some()
}

/// Returns the name without `.suffix`, or `None` if it does not end in it. The case is ignored. No name ends in the
/// empty suffix.
pub(crate) fn strip_suffix<'n>(name: &'n str, suffix: &str) -> Option<&'n str> {
    let head = name.len().checked_sub(suffix.len() + 1).filter(|_| !suffix.is_empty())?;
    let (head, tail) = name.split_at_checked(head)?;
    tail.strip_prefix('.')?.eq_ignore_ascii_case(suffix).then_some(head)
}

fn normal(domain: &str) -> String {
    domain.trim_matches('.').to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `pkg/dns/client/dns.go:124-133`.
    #[test]
    fn the_namespace_is_removed_from_the_domain() {
        assert_eq!(SearchScope::new("vms", "vms.svc.cluster.local").domain(), "svc.cluster.local");
        assert_eq!(SearchScope::new("vms", "svc.cluster.local").domain(), "svc.cluster.local");
        assert_eq!(SearchScope::new("vms", "VMs.svc.Cluster.local.").domain(), "svc.cluster.local");
        assert_eq!(
            SearchScope::new("svc", "svc.cluster.local").domain(),
            "cluster.local",
            "as the agent does"
        );
        assert_eq!(SearchScope::new("", "svc.cluster.local").domain(), "svc.cluster.local");
    }

    #[test]
    fn a_short_name_may_stand_for_a_service_of_its_last_label_or_of_the_own_namespace() {
        let scope = SearchScope::new("vms", "vms.svc.cluster.local");
        for (name, expected) in [
            (
                "Forecast.Weather.",
                &["forecast.weather.svc.cluster.local", "forecast.weather.vms.svc.cluster.local"][..],
            ),
            ("forecast", &["forecast.vms.svc.cluster.local"]),
            (
                "forecast.weather.svc",
                &[
                    "forecast.weather.svc.svc.cluster.local",
                    "forecast.weather.svc.cluster.local",
                    "forecast.weather.svc.vms.svc.cluster.local",
                ],
            ),
            ("forecast.weather.svc.cluster.local", &[]),
            ("", &[]),
        ] {
            assert_eq!(scope.service_names(name).collect::<Vec<_>>(), expected, "{name}");
        }
        assert_eq!(SearchScope::default().service_names("a.b").count(), 0);
    }

    #[test]
    fn the_mesh_claims_exactly_the_names_under_its_suffixes() {
        let scope = SearchScope::new("vms", "vms.svc.cluster.local");
        for name in ["a.b.svc.cluster.local", "x.cluster.local.", "A.B.SVC", "a.b.svc.clusterset.local"] {
            assert!(scope.claims(name), "{name}");
        }
        for name in
            ["cluster.local", "svc", "forecast.weather", "forecast", "a.mycluster.local", "www.example.com"]
        {
            assert!(!scope.claims(name), "{name}");
        }
        assert!(!SearchScope::default().claims("a.b"));
    }
}
