//! The configuration as a value.

use std::{
    collections::BTreeMap,
    fmt,
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use rustls_pki_types::CertificateDer;

use super::{CertificateFiles, KeyType, Renewal, ServerAddress};
use crate::resources::locality::Locality;

/// The configuration of a workload that joins a mesh.
///
/// [`Config::from_vm_files`] reads the files of `istioctl x workload entry configure`, [`Config::from_installed`] those
/// of Istio's package for VMs, [`Config::from_env`] environment variables. [`Config::builder`] combines them with
/// values that the program sets.
///
/// # Defaults
///
/// | setting | source |
/// |---|---|
/// | istiod | `PILOT_ADDRESS`, else `istiod.<ISTIO_SYSTEM_NAMESPACE>.svc` with `ISTIO_PILOT_PORT`, else `discoveryAddress` in mesh.yaml, else `istiod.istio-system.svc:15012` |
/// | CA | `CA_ADDR` (the istiod of the revision), else the address of istiod |
/// | name of istiod in TLS | `ISTIOD_SAN`, else the host of the address; `istiod.istio-system.svc` if that host is an IP address or contains `localhost` |
/// | roots for the certificate of istiod | the roots of the mesh and the file in `XDS_ROOT_CA` or `CA_ROOT_CA`; the value `SYSTEM` selects the system's bundle |
/// | namespace | `POD_NAMESPACE`, else `ISTIO_NAMESPACE`; required |
/// | service account | `SERVICE_ACCOUNT`, else `default` |
/// | workload name | `POD_NAME`, else the host name |
/// | addresses | `ISTIO_SVC_IP`, `INSTANCE_IP`, and all addresses of the host except loopback and link-local ones |
/// | network | `ISTIO_META_NETWORK`, else empty |
/// | cluster | `ISTIO_META_CLUSTER_ID`, else `Kubernetes` |
/// | node metadata | each `ISTIO_META_X` as `X`, and the objects in `ISTIO_METAJSON_*`; keys that would register this process as an endpoint or hide endpoints from it are removed |
/// | labels | `ISTIO_METAJSON_LABELS`, and the labels file of Istio's package |
/// | trust domain of persisted certificates and snapshots | `TRUST_DOMAIN`, else any |
/// | DNS domain | `<namespace>.svc.cluster.local` |
/// | requested certificate lifetime | `SECRET_TTL`, else 24 hours |
/// | remaining fraction of the lifetime at renewal | `SECRET_GRACE_PERIOD_RATIO`, else 0.5, plus a random part of `SECRET_GRACE_PERIOD_RATIO_JITTER`, else 0.01 |
/// | signer of the certificate | `ISTIO_META_CERT_SIGNER`, else istiod itself |
/// | key type | `ECC_SIGNATURE_ALGORITHM` and `ECC_CURVE`, else RSA of `WORKLOAD_RSA_KEY_SIZE`, else P-256 |
/// | request headers | `CA_HEADER_X` and `XDS_HEADER_X` add a header `x` |
/// | state directory | `SIDESTEP_STATE_DIR`, else none: nothing is persisted |
/// | maximum age of the snapshot in the state directory | 24 hours |
/// | join timeout | 15 seconds |
/// | maximum size of a message of istiod | 256 MiB |
/// | idle time after which endpoints are dropped | 10 minutes |
///
/// Other variables of Istio's agent have no effect: those of Envoy and of the DNS proxy, `OUTPUT_CERTS` (use the state
/// directory), `PKCS8_KEY`, `JWT_POLICY` and `PROXY_CONFIG_XDS_AGENT` (roots pushed by istiod are always used). A
/// `CA_PROVIDER` other than `Citadel` is reported as a problem.
#[derive(Clone)]
pub struct Config {
    pub(crate) discovery: Vec<ServerAddress>,
    pub(crate) ca: Vec<ServerAddress>,
    pub(crate) istiod_name: Option<String>,
    pub(crate) hosts: BTreeMap<String, Vec<IpAddr>>,
    pub(crate) roots: Vec<CertificateDer<'static>>,
    pub(crate) roots_file: Option<PathBuf>,
    /// Additional roots for the certificate of istiod.
    pub(crate) istiod_roots: Vec<CertificateDer<'static>>,
    pub(crate) token_file: Option<PathBuf>,
    /// The files of a certificate that another program provided for the first certificate request. It is tried before
    /// the token.
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
    /// The name of the signer of the certificate; `None` if istiod itself signs it.
    pub(crate) cert_signer: Option<String>,
    pub(crate) join_timeout: Duration,
    pub(crate) idle_endpoints: Duration,
    pub(crate) trust_domain: Option<String>,
    pub(crate) key_type: KeyType,
    pub(crate) certificate_files: Option<CertificateFiles>,
    pub(crate) state_dir: Option<PathBuf>,
    pub(crate) snapshot_age: Duration,
    pub(crate) max_push_bytes: usize,
}

impl Config {
    /// Returns the namespace of the workload, for example `vms`.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Returns the service account of the workload, for example `edge-app`.
    #[must_use]
    pub fn service_account(&self) -> &str {
        &self.service_account
    }

    /// Returns the DNS domain of the workload, for example `vms.svc.cluster.local`.
    #[must_use]
    pub fn dns_domain(&self) -> &str {
        &self.dns_domain
    }

    /// Returns the name of the workload's network; empty if none is configured.
    #[must_use]
    pub fn network(&self) -> &str {
        &self.network
    }

    /// Returns the ID of the Kubernetes cluster whose istiod serves the workload.
    #[must_use]
    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// Returns the address of istiod's xDS server; the first one if several are configured.
    #[must_use]
    pub fn istiod_address(&self) -> &ServerAddress {
        // The list is never empty.
        &self.discovery[0]
    }

    /// Returns the hosts of istiod's xDS server and CA: the names and addresses that the client connects to.
    pub fn istiod_hosts(&self) -> impl Iterator<Item = &str> {
        self.discovery.iter().chain(&self.ca).map(|server| &*server.host)
    }

    /// Returns the maximum time that [`NdsClient::join`](crate::NdsClient::join) waits.
    #[must_use]
    pub fn join_timeout(&self) -> Duration {
        self.join_timeout
    }

    /// Returns the path of the file with the bootstrap token; `None` if none is configured.
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
