//! Putting a configuration together.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustls_pki_types::CertificateDer;

use super::{
    Config, IDLE_ENDPOINTS, SNAPSHOT_AGE,
    environment::Environment,
    host::Host,
    sources::{DiscoveryAddress, Files, Need, Reader, provisioned, usable_roots},
    values::Values,
};
use crate::{Error, Problem, clock::Clock, identity::Renewal, transport};

/// Collects what is known about this workload and its mesh; [`build`](Self::build) reads all of it and reports all
/// problems together.
///
/// Where several sources say something, the first of this list counts:
///
/// 1. what is given here by name ([`with_namespace`](Self::with_namespace), …);
/// 2. variables given here ([`with_env`](Self::with_env));
/// 3. `cluster.env`, then `sidecar.env`;
/// 4. the annotation `proxy.istio.io/config`, the variable `PROXY_CONFIG`, then `mesh.yaml`: the discovery address and
///    `proxyMetadata`, which counts as variables;
/// 5. the defaults of [`Config`].
///
/// # Examples
///
/// ```no_run
/// use nds_client::{Config, ServerAddress};
///
/// let config = Config::builder()
///     .with_namespace("vms")
///     .with_service_account("edge-app")
///     .with_env([("ISTIO_META_CLUSTER_ID", "cluster1"), ("ISTIO_META_NETWORK", "vm-network")])
///     .with_roots_file("/etc/mesh/root-cert.pem")
///     .with_token_file("/run/secrets/istio-token")
///     .build()?
///     .with_istiod_address(ServerAddress::new("istiod.example", 15012));
/// # Ok::<(), nds_client::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct ConfigBuilder {
    named: BTreeMap<String, String>,
    variables: BTreeMap<String, String>,
    files: Files,
    roots_pem: Option<Vec<u8>>,
    certificates: Option<[PathBuf; 3]>,
}

impl ConfigBuilder {
    /// Reads a folder that `istioctl x workload entry configure` wrote.
    pub fn with_vm_files(self, dir: impl AsRef<Path>) -> Self {
        Self { files: Files::vm_folder(dir.as_ref()), ..self }
    }

    /// Reads the paths at which Istio's package for VMs is installed, under `root`, which is `/` unless the files are
    /// another machine's: `/var/lib/istio/envoy/cluster.env` and `sidecar.env`, `/etc/istio/config/mesh`,
    /// `/var/run/secrets/tokens/istio-token`, `/etc/certs`, `/etc/istio/pod`.
    pub fn with_installed(self, root: impl AsRef<Path>) -> Self {
        Self { files: Files::installed(root.as_ref(), Need::Required), ..self }
    }

    pub(super) fn with_installed_if_there(self, root: impl AsRef<Path>) -> Self {
        Self { files: Files::installed(root.as_ref(), Need::Optional), ..self }
    }

    /// Variables as Istio's agent reads them from its environment, over those of files. Nothing is read from the
    /// process' own environment unless it is given here.
    pub fn with_env<K: Into<String>, V: Into<String>>(
        mut self,
        variables: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        self.variables.extend(variables.into_iter().map(|(key, value)| (key.into(), value.into())));
        self
    }

    /// The workload's namespace.
    pub fn with_namespace(self, namespace: impl Into<String>) -> Self {
        self.named("POD_NAMESPACE", namespace)
    }

    /// The workload's service account.
    pub fn with_service_account(self, service_account: impl Into<String>) -> Self {
        self.named("SERVICE_ACCOUNT", service_account)
    }

    /// The file of the bootstrap token, read again at each use.
    pub fn with_token_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.files.token = Some(file.into());
        self
    }

    /// The file of the mesh's roots in PEM, read again before each use.
    pub fn with_roots_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.files.roots = Some(file.into());
        self
    }

    /// The mesh's roots, in PEM, instead of a file.
    pub fn with_roots_pem(self, pem: impl Into<Vec<u8>>) -> Self {
        Self { roots_pem: Some(pem.into()), ..self }
    }

    /// Files that something else renews, instead of a certificate from istiod's CA and of a token; as
    /// [`Config::with_certificate_files`].
    pub fn with_certificate_files(
        self,
        chain: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
        roots: impl Into<PathBuf>,
    ) -> Self {
        Self { certificates: Some([chain.into(), key.into(), roots.into()]), ..self }
    }

    fn named(mut self, key: &str, value: impl Into<String>) -> Self {
        self.named.insert(key.to_owned(), value.into());
        self
    }

    /// Reads everything.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config), with all problems of all sources together.
    pub fn build(self) -> Result<Config, Error> {
        self.read(&Host::here()).map_err(Error::config)
    }

    pub(super) fn read(mut self, host: &Host) -> Result<Config, Vec<Problem>> {
        self.place_files();
        let Self { named, variables, files, roots_pem, certificates } = self;
        let mut reader = Reader::default();
        let mut environment = Environment::default();
        environment.add(None, named);
        environment.add(None, variables);
        let (file_labels, discovery_address) = reader.variables(&files, &mut environment);

        let mut values = Values { environment: &environment, problems: std::mem::take(&mut reader.problems) };
        let config = values.config(host, discovery_address.as_ref(), file_labels);
        if certificates.is_none() {
            values.ca_provider();
        }
        let istiod_roots = values.istiod_roots();
        reader.problems = values.problems;

        let own_roots = certificates.as_ref().map(|[_, _, roots]| roots.clone());
        let roots_file = if roots_pem.is_some() { None } else { own_roots.or(files.roots) };
        let roots = match roots_pem {
            Some(pem) => reader.roots_of(&pem),
            None => reader.mesh_roots(roots_file.as_deref(), istiod_roots.is_empty()),
        };
        let istiod_roots = istiod_roots.iter().flat_map(|file| reader.roots(file, Need::Required)).collect();
        let hosts = files.hosts.map(|path| reader.hosts(&path)).unwrap_or_default();
        let bootstrap = files.certificates.filter(|files| files.key.exists());
        let need =
            if bootstrap.is_some() || certificates.is_some() { Need::Optional } else { Need::Required };
        let token_file = reader.token_file(files.token, need);
        match config {
            Some(config) if reader.problems.is_empty() => {
                let config =
                    Config { roots, roots_file, istiod_roots, hosts, token_file, bootstrap, ..config };
                Ok(match certificates {
                    Some([chain, key, roots]) => config.with_certificate_files(chain, key, roots),
                    None => config,
                })
            }
            _ => Err(reader.problems),
        }
    }

    /// Variables may say where the files are.
    fn place_files(&mut self) {
        let path = |key: &str| self.variables.get(key).filter(|path| !path.is_empty()).map(PathBuf::from);
        let [vm, token] = ["SIDESTEP_VM_FILES", "SIDESTEP_TOKEN_FILE"].map(path);
        let [cluster, sidecar, provided] =
            ["ISTIO_CLUSTER_CONFIG", "ISTIO_SIDECAR_CONFIG", "PROV_CERT"].map(path);
        if let Some(dir) = vm {
            self.files = Files::vm_folder(&dir);
        }
        if let Some(file) = cluster {
            self.files.variables.insert(0, (file, Need::Required));
        }
        if let Some(file) = sidecar {
            self.files.variables.push((file, Need::Required));
        }
        if let Some(dir) = provided {
            self.files.certificates = Some(provisioned(&dir));
        }
        self.files.token = token.or(self.files.token.take());
    }
}

