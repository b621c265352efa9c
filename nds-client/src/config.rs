//! What has to be known before joining: where istiod is, whom to trust, who to be.

mod address;
mod env_file;
mod host;
mod mesh_yaml;
mod vm_files;

use std::{
    collections::BTreeMap,
    fmt,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustls::crypto::CryptoProvider;
use rustls_pki_types::CertificateDer;

pub use self::address::{InvalidServerAddress, ServerAddress};
use crate::{
    Error, ErrorKind, KeyType, Locality, clock::Clock, identity::CertificateFiles, transport::Transport,
};

/// How this process joins a mesh.
///
/// [`Config::from_vm_files`] reads what `istioctl x workload entry configure` writes; every value can then be
/// replaced by a `with_` setter.
///
/// # Defaults
///
/// | what | default |
/// |---|---|
/// | istiod | `PILOT_ADDRESS`, else `discoveryAddress` of mesh.yaml, else `istiod.istio-system.svc:15012` |
/// | CA | `CA_ADDR`, else istiod's address |
/// | istiod's name in TLS | `ISTIOD_SAN`, else the host that is dialled; `istiod.istio-system.svc` where that is an IP address or holds `localhost` |
/// | cluster | `ISTIO_META_CLUSTER_ID`, else `Kubernetes` |
/// | DNS domain | `<namespace>.svc.cluster.local` |
/// | certificate lifetime asked for | `SECRET_TTL`, else 24 hours |
/// | key | P-256 |
/// | state folder | none: nothing outlives the process |
/// | waiting in `join` | 15 seconds |
/// | crypto provider | aws-lc-rs where that feature is on, else ring |
#[derive(Clone)]
pub struct Config {
    pub(crate) discovery: Vec<ServerAddress>,
    pub(crate) ca: Vec<ServerAddress>,
    pub(crate) istiod_name: Option<String>,
    pub(crate) hosts: BTreeMap<String, Vec<IpAddr>>,
    pub(crate) roots: Vec<CertificateDer<'static>>,
    pub(crate) roots_file: Option<PathBuf>,
    pub(crate) token_file: Option<PathBuf>,
    pub(crate) namespace: String,
    pub(crate) service_account: String,
    pub(crate) cluster_id: String,
    pub(crate) network: String,
    pub(crate) dns_domain: String,
    pub(crate) name: String,
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) locality: Option<Locality>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) metadata: BTreeMap<String, serde_json::Value>,
    pub(crate) certificate_ttl: Duration,
    pub(crate) join_timeout: Duration,
    pub(crate) provider: Option<Arc<CryptoProvider>>,
    pub(crate) trust_domain: Option<String>,
    pub(crate) key_type: KeyType,
    pub(crate) certificate_files: Option<CertificateFiles>,
    pub(crate) state_dir: Option<PathBuf>,
    pub(crate) clock: Clock,
    pub(crate) transport: Arc<dyn Transport>,
}

impl Config {
    /// Reads a folder that `istioctl x workload entry configure` wrote: `cluster.env`, `mesh.yaml`, `istio-token`,
    /// `root-cert.pem` and `hosts`. Keys that this crate does not know are kept or ignored, never an error.
    ///
    /// The token is read again at each use, so that a process that replaces it needs no restart.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`], with all problems of all files together.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// let config = nds_client::Config::from_vm_files("/var/lib/sidestep")?
    ///     .with_istiod_name("istiod.istio-system.svc");
    /// # Ok::<(), nds_client::Error>(())
    /// ```
    pub fn from_vm_files(dir: impl AsRef<Path>) -> Result<Self, Error> {
        vm_files::read(dir.as_ref(), &host::Host::here()).map_err(Error::config)
    }

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

    /// The lifetime to ask for; the CA's default is asked for where it refuses this one. Whole seconds.
    #[must_use]
    pub fn with_certificate_ttl(self, ttl: Duration) -> Self {
        Self { certificate_ttl: ttl, ..self }
    }

