//! Replacing what a configuration says.

use std::{path::PathBuf, time::Duration};

use super::{CertificateFiles, Config, KeyType, ServerAddress};
use crate::resources::locality::Locality;

impl Config {
    /// The name that istiod's certificate must have, for its CA and its xDS server alike. Needed where the address
    /// that is dialled is not one of istiod's names.
    #[must_use]
    pub fn with_istiod_name(self, name: impl Into<String>) -> Self {
        Self { istiod_name: Some(name.into()), ..self }
    }

    /// Where istiod listens, for its CA and its xDS server alike. Where this is an IP address and the address before had
    /// a name, istiod must still prove that name.
    #[must_use]
    pub fn with_istiod_address(self, address: ServerAddress) -> Self {
        self.with_istiod_addresses([address])
    }

    /// Several places where istiod listens, tried in this order; after a failure another one comes first. An empty list
    /// changes nothing.
    #[must_use]
    pub fn with_istiod_addresses(mut self, addresses: impl IntoIterator<Item = ServerAddress>) -> Self {
        let addresses: Vec<_> = addresses.into_iter().collect();
        if addresses.is_empty() {
            return self;
        }
        if !addresses.iter().all(ServerAddress::is_provable) {
            let named = self.discovery.iter().find(|server| server.is_provable());
            self.istiod_name = self.istiod_name.or_else(|| named.map(|server| server.host.clone()));
        }
        Self { discovery: addresses.clone(), ca: addresses, ..self }
    }

    /// How long [`NdsClient::join`](crate::NdsClient::join) and [`ready`](crate::NdsClient::ready) wait.
    #[must_use]
    pub fn with_join_timeout(self, timeout: Duration) -> Self {
        Self { join_timeout: timeout, ..self }
    }

    /// How long the endpoints of a cluster are kept and followed after they were last asked for. Whole seconds. Nothing is
    /// dropped while istiod cannot be reached.
    #[must_use]
    pub fn with_idle_endpoints(self, time: Duration) -> Self {
        Self { idle_endpoints: time, ..self }
    }

    /// The lifetime to ask for; the CA's default is asked for where it refuses this one. Whole seconds.
    #[must_use]
    pub fn with_certificate_ttl(self, ttl: Duration) -> Self {
        Self { certificate_ttl: ttl, ..self }
    }

    /// A folder in which the key, the certificate, the roots and the last names outlive the process, so that a VM that
    /// starts again after its token has died still joins, and has names before istiod answers. It is made where it is
    /// not there, readable for this user alone. One process writes to it at a time;
    /// [`Health::storage`](crate::Health::storage) says where that is another, and this one follows when that has ended.
    #[must_use]
    pub fn with_state_dir(self, dir: impl Into<PathBuf>) -> Self {
        Self { state_dir: Some(dir.into()), ..self }
    }

    /// How old a snapshot in the state folder may be that answers before istiod does; zero for no snapshot at all. It holds
    /// the names, the clusters if they were asked for, and the endpoints in use.
    #[must_use]
    pub fn with_snapshot_age(self, longest: Duration) -> Self {
        Self { snapshot_age: longest, ..self }
    }

    /// A certificate that something else issues and renews (a SPIRE agent, cert-manager), instead of istiod's CA: files
    /// in PEM with the chain, leaf first, the key, and the roots of the mesh. They are looked at every few seconds; a
    /// new pair is used once key and certificate belong together, and until then the last good one.
    #[must_use]
    pub fn with_certificate_files(
        self,
        chain: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
        roots: impl Into<PathBuf>,
    ) -> Self {
        let files = CertificateFiles { chain: chain.into(), key: key.into(), roots: Some(roots.into()) };
        Self { certificate_files: Some(files), ..self }
    }

    /// The kind of key to have certified.
    #[must_use]
    pub fn with_key_type(self, key_type: KeyType) -> Self {
        Self { key_type, ..self }
    }

    /// Where this process runs. Without it, or labels that say it, locality failover has no effect.
    #[must_use]
    pub fn with_locality(self, locality: Locality) -> Self {
        Self { locality: Some(locality), ..self }
    }

    /// The workload's DNS domain, where it is not `<namespace>.svc.cluster.local`.
    #[must_use]
    pub fn with_dns_domain(self, domain: impl Into<String>) -> Self {
        Self { dns_domain: domain.into(), ..self }
    }

    /// The network this process is on, where the VM files name none or another.
    #[must_use]
    pub fn with_network(self, network: impl Into<String>) -> Self {
        Self { network: network.into(), ..self }
    }
}
