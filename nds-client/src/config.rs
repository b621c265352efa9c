//! What has to be known before joining: where istiod is, whom to trust, who to be.

mod address;
mod builder;
mod certificate_files;
mod env_file;
mod environment;
mod host;
mod key_type;
mod labels;
mod mesh_yaml;
mod renewal;
mod setters;
mod sources;
mod values;

use std::{
    collections::BTreeMap,
    fmt,
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use rustls_pki_types::CertificateDer;

pub use self::{
    address::{InvalidServerAddress, ServerAddress},
    builder::ConfigBuilder,
    key_type::KeyType,
};
pub(crate) use self::{certificate_files::CertificateFiles, renewal::Renewal};
use crate::{error::Error, resources::locality::Locality};

/// How long endpoints are kept that nobody asks for.
const IDLE_ENDPOINTS: Duration = Duration::from_secs(10 * 60);
/// How old a snapshot may be that answers before istiod does.
const SNAPSHOT_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// How this process joins a mesh.
///
/// [`Config::from_vm_files`] reads what `istioctl x workload entry configure` writes, [`Config::from_installed`] where
/// Istio's package has it, [`Config::from_env`] an environment, and [`Config::builder`] any of them; every value can then
/// be replaced by a `with_` setter.
///
/// # Defaults
///
/// | what | default |
/// |---|---|
/// | istiod | `PILOT_ADDRESS`, else `istiod.<ISTIO_SYSTEM_NAMESPACE>.svc` at `ISTIO_PILOT_PORT`, else `discoveryAddress` of mesh.yaml, else `istiod.istio-system.svc:15012` |
/// | CA | `CA_ADDR` (which names the revision's istiod), else istiod's address |
/// | istiod's name in TLS | `ISTIOD_SAN`, else the host that is dialled; `istiod.istio-system.svc` where that is an IP address or holds `localhost` |
/// | roots of istiod's certificate | the mesh's, and the file that `XDS_ROOT_CA` or `CA_ROOT_CA` names; of the value `SYSTEM`, the system's bundle |
/// | namespace | `POD_NAMESPACE`, else `ISTIO_NAMESPACE`; there is no other |
/// | service account | `SERVICE_ACCOUNT`, else `default` |
/// | name | `POD_NAME`, else the host's |
/// | addresses | `ISTIO_SVC_IP`, `INSTANCE_IP`, and all of the host's but loopback and link-local ones |
/// | network | `ISTIO_META_NETWORK`, else none |
/// | cluster | `ISTIO_META_CLUSTER_ID`, else `Kubernetes` |
/// | node metadata | every `ISTIO_META_X` as `X`, and the objects in `ISTIO_METAJSON_*`; but nothing that would make this process a server, or hide endpoints |
/// | labels | `ISTIO_METAJSON_LABELS`, and the file of labels where Istio's package is installed |
/// | trust domain of certificates and snapshots that are kept | `TRUST_DOMAIN`, else any |
/// | DNS domain | `<namespace>.svc.cluster.local` |
/// | certificate lifetime asked for | `SECRET_TTL`, else 24 hours |
/// | share of its life left at renewal | `SECRET_GRACE_PERIOD_RATIO`, else a half, and up to `SECRET_GRACE_PERIOD_RATIO_JITTER` more, else a hundredth |
/// | who signs | `ISTIO_META_CERT_SIGNER`, else istiod itself |
/// | key | `ECC_SIGNATURE_ALGORITHM` and `ECC_CURVE`, else RSA of `WORKLOAD_RSA_KEY_SIZE`, else P-256 |
/// | headers | `CA_HEADER_X` and `XDS_HEADER_X` send a header `x` |
/// | state folder | `SIDESTEP_STATE_DIR`, else none: nothing outlives the process |
/// | snapshot in the state folder | used if it is not older than 24 hours |
/// | waiting in `join` | 15 seconds |
/// | endpoints that nobody asks for | dropped after 10 minutes |
///
/// Variables of Istio's agent that are not here have no effect: those of Envoy, of the agent's DNS proxy, and
/// `OUTPUT_CERTS`, whose part the state folder has, `PKCS8_KEY`, `JWT_POLICY` and `PROXY_CONFIG_XDS_AGENT` (roots that
/// istiod pushes are always taken). A `CA_PROVIDER` other than `Citadel` is a problem.
#[derive(Clone)]
pub struct Config {
    pub(crate) discovery: Vec<ServerAddress>,
    pub(crate) ca: Vec<ServerAddress>,
    pub(crate) istiod_name: Option<String>,
    pub(crate) hosts: BTreeMap<String, Vec<IpAddr>>,
    pub(crate) roots: Vec<CertificateDer<'static>>,
    pub(crate) roots_file: Option<PathBuf>,
    /// Of istiod's own certificate, beside the mesh's.
    pub(crate) istiod_roots: Vec<CertificateDer<'static>>,
    pub(crate) token_file: Option<PathBuf>,
    /// Shown to istiod at the first time, before the token.
    pub(crate) bootstrap: Option<CertificateFiles>,
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
    pub(crate) ca_headers: Vec<(String, String)>,
    pub(crate) xds_headers: Vec<(String, String)>,
    pub(crate) certificate_ttl: Duration,
    pub(crate) renewal: Renewal,
    /// Who is to sign, where that is not istiod itself.
    pub(crate) cert_signer: Option<String>,
    pub(crate) join_timeout: Duration,
    pub(crate) idle_endpoints: Duration,
    pub(crate) trust_domain: Option<String>,
    pub(crate) key_type: KeyType,
    pub(crate) certificate_files: Option<CertificateFiles>,
    pub(crate) state_dir: Option<PathBuf>,
    pub(crate) snapshot_age: Duration,
}

impl Config {
    /// Reads a folder that `istioctl x workload entry configure` wrote: `cluster.env`, `mesh.yaml`, `istio-token`,
    /// `root-cert.pem` and `hosts`. Keys that this crate does not know are kept or ignored, never an error.
    ///
    /// The token is read again at each use, so that a process that replaces it needs no restart.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config), with all problems of all files together.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// let config = nds_client::Config::from_vm_files("/var/lib/sidestep")?
    ///     .with_istiod_name("istiod.istio-system.svc");
    /// # Ok::<(), nds_client::Error>(())
    /// ```
    pub fn from_vm_files(dir: impl AsRef<Path>) -> Result<Self, Error> {
        Self::builder().with_vm_files(dir).build()
    }

    /// Reads the paths at which Istio's package for VMs is installed, under `root`, which is `/` unless the files are
    /// another machine's; [`ConfigBuilder::with_installed`] lists them. A certificate that Istio's agent has left in
    /// `/etc/certs` is shown to istiod at the first time, before the token.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config), with all problems of all files together.
    pub fn from_installed(root: impl AsRef<Path>) -> Result<Self, Error> {
        Self::builder().with_installed(root).build()
    }

    /// Reads variables as Istio's agent reads them from its environment, over the installed paths, whose files may be
    /// missing where variables say enough. `SIDESTEP_VM_FILES` names a folder to read instead of the installed paths,
    /// `SIDESTEP_TOKEN_FILE` and `SIDESTEP_STATE_DIR` are as the setters of these names; `ISTIO_CLUSTER_CONFIG`,
    /// `ISTIO_SIDECAR_CONFIG` and `PROV_CERT` are Istio's.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config), with all problems of all sources together.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// let config = nds_client::Config::from_env(std::env::vars())?;
    /// # Ok::<(), nds_client::Error>(())
    /// ```
    pub fn from_env<K: Into<String>, V: Into<String>>(
        variables: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self, Error> {
        Self::builder().with_installed_if_there("/").with_env(variables).build()
    }

    /// A configuration from parts: variables, files, values.
    pub fn builder() -> ConfigBuilder {
        ConfigBuilder::default()
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
mod tests;