    /// A folder in which the key, the certificate, the roots and the last names outlive the process, so that a VM that
    /// starts again after its token has died still joins, and has names before istiod answers. It is made where it is
    /// not there, readable for this user alone. One process writes to it at a time;
    /// [`Health::storage`](crate::Health::storage) says where that is another.
    #[must_use]
    pub fn with_state_dir(self, dir: impl Into<PathBuf>) -> Self {
        Self { state_dir: Some(dir.into()), ..self }
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

    /// The crypto provider of every TLS connection. Nothing is installed process-wide.
    #[must_use]
    pub fn with_crypto_provider(self, provider: Arc<CryptoProvider>) -> Self {
        Self { provider: Some(provider), ..self }
    }

    /// Where this process runs. Without it, or labels that say it, locality failover has no effect.
    #[must_use]
    pub fn with_locality(self, locality: Locality) -> Self {
        Self { locality: Some(locality), ..self }
    }

    /// The network this process is on, where the VM files name none or another.
    #[must_use]
    pub fn with_network(self, network: impl Into<String>) -> Self {
        Self { network: network.into(), ..self }
    }

    /// The workload's namespace: `vms`.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The workload's service account: `edge-app`.
    #[must_use]
    pub fn service_account(&self) -> &str {
        &self.service_account
    }

    /// The workload's DNS domain: `vms.svc.cluster.local`.
    #[must_use]
    pub fn dns_domain(&self) -> &str {
        &self.dns_domain
    }

    /// The network this process is on; empty where it is not known.
    #[must_use]
    pub fn network(&self) -> &str {
        &self.network
    }

    /// The cluster whose istiod this process talks to.
    #[must_use]
    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// Where istiod's xDS server listens; the first place where there are several.
    #[must_use]
    pub fn istiod_address(&self) -> &ServerAddress {
        // Never empty.
        &self.discovery[0]
    }

    /// How long `join` and `ready` wait.
    #[must_use]
    pub fn join_timeout(&self) -> Duration {
        self.join_timeout
    }

    /// The file that the token is read from.
    #[must_use]
    pub fn token_file(&self) -> Option<&Path> {
        self.token_file.as_deref()
    }

    pub(crate) fn crypto_provider(&self) -> Result<Arc<CryptoProvider>, Error> {
        self.provider.clone().or_else(compiled_in).ok_or_else(|| {
            let what = "no crypto provider: switch on the feature `aws-lc-rs` or `ring`, or give one to the configuration";
            Error::new(ErrorKind::Config, what)
        })
    }
}

#[cfg(feature = "aws-lc-rs")]
fn compiled_in() -> Option<Arc<CryptoProvider>> {
    Some(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
}

#[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
fn compiled_in() -> Option<Arc<CryptoProvider>> {
    Some(Arc::new(rustls::crypto::ring::default_provider()))
}

#[cfg(not(any(feature = "aws-lc-rs", feature = "ring")))]
fn compiled_in() -> Option<Arc<CryptoProvider>> {
    None
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("discovery", &self.discovery)
            .field("ca", &self.ca)
            .field("istiod_name", &self.istiod_name)
            .field("namespace", &self.namespace)
            .field("service_account", &self.service_account)
            .field("cluster_id", &self.cluster_id)
            .field("network", &self.network)
            .field("token_file", &self.token_file)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
impl Config {
    /// Nothing in particular.
    pub(crate) fn for_tests() -> Self {
        Self {
            discovery: vec![ServerAddress::istiod()],
            ca: vec![ServerAddress::istiod()],
            istiod_name: None,
            hosts: BTreeMap::new(),
            roots: Vec::new(),
            roots_file: None,
            token_file: None,
            namespace: String::new(),
            service_account: String::new(),
            cluster_id: String::new(),
            network: String::new(),
            dns_domain: String::new(),
            name: String::new(),
            addresses: Vec::new(),
            locality: None,
            labels: BTreeMap::new(),
            metadata: BTreeMap::new(),
            certificate_ttl: Duration::from_secs(3600),
            join_timeout: Duration::from_secs(15),
            provider: None,
            trust_domain: None,
            key_type: KeyType::default(),
            certificate_files: None,
            state_dir: None,
            clock: Clock::system(),
            transport: Arc::new(crate::transport::System),
        }
    }
}

#[cfg(test)]
mod tests;
