//! Putting a configuration together.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::{
    Config,
    environment::Environment,
    host::Host,
    sources::{Files, Need, Reader, provisioned},
    values::Values,
};
use crate::error::{Error, Problem};

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