impl Reader {
    fn roots_of(&mut self, pem: &[u8]) -> Vec<CertificateDer<'static>> {
        let roots = usable_roots(pem);
        roots.map_err(|what| self.problems.push(Problem::new(what).about("the roots"))).unwrap_or_default()
    }

    /// The mesh's roots; where istiod's own are given, they may as well come with the first certificate.
    fn mesh_roots(&mut self, file: Option<&Path>, required: bool) -> Vec<CertificateDer<'static>> {
        let need = if required { Need::Required } else { Need::Optional };
        match file {
            Some(file) => self.roots(file, need),
            None => {
                if required {
                    self.problems.push(Problem::new("are not given: name a file").about("the roots"));
                }
                Vec::new()
            }
        }
    }

    /// A token, or something else to begin with.
    fn token_file(&mut self, file: Option<PathBuf>, need: Need) -> Option<PathBuf> {
        if file.is_none() && need == Need::Required {
            self.problems.push(Problem::new("is not given: name a file").about("the token"));
        }
        file.filter(|file| self.token(file, need) || need == Need::Optional)
    }
}

impl Values<'_> {
    fn config(
        &mut self,
        host: &Host,
        discovery_address: Option<&DiscoveryAddress>,
        file_labels: BTreeMap<String, String>,
    ) -> Option<Config> {
        let environment = self.environment;
        let namespace =
            environment.first(&["POD_NAMESPACE", "ISTIO_NAMESPACE"]).map(|variable| variable.text);
        if namespace.is_none() {
            let what = "is not set: it must name the namespace of the WorkloadGroup";
            self.problems.push(environment.missing("POD_NAMESPACE", what));
        }
        let (discovery, ca) = self.servers(discovery_address);
        let (metadata, labels) = self.metadata();
        let text = |key: &str, default: &str| environment.text(key).unwrap_or(default).to_owned();
        let config = Config {
            discovery: vec![discovery],
            ca: vec![ca],
            istiod_name: environment.text("ISTIOD_SAN").map(str::to_owned),
            hosts: BTreeMap::new(),
            roots: Vec::new(),
            roots_file: None,
            istiod_roots: Vec::new(),
            token_file: None,
            bootstrap: None,
            namespace: namespace.unwrap_or_default().to_owned(),
            service_account: text("SERVICE_ACCOUNT", "default"),
            cluster_id: text("ISTIO_META_CLUSTER_ID", "Kubernetes"),
            network: text("ISTIO_META_NETWORK", ""),
            dns_domain: format!("{}.svc.cluster.local", namespace.unwrap_or_default()),
            name: text("POD_NAME", host.name.as_deref().unwrap_or("vm")),
            addresses: self.addresses(&host.addresses),
            locality: None,
            labels: labels.into_iter().chain(file_labels).collect(),
            metadata,
            ca_headers: self.headers("CA_HEADER_"),
            xds_headers: self.headers("XDS_HEADER_"),
            certificate_ttl: self.certificate_ttl(),
            renewal: Renewal {
                grace: self.share("SECRET_GRACE_PERIOD_RATIO", |ratio| ratio > 0.0 && ratio < 1.0, 0.5),
                jitter: self.share(
                    "SECRET_GRACE_PERIOD_RATIO_JITTER",
                    |ratio| (0.0..1.0).contains(&ratio),
                    0.01,
                ),
            },
            cert_signer: environment.text("ISTIO_META_CERT_SIGNER").map(str::to_owned),
            join_timeout: Duration::from_secs(15),
            idle_endpoints: IDLE_ENDPOINTS,
            provider: None,
            trust_domain: environment.text("TRUST_DOMAIN").map(str::to_owned),
            key_type: self.key_type(),
            certificate_files: None,
            state_dir: environment.text("SIDESTEP_STATE_DIR").map(PathBuf::from),
            snapshot_age: SNAPSHOT_AGE,
            clock: Clock::system(),
            transport: Arc::new(transport::System),
        };
        namespace.map(|_| config)
    }
}
